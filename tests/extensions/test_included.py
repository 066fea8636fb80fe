from tests.extensions.included import DOCUMENT, ROOT, paths, with_files

EXAMPLE = ROOT / "tests/extensions/muster_example"


def test_the_document_shows_the_files_as_they_are() -> None:
    document = DOCUMENT.read_text()
    assert with_files(document) == document, "run python -m tests.extensions.included"


def test_the_document_shows_every_extension_with_its_test() -> None:
    files = {*EXAMPLE.glob("src/muster_example/[!_]*.py"), *EXAMPLE.glob("tests/test_*.py")}
    shown = set(paths(DOCUMENT.read_text()))
    assert shown >= {str(path.relative_to(ROOT)) for path in files}
    assert str((EXAMPLE / "pyproject.toml").relative_to(ROOT)) in shown
