"""A docstring begins by naming the thing: nobody should have to read on to know what is described."""

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
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


SHOWN_TO_USERS = ("api/cli/", "api/routes/", "api/dashboard/")
"""Folders whose docstrings are the help of commands and routes: errors have codes and remedies there."""
CONFINED = "skills/grading/confined/"
"""The folder of a program of its own, which stands in for Python's own functions and raises as they do."""
OF_PROGRAMMERS = frozenset({"AssertionError", "NotImplementedError"})
ARGUMENTS = re.compile(r"^    (\w+(?:, \w+)*):", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in CODE}


@cache
def bases() -> dict[str, list[str]]:
    """Names of the bases of each class of ours, by its name."""
    return {
        node.name: [base.id for base in node.bases if isinstance(base, ast.Name)]
        for tree in trees().values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


@cache
def ancestors(error: str) -> frozenset[str]:
    """The names of an error and of all that it is one of."""
    known = getattr(builtins, error, None)
    if error not in bases() and isinstance(known, type):
        return frozenset(one.__name__ for one in known.__mro__)
    return frozenset([error]).union(*(ancestors(base) for base in bases().get(error, ()) if base != error))


@cache
def promises() -> dict[str, str]:
    """What docstrings of ports say, by the name of the method: who implements one keeps to it."""
    said: dict[str, str] = {}
    for tree in trees().values():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
                for method in public(node):
                    said[method.name] = said.get(method.name, "") + (ast.get_docstring(method) or "")
    return said


def raised(node: ast.AST) -> Iterator[str]:
    """Names of the errors that a function raises itself, not in functions within."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            made = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = ast.unparse(made).rpartition(".")[2]
            if name.endswith("Error") and name not in OF_PROGRAMMERS:
                yield name
        yield from raised(child)


def functions() -> Iterator[tuple[str, Function, bool]]:
    """Place, function and whether it is a method, of all that is public."""
    for path, tree in trees().items():
        name = str(path.relative_to(ROOT))
        for node in public(tree):
            if isinstance(node, ast.ClassDef):
                continue
            yield f"{name}:{node.lineno}: {node.name}", node, node not in tree.body


def test_a_function_that_raises_says_so() -> None:
    """By the error's own name, or that of one that it is one of; a method also by its port's docstring."""
    silent = []
    for place, function, is_method in functions():
        if place.startswith((*SHOWN_TO_USERS, CONFINED)):
            continue
        text = (ast.get_docstring(function) or "") + (promises().get(function.name, "") if is_method else "")
        told = set(re.findall(r"\w+Error\b", text))
        silent += [f"{place} raises {name}" for name in set(raised(function)) if not ancestors(name) & told]
    assert silent == []


def test_arguments_that_a_docstring_tells_of_are_there() -> None:
    strange = []
    for place, function, _ in functions():
        text = ast.get_docstring(function) or ""
        section = re.split(r"\n(?=\S)", text.partition("\nArgs:\n")[2])[0]
        given = function.args
        known = {
            a.arg
            for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
            if a
        }
        told = {name for names in ARGUMENTS.findall(section) for name in names.split(", ")}
        strange += [f"{place}: {name}" for name in sorted(told - known)]
    assert strange == []
