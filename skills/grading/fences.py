"""Code fences of Markdown as CommonMark has them, in time linear in the text, whatever fences it holds.

Wider than CommonMark where models are careless: a fence may open at the end of a line of prose, and one that
no line closes is closed by the next line that ends in such a fence.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

FENCES = ("```", "~~~")

MAX_ENDS = 4
"""Later closing fences that are tried for one block."""
MAX_TRIED = 50
"""Blocks of a text of which more than one end is tried."""
MAX_LOOKS = 64
"""Closing fences that are looked at for one block."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_PREFIX = re.compile(r"\A[ \t]*(?:>[ \t]?)*")
_LIST_MARK = re.compile(r"\A(?:[-*+]|\d{1,9}[.)])[ \t]+")
_BACKTICKS = re.compile(r"(?<!`)`{3,}")
_TILDES = re.compile(r"~{3,}")
_CLOSING = re.compile(r"\A(?P<fence>`{3,}|~{3,})[ \t]*\Z")
_ENDING = re.compile(r"(?<![`~])(?:`{3,}|~{3,})[ \t]*\Z")
_TAB_COLUMNS = 4


class Block(NamedTuple):
    """Text between two fences.

    Attributes:
        tag: the words after the opening fence.
        body: lines without the indentation, or the quote marks, that the opening fence has.
        is_closed: False of a block that runs to the end of the text.
    """

    tag: str
    body: str
    is_closed: bool = True


class _Opening(NamedTuple):
    """`indent`: columns before it; `depth`: marks of a quotation before it."""

    mark: str
    n: int
    tag: str
    indent: int
    depth: int


class _End(NamedTuple):
    """Line where a block ends; `kept`: what stands before a fence at the end of that line."""

    line: int
    kept: str | None = None


class _Fences(NamedTuple):
    """Lines of a text, and which of them are nothing but a fence, end in one, or stand in no quotation."""

    lines: Sequence[str]
    closing: Sequence[int]
    ending: Sequence[int]
    unquoted: Sequence[int]


def fenced_blocks(text: str, complete: Callable[[str, str], bool] | None = None) -> Iterator[Block]:
    """Blocks of a text in order.

    Args:
        complete: True if a tag and a body are a whole block; where they are not, the block may end at a
            later fence instead (programs hold fences in their docstrings), or at an earlier one that ends
            a line. None = every block ends at the first fence that closes it.
    """
    if not has_fence(text):
        return
    lines = _LINE_END.split(text)
    bare = [_PREFIX.sub("", line) for line in lines]
    fences = _Fences(
        lines,
        [i for i, line in enumerate(bare) if _CLOSING.match(line)],
        [i for i, line in enumerate(bare) if _ENDING.search(line) and not _CLOSING.match(line)],
        [i for i, line in enumerate(lines) if not line.lstrip().startswith(">")],
    )
    at = n_found = 0
    while at < len(lines):
        opening = _opening(lines[at])
        at += 1
        if opening is not None:
            n_found += 1
            block, at = _block(fences, at, opening, complete if n_found <= MAX_TRIED else None)
            yield block


def has_fence(text: str) -> bool:
    """True if the marks of a fence occur anywhere, whether they open a block or not."""
    return any(fence in text for fence in FENCES)


def _opening(line: str) -> _Opening | None:
    prefix = _PREFIX.match(line)
    begun = prefix.end() if prefix else 0
    tildes = _TILDES.match(line, begun)
    found = [tildes] if tildes else list(_BACKTICKS.finditer(line))
    if len(found) != 1 or ("`" in line[found[0].end() :] and not tildes):
        return None
    fence = found[0]
    before = line[begun : fence.start()]
    in_list = _LIST_MARK.fullmatch(before) is not None
    indent = _columns(line[: fence.start()].rpartition(">")[2]) if not before or in_list else 0
    depth = line[:begun].count(">")
    return _Opening(fence.group()[0], len(fence.group()), line[fence.end() :].strip(), indent, depth)


def _block(
    fences: _Fences, first: int, opening: _Opening, complete: Callable[[str, str], bool] | None
) -> tuple[Block, int]:
    """The block whose first line is given, and the line after it."""
    quoted_to = _quoted_to(fences, first, opening.depth)
    ends = _ends(fences, first, opening, quoted_to)
    chosen = next(ends, None)
    if complete is not None and chosen is not None:
        tried = chain([chosen], ends)
        whole = (end for end in tried if complete(opening.tag, _body(fences.lines, first, end, opening)))
        chosen = next(whole, chosen)
    if chosen is None:
        body = _body(fences.lines, first, _End(quoted_to), opening)
        return Block(opening.tag, body, quoted_to < len(fences.lines)), quoted_to
    return Block(opening.tag, _body(fences.lines, first, chosen, opening)), chosen.line + 1


def _quoted_to(fences: _Fences, first: int, depth: int) -> int:
    """The first line outside of a quotation of that depth; the end of the text where there is none."""
    at = bisect_left(fences.unquoted, first)
    return fences.unquoted[at] if depth and at < len(fences.unquoted) else len(fences.lines)


def _ends(fences: _Fences, first: int, opening: _Opening, limit: int) -> Iterator[_End]:
    """Where the block may end, likeliest first."""
    closing = (i for i in _from(fences.closing, first, limit) if _closes(fences.lines[i], opening))
    before = next(closing, limit)
    if before < limit:
        yield _End(before)
    mark = opening.mark * opening.n
    for i in _from(fences.ending, first, before):
        line = fences.lines[i].rstrip()
        if line.endswith(mark):
            yield _End(i, line.rstrip(opening.mark))
            break
    yield from (_End(i) for i in islice(closing, MAX_ENDS - 1))


def _from(numbers: Sequence[int], first: int, limit: int) -> Iterator[int]:
    at = bisect_left(numbers, first)
    return (numbers[i] for i in range(at, min(at + MAX_LOOKS, len(numbers))) if numbers[i] < limit)


def _closes(line: str, opening: _Opening) -> bool:
    bare = _unquoted(line, opening.depth)
    fence = _CLOSING.match(bare.lstrip())
    if fence is None or fence["fence"][0] != opening.mark or len(fence["fence"]) < opening.n:
        return False
    allowed = 3 if opening.indent <= 3 else opening.indent + 3
    return _columns(bare[: len(bare) - len(bare.lstrip())]) <= allowed


def _body(lines: Sequence[str], first: int, end: _End, opening: _Opening) -> str:
    """The lines up to an end, without the indentation that all of them share with the opening fence."""
    kept = [*lines[first : end.line], *([] if end.kept is None else [end.kept])]
    inside = [_unquoted(line, opening.depth) for line in kept]
    shared = min((_columns(_margin(line)) for line in inside if line.strip()), default=0)
    n = min(opening.indent, shared)
    return "\n".join(_without_columns(line, n) for line in inside)


def _unquoted(line: str, depth: int) -> str:
    for _ in range(depth):
        bare = line.lstrip()
        if not bare.startswith(">"):
            break
        line = bare[2:] if bare.startswith("> ") else bare[1:]
    return line


def _margin(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _columns(prefix: str) -> int:
    return len(prefix.expandtabs(_TAB_COLUMNS))


def _without_columns(line: str, n: int) -> str:
    if not n:
        return line
    margin = _margin(line)
    return margin.expandtabs(_TAB_COLUMNS)[n:] + line[len(margin) :]
