"""Commands that need no model import no library of models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scripted_pool import write_pool

HEAVY = (
    *("torch", "transformers", "sentence_transformers", "sklearn", "scipy", "matplotlib", "pandas"),
    *("celery", "litellm", "vllm", "fastapi"),
)
SCRIPT = """
import contextlib, io, json, sys
from api.cli.main import main

commands, heavy = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
found = {}
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    found[" ".join(command)] = [code, sorted(heavy & set(sys.modules))]
print(json.dumps(found))
"""
COMMANDS = (
    ["--help"],
    ["models", "list"],
    ["config", "check"],
    ["experts"],
    ["cards"],
    ["jobs", "list"],
    ["ask", "What is 2 plus 2?", "-c", "alpha"],
)


def test_no_heavy_library_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one process. The pool's embedder is a real one: asking one expert by name needs neither it nor
    a profile, only the interval of an accuracy (scipy)."""
    pool = write_pool(tmp_path)
    pool.write_text(pool.read_text().replace("model: hash", "model: minilm"))
    monkeypatch.setenv("MUSTER_CONFIG", str(pool))
    words = [json.dumps(COMMANDS), json.dumps(HEAVY)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *light, alone = (" ".join(command) for command in COMMANDS)
    assert json.loads(done.stdout) == {**{command: [0, []] for command in light}, alone: [0, ["scipy"]]}


def test_a_configuration_is_checked_without_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_CONFIG", str(write_pool(tmp_path)))
    words = [json.dumps([["config", "check"]]), json.dumps([*HEAVY, "sqlalchemy", "alembic", "scipy"])]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"config check": [0, []]}
