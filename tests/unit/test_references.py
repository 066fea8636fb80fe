"""What code and documents refer to is in the repository, under the name that they use."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.table import FAULTS, NOT_SHOWN

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "skills", "workers", "aggregators", "api")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "examples", "scripts", "docs")
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
"""Documents about the tree as it is; the changelog names what was there."""

METHODS = (ROOT / "docs/methods.md").read_text()
THIS = Path(__file__)


class Reference(NamedTuple):
    """`name`, as it stands in a line of `path`."""

    path: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.name}"


def references(pattern: str, paths: list[Path]) -> Iterator[Reference]:
    """Each match of the pattern's only group."""
    for path in paths:
        if path != THIS:
            text = path.read_text()
            for match in re.finditer(pattern, text):
                yield Reference(path, text.count("\n", 0, match.start()) + 1, match[1])


def dangling(pattern: str, paths: list[Path], is_there: Callable[[str], bool]) -> list[str]:
    """References that lead nowhere."""
    found = list(references(pattern, paths))
    assert found, "nothing refers by this pattern: mend the test"
    return [str(reference) for reference in found if not is_there(reference.name)]


def is_path(name: str) -> bool:
    """A file or folder; a decision may be named by its number."""
    bare = name.rstrip(".")
    if re.fullmatch(r"docs/decisions/\d{4}", bare):
        return is_decision(bare[-4:])
    return (ROOT / bare).exists()


def is_decision(number: str) -> bool:
    return len(list((ROOT / "docs/decisions").glob(f"{number}-*.md"))) == 1


def is_section(number: str) -> bool:
    return re.search(rf"^###? {re.escape(number)} ", METHODS, re.MULTILINE) is not None


PATH = rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})/[\w./-]*+)"


def test_files_and_folders_exist() -> None:
    pattern = PATH + r"(?![{*<\\])"
    spared = [path for path in CODE if "examples" not in path.parts]
    assert dangling(pattern, [*PRESENT, *spared], is_path) == []


def test_decisions_are_on_record() -> None:
    assert dangling(r"[Dd]ecisions?/? ?\(?(\d{4})", [*DOCUMENTS, *CODE], is_decision) == []
    of_docs = [path for path in DOCUMENTS if "docs" in path.parts]
    assert dangling(r"(?<![\w.,-])(00\d\d)(?![\w%])", of_docs, is_decision) == []


def test_each_decision_has_a_number_of_its_own_in_name_and_heading() -> None:
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [path.name[:4] for path in records]
    assert len(set(numbers)) == len(numbers)
    assert [path.read_text()[2:6] for path in records] == numbers


def test_methods_are_defined() -> None:
    assert dangling(r"[Mm]ethods\s+(\d\.\d+)", CODE, is_section) == []


def test_papers_are_among_the_sources() -> None:
    assert dangling(r"(\d{4}\.\d{4,5})(?=\D)", _papers(CODE), METHODS.__contains__) == []


def _papers(paths: list[Path]) -> list[Path]:
    return [path for path in paths if "arXiv" in path.read_text() and path.is_relative_to(ROOT)]


def test_bounds_are_defined() -> None:
    assert dangling(r"\b(LB\d)\b", [*CODE, *PRESENT], METHODS.__contains__) == []


def test_invariants_and_faults_of_the_fault_runs_are_listed() -> None:
    runs = [path for path in CODE if path.is_relative_to(ROOT / "tests/faults")]
    assert dangling(r"\b(I\d)\b", runs, lambda name: f"- {name} " in METHODS) == []
    known = {*(fault.id for fault in FAULTS), *NOT_SHOWN}
    assert dangling(r"\b(F\d{1,2})\b(?!-)", [*runs, *PRESENT], known.__contains__) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not leads_somewhere(path, link)] == []


def leads_somewhere(source: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (source.parent / name).resolve() if name else source
    return target.exists() and (not anchor or anchor in anchors(target.read_text()))


def anchors(document: str) -> set[str]:
    """As the hosts of repositories make them: lower case, blanks to hyphens, signs left out."""
    text = re.sub(r"^ *```.*?^ *```", "", document, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w -]", "", heading).strip().replace(" ", "-") for heading in plain}


def test_anchors_are_headings_and_no_comments_of_code() -> None:
    document = "# A `b`: c_d\n```console\n# not one\n```\n## See [e](f.md)\n"
    assert anchors(document) == {"a-b-c_d", "see-e"}


# ── names of code ────────────────────────────────────────────────────────────────────────────────────


def test_dotted_names_are_modules_or_what_they_define() -> None:
    pattern = rf"`((?:{'|'.join((*PACKAGES, 'benchmarks', 'tests'))})(?:\.\w+)+)(?:\(\))?`"
    assert dangling(pattern, [*PRESENT, *CODE], is_defined) == []


def test_classes_named_with_the_end_of_their_module_are_there() -> None:
    """`ports.Engine`, `domain.devices.Rate`: the folder `ports` stands for its files."""
    assert dangling(r"`((?:[a-z_]+\.)+[A-Z]\w*[a-z]\w*)`", [*PRESENT, *CODE], is_class_of_some_module) == []


def is_class_of_some_module(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return any(has_attribute(path, (attribute,)) for path in ends().get(module, ()))


@cache
def ends() -> dict[str, list[Path]]:
    """Files of modules by every end of their dotted names."""
    found: dict[str, list[Path]] = {}
    for path in CODE:
        parts = path.relative_to(ROOT).with_suffix("").parts
        for module in {parts, parts[:-1]} if parts[-1] == "__init__" or "ports" in parts else {parts}:
            for start in range(len(module)):
                found.setdefault(".".join(module[start:]), []).append(path)
    return found


def is_defined(name: str) -> bool:
    """Resolved without importing: some modules need libraries that are not installed everywhere."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        module = module_file("/".join(parts[:n]))
        if module is not None:
            return has_attribute(module, tuple(parts[n:]))
    return False


def module_file(path: str) -> Path | None:
    """The file of a module or package; for a folder without `__init__.py` the folder."""
    found = (ROOT / f"{path}.py", ROOT / path / "__init__.py", ROOT / path)
    return next((file for file in found if file.exists()), None)


@cache
def has_attribute(module: Path, names: tuple[str, ...]) -> bool:
    if not names:
        return True
    if module.is_dir():
        return False
    body: list[ast.stmt] = ast.parse(module.read_text()).body
    for name in names:
        found = next((node for node in body if name in defined_by(node)), None)
        if found is None:
            return False
        body = found.body if isinstance(found, ast.ClassDef) else []
    return True


def defined_by(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)
    }
