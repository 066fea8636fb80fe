"""Pool files and commands in the documents are such that the program takes them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

from api.cli.main import app, hoisted
from orchestrator.settings.load import load_settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


class Example(NamedTuple):
    """A piece of a document, which begins in `line`."""

    path: Path
    line: int
    text: str

    @property
    def place(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks(language: str) -> Iterator[Example]:
    """Fenced blocks of all documents in one language, the fences left out."""
    for path in DOCUMENTS:
        text = path.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            yield Example(path, text.count("\n", 0, match.start(1)) + 1, match[1])


POOLS = [block for block in blocks("yaml") if "model_list:" in block.text]


@pytest.mark.parametrize("example", POOLS, ids=lambda example: example.place)
def test_a_pool_file_of_a_document_is_taken(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"os\.environ/(\w+)", example.text):
        monkeypatch.setenv(name, "some-value")
    file = tmp_path / "muster.yaml"
    file.write_text(example.text)
    assert load_settings(file)


def commands(text: str) -> Iterator[list[str]]:
    """Arguments of each call of `muster` in a line as one would type it."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    line: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("();<>|&"):
            line.append(word)
            continue
        words = [word for word in line if not re.fullmatch(r"export|[A-Z_]+=.*", word)]
        if words[:1] == ["muster"]:
            yield words[1:]
        line = []


def typed() -> Iterator[Example]:
    for block in blocks("console"):
        for number, line in enumerate(block.text.splitlines(), block.line):
            if line.startswith("$ ") and "muster" in line:
                yield Example(block.path, number, line[2:])


CALLS = [(example, call) for example in typed() for call in commands(example.text)]


def refusal(arguments: list[str]) -> str | None:
    """Why the command line does not take these arguments; None = it does. Nothing is run."""
    command, words = typer.main.get_command(app), hoisted(arguments).rest
    name = "muster"
    while words and words[0] in getattr(command, "commands", {}):
        name = f"{name} {words[0]}"
        command, words = command.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    if name == "muster":
        return f"no command {words}"
    try:
        command.make_context(name, list(words))
    except Exception as error:
        return f"{name}: {error!r}"
    return None


@pytest.mark.parametrize(
    ("example", "call"), CALLS, ids=[f"{example.place}-{' '.join(call)}" for example, call in CALLS]
)
def test_a_command_of_a_document_is_one_that_the_program_has(example: Example, call: list[str]) -> None:
    assert refusal(call) is None


def test_examples_are_found_and_wrong_ones_are_refused() -> None:
    assert len(POOLS) >= 10
    assert len(CALLS) >= 60
    assert list(commands("A=b muster ask 'x | y' | jq . && muster jobs list  # all")) == [
        ["ask", "x | y"],
        ["jobs", "list"],
    ]
    assert refusal(["jobs", "list", "--limit", "3", "--json"]) is None
    for wrong in (["aks", "why"], ["jobs", "list", "--limt", "3"], ["ask"], ["jobs", "show"]):
        assert refusal(wrong) is not None
