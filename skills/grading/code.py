"""Code: canonical answer = the program without comments and layout; graded by running unit tests."""

import ast
import builtins
import html
import json
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.fences import fenced_blocks, has_fence
from skills.grading.sandbox import Sandbox

MAX_CHARS = 50_000
MAX_BLOCKS = 20

_PYTHON = re.compile(
    r"\A(?:[{.\s]*(?:lang(?:uage)?=[\"']?)?(?:i?python|py|code|sage)[\d.]*(?![\w+#-]).*"
    r"|py(?:thon-?)?(?:con|repl)|doctest)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(
    r"(?:\[(/?)(?:PYTHON|CODE)\]|<(/?)(?:code|python|solution|program)(?:\s[^<>]{0,100})?>)", re.IGNORECASE
)
_SESSION = re.compile(r"\A\s*>>> ")
_PROMPTED = re.compile(r"^(?:>>>|\.\.\.)(?: (.*)|)$")
_BEGINS = re.compile(r"^(?:def|class|async def|import|from|@\w)\b", re.MULTILINE)
MAX_CUTS = 3
"""Lines at which the prose behind a program without a fence may begin."""
_PROGRAM = re.compile(r"[\n:=]")
_CALLED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s?\(|`([A-Za-z_]\w*)`")
_ALWAYS_THERE = frozenset([*dir(builtins), "__name__", "__file__", "self", "cls"])


class Program(NamedTuple):
    """Python source, with the names that it defines, those that it takes from elsewhere, and its imports
    with the names that they bind."""

    source: str
    defined: frozenset[str]
    needed: frozenset[str]
    defines_code: bool
    imports: tuple[tuple[str, frozenset[str]], ...] = ()


class CodeGrader:
    """Canonical form: `ast.unparse` of the program. Two programs are the same only as source."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        if len(text) > MAX_CHARS:
            return Reading(None, f"longer than {MAX_CHARS} characters")
        sources = _sources(text, truncated=truncated)
        if not sources and (truncated or has_fence(text)):
            return Reading(None, "no complete code block")
        sources = sources or [text, _unfenced(text)]
        programs = [p for source in sources[-MAX_BLOCKS:] if (p := _parsed_program(source)) is not None]
        if not programs:
            return Reading(None, "no Python program")
        return Reading(chosen_program(programs, _wanted(query)))

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        if not isinstance(query.answer, str) or not query.answer.strip():
            raise SkillError(f"query '{query.id}': the answer of a code question is its unit tests.")
        result = self._sandbox.run(value, query.answer)
        return Verdict(result.passed, result.reason)


def _sources(text: str, *, truncated: bool) -> list[str]:
    """Texts that may be programs: of fenced blocks, else of tags around code, else of strings in JSON."""
    blocks = [block for block in fenced_blocks(text, _is_whole) if block.is_closed or not truncated]
    fenced = [block.body for block in blocks if _PYTHON.match(block.tag)]
    for block in blocks:
        if not fenced and block.tag.lower() in ("md", "markdown"):  # a page that holds the program
            fenced = [
                inner.body for inner in fenced_blocks(block.body, _is_whole) if _PYTHON.match(inner.tag)
            ]
    objects = [block.body for block in blocks if block.tag.lower() == "json"]
    if any(_parsed_program(source) is not None for source in fenced):
        return fenced
    tagged = _tagged(text)
    inside = [one for held in (text, *objects, *tagged) for one in _strings(held)]
    unwrapped = [source for one in inside for source in _bodies(one)]
    return [source for source in [*tagged, *unwrapped] if source.strip()] or fenced


def _tagged(text: str) -> list[str]:
    """Texts between a tag that opens code and the next one that closes it."""
    found = []
    start: int | None = None
    for tag in _TAG.finditer(text):
        if not (tag[1] or tag[2]):
            start = tag.end()
        elif start is not None:
            found.append(html.unescape(text[start : tag.start()]) if tag[2] else text[start : tag.start()])
            start = None
    return found


def _unfenced(text: str) -> str:
    """The program that stands in a text without a fence: from its first definition or import to the prose
    after it."""
    begun = _BEGINS.search(text)
    lines = text[begun.start() :].splitlines() if begun else []
    for _ in range(MAX_CUTS):
        fault = _first_fault(lines)
        if fault is None:
            break
        lines = lines[: fault - 1]
    return "\n".join(lines)


def _first_fault(lines: Sequence[str]) -> int | None:
    """The line, from 1, at which lines stop being Python; None where they are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse("\n".join(lines))
    except SyntaxError as error:
        return min(error.lineno or 1, len(lines) or 1)
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _bodies(text: str) -> list[str]:
    """Texts of the fenced blocks that a text holds, or the text itself."""
    return [block.body for block in fenced_blocks(text, _is_whole) if _PYTHON.match(block.tag)] or [text]


def _strings(text: str) -> list[str]:
    """Texts of the object that a text is; programs have several lines, or a colon, or an equals sign."""
    if not text.lstrip().startswith("{"):
        return []
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return []
    held = value.values() if isinstance(value, dict) else ()
    return [one for one in held if isinstance(one, str) and _PROGRAM.search(one)]


def chosen_program(programs: Sequence[Program], wanted: Sequence[frozenset[str]]) -> str:
    """The program among several blocks: the last one that defines most of what is wanted, with the earlier
    blocks that define what it needs.

    Args:
        programs: in the order of the text, not empty.
        wanted: names that the program should define, the surest set first; what none of them defines is
            passed over.
    """
    for names in wanted:
        n_defined = [len(names & program.defined) for program in programs]
        if max(n_defined):
            best = max(range(len(programs)), key=lambda i: (n_defined[i], i))
            return _with_helpers(programs, best, names)
    defining = [i for i, program in enumerate(programs) if program.defines_code]
    return _with_helpers(programs, defining[-1] if defining else len(programs) - 1, frozenset())


def _with_helpers(programs: Sequence[Program], at: int, wanted: frozenset[str]) -> str:
    """A program with the others that define what is wanted of it or what it needs, those before it first,
    and with imports that stand before it."""
    chosen = programs[at]
    missing = (chosen.needed | wanted) - chosen.defined
    parts = [chosen.source]
    for program in [*reversed(programs[:at]), *programs[at + 1 :]]:
        if program.defines_code and missing & program.defined and not program.defined & chosen.defined:
            parts.insert(0, program.source)
            missing = (missing - program.defined) | (program.needed - program.defined)
    for program in programs[:at]:
        parts[:0] = [line for line, names in program.imports if names & missing]
    return "\n".join(parts)


def _wanted(query: Query) -> list[frozenset[str]]:
    """Names that the program is asked for: those that its tests need, else those that the question calls."""
    tests = _tree(query.answer) if isinstance(query.answer, str) else None
    in_tests = frozenset() if tests is None else _needed(tests) | _imported(tests)
    called = frozenset(name for match in _CALLED.finditer(query.question) for name in match.groups() if name)
    return [in_tests, called - _ALWAYS_THERE]


def _is_whole(tag: str, body: str) -> bool:
    """Of a block: that it need not go on behind its first closing fence."""
    return _PYTHON.match(tag) is None or _tree(body) is not None


def _parsed_program(source: str) -> Program | None:
    """The program, without comments and layout; None when it is no Python or does nothing but name things."""
    tree = _tree(source)
    if tree is None or all(isinstance(node, ast.Expr) for node in tree.body):
        return None
    try:
        plain = ast.unparse(tree)
    except (ValueError, RecursionError, MemoryError):
        return None
    defines_code = any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body
    )
    imports = tuple(
        (ast.unparse(node), frozenset((alias.asname or alias.name).partition(".")[0] for alias in node.names))
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return Program(plain, _defined(tree), _needed(tree), defines_code, imports)


def _tree(source: str) -> ast.Module | None:
    if _SESSION.match(source):
        prompted = [_PROMPTED.match(line.strip()) for line in source.splitlines()]
        source = "\n".join(line[1] or "" for line in prompted if line)
    elif source.lstrip("\n")[:1] in (" ", "\t"):
        source = textwrap.dedent(source)
    try:
        # Model-written code warns about its own escapes; that is no business of the grader's log.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.strip("\n"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(tree: ast.Module) -> frozenset[str]:
    """Names that a module's own lines bind, but for what it imports."""
    return frozenset(name for node in tree.body for name in _bound(node))


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))


def _imported(tree: ast.Module) -> frozenset[str]:
    """Names that are imported from modules."""
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return frozenset(alias.name for node in froms for alias in node.names)


def _needed(tree: ast.Module) -> frozenset[str]:
    """Names that are read and bound nowhere in the module."""
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return frozenset(read - bound - _ALWAYS_THERE)
