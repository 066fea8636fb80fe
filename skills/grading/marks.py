"""Marks of Markdown around an answer. They count in pairs only: `2**10` and `a_1` keep theirs."""

import re
from collections.abc import Mapping

_CLOSERS: Mapping[str, re.Pattern[str]] = {
    "***": re.compile(r"(?<=[^\s*])\*\*\*(?![\w*])"),
    "**": re.compile(r"(?<=[^\s*])\*\*(?![\w*])"),
    "*": re.compile(r"(?<=[^\s*])\*(?![\w*])"),
    "___": re.compile(r"(?<=[^\s_])___(?![\w])"),
    "__": re.compile(r"(?<=[^\s_])__(?![\w])"),
    "_": re.compile(r"(?<=[^\s_])_(?![\w])"),
    "~~": re.compile(r"(?<=[^\s~])~~(?![\w~])"),
    "``": re.compile(r"(?<=[^`])``(?!`)"),
    "`": re.compile(r"(?<=[^`])`(?!`)"),
}
"""Longest first; each closes a pair where no word goes on behind it."""

_OPENED = re.compile(r"(?<![\w*_])(?:\*{1,3}|_{1,3})(?=[^\s*_])")
_CLOSED = re.compile(r"(?<=[^\s*_])(?:\*{1,3}|_{1,3})(?![\w*])")
_NAME = re.compile(r"\A[a-z][a-z0-9]*(?:_[a-z0-9]+)*\Z")
MAX_NESTED = 4


def unmarked(text: str) -> tuple[str, str]:
    """A text without the pairs of marks that it begins with, and what the outermost pair encloses.

    `**42** km` -> (`42 km`, `42`); `2**10` -> (`2**10`, ``). A name such as `__init__` is no pair.
    """
    marked = ""
    for _ in range(MAX_NESTED):
        inside = _pair(text)
        if inside is None:
            break
        content, rest = inside
        marked = marked or unmarked(content)[0]
        text = content + rest
    return text, marked


def _pair(text: str) -> tuple[str, str] | None:
    """The content of the pair that a text begins with, and what follows the pair."""
    if not text.startswith(("*", "_", "~", "`")):
        return None
    for mark, closer in _CLOSERS.items():
        size = len(mark)
        if not text.startswith(mark):
            continue
        is_code = mark[0] == "`"
        close = closer.search(text, size + 1)
        if close is None or (not is_code and text[size].isspace()):
            continue
        content = text[size : close.start()]
        if mark == "__" and _NAME.match(content):
            return None
        return (content.strip(" ") if is_code else content), text[close.end() :]
    return None


def opened_before(head: str) -> str:
    """The mark that is opened in the beginning of a line and not closed there; "" if there is none."""
    opened = ""
    for mark in sorted([*_OPENED.finditer(head), *_CLOSED.finditer(head)], key=lambda m: m.start()):
        if not opened:
            opened = mark.group() if _OPENED.match(head, mark.start()) else ""
        elif mark.group() == opened:
            opened = ""
    return opened


def without_closer(text: str, mark: str) -> str:
    """A text without the first mark that closes one opened before it."""
    close = _CLOSERS[mark].search(f"x{text}") if mark in _CLOSERS else None
    return text if close is None else text[: close.start() - 1] + text[close.end() - 1 :]
