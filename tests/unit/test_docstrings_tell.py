"""A public function's docstring tells what a caller cannot see: units, ranges, shapes, a method's source.

What a name says already (`timeout_s`, `n_answers`, `memory_gib`) need not be said again.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.unit.test_docstrings import CONFINED, PACKAGES, ROOT, Function, bases, functions, trees

UNIT = re.compile(
    r"(^|_)(s|ms|seconds|gib|mb|bytes|usd|tokens|chars|seed|limit|pk|ix|id|pid|port|priority|share|minute|hours|lines)$"
    r"|^n_|_per_|^(max|min)_"
)
"""Names of numbers that carry their unit, or count things."""
NUMBER = re.compile(r"(float|int)( \| None)?")
ARRAY = re.compile(r"NDArray|ndarray|Tensor|Floats")
SHAPE = re.compile(r"\[[\w\d\s.,·+*…|-]*\]|\bshapes?\b|\bscalar\b", re.IGNORECASE)
MEASURE = re.compile(
    r"\b(seconds?|milliseconds|ms|minutes?|GiB|bytes|USD|tokens?|per second|share|ratio|probabilit\w+"
    r"|log-odds|nats|bits|score|accuracy|points|weight|factor|times|between|from"
    r"|0|1|[-\d.]+ to [\d.]+|>=? ?0|in \[)\b|[≥≤∞\[]",
    re.IGNORECASE,
)
"""Words by which a docstring says what a real number that is returned measures, or where it lies."""
SOURCE = re.compile(r"\bSource:|\barXiv\b|\b(19|20)\d\d\b|\bOurs\b|\bours\b|[Dd]ecision \d{4}|methods\.md")
METHODS = ("orchestrator/routing/", "aggregators/outputs/", "aggregators/logits/", "aggregators/weights/")
"""Folders whose modules are methods, a row of a table each; parts of them stand in folders below."""


@pytest.fixture(scope="module", params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def of(package: str) -> tuple[tuple[str, Function, str], ...]:
    """Place, function, and all that docstrings say of it: its own, its class's and the one it keeps to."""
    found = []
    for place, function, is_method in functions():
        spared = place.startswith((CONFINED, "orchestrator/store/migrations"))
        if place.startswith(f"{package}/") and not spared:
            text = ast.get_docstring(function) or ""
            found.append((place, function, text + "\n" + (inherited(place, function) if is_method else "")))
    return tuple(found)


