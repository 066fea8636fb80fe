"""The shell for vLLM's newer model runner, against that runner's own interface as installed."""

import json
import os
import subprocess
from pathlib import Path

from orchestrator.domain.experts import EngineSpec
from workers.backends.vllm.backend import find_python

ROOT = Path(__file__).parents[2]


def test_shell_of_the_newer_runner_fuses_whole_groups_and_marks_those_that_came_apart() -> None:
    python = find_python(EngineSpec(id="any", backend="vllm", model="any"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VLLM_LOGGING_LEVEL": "ERROR"}
    script = [python, str(ROOT / "tests/vllm/v2_shell.py")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    (a, b) = found["wanted"]
    assert [tokens[0] for tokens in found["whole"]] == [a[0], b[0]]
    assert found["rows"] == [a[0], a[0], b[0], b[0]]
    assert found["stranger"]
    assert found["apart"] == [True, False, 1, 2]
    assert found["again"] == [False, 2]
    assert found["shells"] == [True, False]
    assert found["refused"]
