"""A docstring begins by naming the thing: nobody should have to read on to know what is described."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "skills", "workers", "aggregators", "api")
CODE = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

NO_NAME = frozenset(
    ["Of", "What", "How", "Where", "Whether", "Who", "Whom", "Whose", "Which", "When", "Those", "Why"]
)
"""First words that put a clause where the thing should stand."""

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text, of a module and of everything public in it."""
    tree = ast.parse(path.read_text())
    nodes: list[Documented] = [tree, *public(tree)]
    for node in nodes:
        text = ast.get_docstring(node)
        if text:
            yield getattr(node, "lineno", 1), text


def public(
    node: ast.Module | ast.ClassDef,
) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def test_docstrings_begin_with_the_thing_that_they_describe() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in CODE
        for line, text in docstrings(path)
        if text.split()[0].strip(":,") in NO_NAME
    ]
    assert offenders == []


def test_every_module_has_a_docstring() -> None:
    """Migrations have theirs from a template; a package that only holds others needs none."""
    silent = [
        path
        for path in CODE
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert [str(path.relative_to(ROOT)) for path in silent] == []