def inherited(place: str, function: Function) -> str:
    """What is promised for a method elsewhere: by classes above its own, by ports it keeps to."""
    owner = next(
        (
            node
            for node in trees()[ROOT / place.split(":")[0]].body
            if isinstance(node, ast.ClassDef) and function in node.body
        ),
        None,
    )
    if owner is None:
        return ""
    own = {node.name: node for node in owner.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    names = own.keys() | set_in_init(own.get("__init__")) | fields(owner)
    for name in above(owner):
        names |= classes().get(name, frozenset())
    kept = [name for name, methods in ports().items() if function.name in methods and methods <= names]
    return "\n".join(method_doc(name, function.name) for name in (*above(owner), *kept))


def set_in_init(init: Function | None) -> set[str]:
    """Attributes that a class sets of itself: a function may stand in one."""
    return set() if init is None else set(re.findall(r"\bself\.(\w+)(?::[^=\n]+)? = ", ast.unparse(init)))


def fields(owner: ast.ClassDef) -> set[str]:
    targets = [node.target for node in owner.body if isinstance(node, ast.AnnAssign)]
    targets += [target for node in owner.body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def methods(node: ast.ClassDef) -> frozenset[str]:
    return frozenset(
        child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@cache
def classes() -> dict[str, frozenset[str]]:
    """Names of the methods of each class."""
    nodes = [node for tree in trees().values() for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: methods(node) for node in nodes}


@cache
def ports() -> dict[str, frozenset[str]]:
    """The same of ports alone."""
    nodes = [node for tree in trees().values() for node in tree.body if isinstance(node, ast.ClassDef)]
    return {
        node.name: methods(node)
        for node in nodes
        if any("Protocol" in ast.unparse(base) for base in node.bases)
    }


def above(owner: ast.ClassDef) -> list[str]:
    names: list[str] = []
    waiting = [base.id for base in owner.bases if isinstance(base, ast.Name)]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.append(name)
            waiting += bases().get(name, [])
    return names


def method_doc(class_name: str, method: str) -> str:
    return "\n".join(method_docs().get((class_name, method), ()))


@cache
def method_docs() -> dict[tuple[str, str], list[str]]:
    """What docstrings say of each method, by the names of its class and its own."""
    said: dict[tuple[str, str], list[str]] = {}
    for tree in trees().values():
        for node in tree.body:
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    said.setdefault((node.name, child.name), []).append(ast.get_docstring(child) or "")
    return said


def numbers(function: Function) -> Iterator[str]:
    """Names of arguments that are numbers whose unit their name does not say."""
    given = function.args
    for one in (*given.posonlyargs, *given.args, *given.kwonlyargs):
        is_number = one.annotation is not None and NUMBER.fullmatch(ast.unparse(one.annotation))
        if is_number and not UNIT.search(one.arg):
            yield one.arg


def arrays(function: Function) -> bool:
    given = function.args
    taken = (*given.posonlyargs, *given.args, *given.kwonlyargs)
    noted = [*(one.annotation for one in taken), function.returns]
    return any(ARRAY.search(ast.unparse(one)) for one in noted if one is not None)


def class_and_module_doc(place: str, function: Function) -> str:
    tree = trees()[ROOT / place.split(":")[0]]
    owners = [node for node in tree.body if isinstance(node, ast.ClassDef) and function in node.body]
    return "\n".join(ast.get_docstring(node) or "" for node in (tree, *owners))


def test_every_public_function_has_a_docstring(package: str) -> None:
    assert [place for place, _, text in of(package) if not text.strip()] == []


def test_numbers_have_their_unit_or_range_in_name_or_docstring(package: str) -> None:
    silent = []
    for place, function, text in of(package):
        told = text + class_and_module_doc(place, function)
        silent += [f"{place}: {name}" for name in numbers(function) if not re.search(rf"\b{name}\b", told)]
    assert silent == []


def test_a_real_number_that_is_returned_has_a_measure(package: str) -> None:
    silent = [
        place
        for place, function, text in of(package)
        if function.returns is not None
        and re.fullmatch(r"float( \| None)?", ast.unparse(function.returns))
        and not UNIT.search(function.name)
        and not MEASURE.search(text)
    ]
    assert silent == []


def test_tensors_and_arrays_have_their_shape_told(package: str) -> None:
    """By the function, or once for all by its class or module."""
    silent = [
        place
        for place, function, text in of(package)
        if arrays(function) and not SHAPE.search(text + class_and_module_doc(place, function))
    ]
    assert silent == []


def test_methods_name_their_source() -> None:
    """A paper or a decision, or that it is ours."""
    silent = []
    for path, tree in trees().items():
        name = str(path.relative_to(ROOT))
        folder, _, module = name.rpartition("/")
        if f"{folder}/" in METHODS and module != "__init__.py":
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef
            said = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
            if not SOURCE.search("\n".join(said)):
                silent.append(name)
    assert silent == []


def test_the_check_sees_what_is_not_told() -> None:
    """On a function of its own: no docstring, a bare number, a tensor without a shape."""
    node = ast.parse("def f(width: float, wait_s: float, x: Tensor) -> float: ...").body[0]
    assert isinstance(node, ast.FunctionDef)
    assert list(numbers(node)) == ["width"]
    assert arrays(node)
    assert not SHAPE.search("Tensors, one after the other.")
    assert SHAPE.search("Logits, [B, V].")
    assert not MEASURE.search("The gap.")
    assert MEASURE.search("Seconds of the gap.")
