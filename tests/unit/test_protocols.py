"""Ports are small: whoever reads one is told no more than it asks for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "workers", "skills", "aggregators", "api")
MOST_METHODS = 9


def protocols() -> dict[str, ast.ClassDef]:
    """Every Protocol of the product, by name; no two have the same."""
    found: dict[str, ast.ClassDef] = {}
    for path in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "Protocol" in bases(node):
                assert node.name not in found, f"{path}: another Protocol is called {node.name}"
                found[node.name] = node
    return found


def bases(node: ast.ClassDef) -> list[str]:
    """Names of base classes, without modules and parameters."""
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in plain]


def methods(name: str, known: dict[str, ast.ClassDef]) -> set[str]:
    """Names of methods and properties, inherited ones included."""
    own = {item.name for item in known[name].body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
    return own.union(*(methods(base, known) for base in bases(known[name]) if base in known))


KNOWN = protocols()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_no_protocol_has_more_than_nine_methods(name: str) -> None:
    assert len(methods(name, KNOWN)) <= MOST_METHODS


def test_inherited_methods_count() -> None:
    """2 of jobs, 5 of results, and submit and cancel."""
    assert len(methods("JobStore", KNOWN)) == 9
