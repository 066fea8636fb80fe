"""The example that starts real servers, without them: its pool file and its lines."""

import json
import stat
from pathlib import Path

import pytest
import yaml

from examples.llm.command import LATER, MODELS, pool, write_lines
from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.errors import MistakesError


def test_the_pool_file_is_right_but_for_the_files_that_are_not_there(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    for path in (program, tmp_path / "start.sh"):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    document = pool(program, tmp_path, threads=1, out=tmp_path)
    path = tmp_path / "muster.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH | stat.S_IWUSR)
    with pytest.raises(MistakesError) as caught:
        check_pool_file(path)
    told = caught.value.mistakes
    assert len(told) == len(MODELS) + 1
    assert all(".gguf'" in str(one) for one in told), told


def test_lines_change_their_model_each_time(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "lines.jsonl", ["a", LATER], 4, of="x")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["body"]["model"] for row in rows] == ["a", LATER, "a", LATER]
    assert len({row["custom_id"] for row in rows}) == 4
