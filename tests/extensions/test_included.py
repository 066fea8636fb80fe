from pathlib import Path

import pytest

from tests.extensions.included import DOCUMENT, EXAMPLES, ROOT, paths, with_files

EXAMPLE = ROOT / "tests/extensions/muster_example"


@pytest.mark.parametrize("path", [DOCUMENT, EXAMPLES], ids=lambda path: path.stem)
def test_the_document_shows_the_files_as_they_are(path: Path) -> None:
    document = path.read_text()
    assert with_files(document) == document, "run python -m tests.extensions.included"


def test_the_document_shows_every_extension_with_its_test() -> None:
    files = {*EXAMPLE.glob("src/muster_example/[!_]*.py"), *EXAMPLE.glob("tests/test_*.py")}
    shown = set(paths(DOCUMENT.read_text()))
    assert shown >= {str(path.relative_to(ROOT)) for path in files}
    assert str((EXAMPLE / "pyproject.toml").relative_to(ROOT)) in shown


def test_the_examples_are_all_shown_but_for_questions() -> None:
    folders = ("clients", "questions", "aggregator", "fusion", "merge")
    found = [path for folder in folders for path in (ROOT / "examples" / folder).iterdir() if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in found if path.suffix != ".jsonl"}
    assert wanted - set(paths(EXAMPLES.read_text())) == {"examples/aggregator/pool.yaml"}
