"""docs/quickstart.md, typed as it stands there: a profile, an answer, a finished batch, of real weights."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from api.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/quickstart.md").read_text()
ELSEWHERE = {"serve", "bench"}
"""Commands of the page that do not end by themselves, or want a file that it does not give."""


class Typed(NamedTuple):
    """A command of the page, and the lines below it: lines that are printed begin so, up to an ellipsis."""

    arguments: list[str]
    shown: list[str]


def files() -> dict[str, str]:
    """Files that the page has its reader write, by name."""
    return dict(re.findall(r"Write `(\S+\.jsonl)`:\n\n```json\n(.*?)```", PAGE, re.DOTALL))


def typed() -> Iterator[Typed]:
    """Commands of the page in order."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *shown = part.splitlines()
            words = re.findall(r'"[^"]*"|\S+', line.partition("  #")[0])
            if words[0] == "muster" and words[1] not in ELSEWHERE:
                yield Typed([word.strip('"') for word in words[1:]], shown)


def alike(line: str) -> str:
    """A line without its percentages, whose last digit is a matter of the processor."""
    return re.sub(r"\d+\.\d %", "… %", line)


def test_the_quickstart_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CONFIG", str(ROOT / "examples/zoo/pool.yaml"))
    monkeypatch.setenv("COLUMNS", "200")
    commands = list(typed())
    assert [it.arguments[0] for it in commands] == [
        *("config", "profile", "cards", "ask", "route", "batch", "jobs")
    ]
    for arguments, shown in commands:
        code = main(arguments)
        printed = alike("".join(capsys.readouterr())).splitlines()
        assert code == 0, printed
        for line in shown:
            beginning = alike(line.removesuffix("…").rstrip())
            assert any(it.startswith(beginning) for it in printed), (arguments, line, printed)
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [answer["answer"] for answer in answers] == ["MDX", "541000", "MDCCXXXVIII"]
    assert all(answer["muster"]["recruits"] and answer["muster"]["votes"] for answer in answers)
