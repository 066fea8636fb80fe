"""Finds where a text states its final answer. Knows phrases, not answer types.

Texts come from models that may run wild: every function here takes time linear in the text.
"""

import re
from collections import deque
from typing import NamedTuple

MAX_STATEMENTS = 100
MAX_STATEMENT_CHARS = 2_000

_THOUGHT_OPEN = re.compile(r"<(?:think|thinking)>", re.IGNORECASE)
_THOUGHT_CLOSE = re.compile(r"</(?:think|thinking)>", re.IGNORECASE)

_REFUSAL = re.compile(
    r"^\W*(?:i'?m sorry|i am sorry|sorry,? (?:but|i)\b|i apologi[sz]e|unfortunately,? i"
    r"|i (?:can(?:no|')t|can not|won't|am unable|am not able)|i'?m (?:unable|not able)"
    r"|i (?:do not|don't) know|as an ai\b)",
    re.IGNORECASE,
)

_STATED = re.compile(
    r"(?:\b(?:answer|choice|option)\s*"
    r"(?:(?:is|would be|must be|should be|has to be)\b\s*:?|[:=])|^[ \t]*####)"
    r"\s*(?:(?:therefore|thus|then|indeed|clearly|simply|just|exactly|about|approximately)\b,?\s*)?",
    re.IGNORECASE | re.MULTILINE,
)
_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\[{}]|(?P<open>\{)|(?P<close>\})")
_NO_ANSWER = re.compile(
    r"^(?:not\b|none\b|neither\b|both\b|unclear\b|unknown\b|undefined\b|impossible\b|cannot\b|n/?a\b)",
    re.IGNORECASE,
)


class Statement(NamedTuple):
    """The rest of a line after "the answer is", or the content of a box; `start` orders them."""

    start: int
    text: str

    @property
    def denies(self) -> bool:
        """Says that there is no answer, or more than one."""
        return _NO_ANSWER.match(self.text) is not None


def without_thinking(text: str) -> str | None:
    """The text after the last thinking block; None when a block was opened and never closed.

    A lone closing tag ends a block that the chat template opened.
    """
    *_, rest = _THOUGHT_CLOSE.split(text)
    return None if _THOUGHT_OPEN.search(rest) else rest.strip()


def is_refusal(text: str) -> bool:
    """Opens like a refusal and states no answer."""
    return _REFUSAL.match(text) is not None and not statements(text)


def without_emphasis(text: str) -> str:
    """Drop Markdown bold and code marks, which may sit anywhere around an answer."""
    return text.replace("**", "").replace("__", "").replace("`", "")


def statements(text: str, *, truncated: bool = False) -> list[Statement]:
    """Explicit statements of an answer, in order; of very many, the last hundred.

    In a truncated text a line counts only if a later line follows: its end may be missing. A box
    counts once it is closed.
    """
    found = sorted([*_stated_lines(text, truncated=truncated), *_boxes(text)])
    return found[-MAX_STATEMENTS:]


def _stated_lines(text: str, *, truncated: bool) -> list[Statement]:
    found = []
    for match in deque(_STATED.finditer(text), maxlen=MAX_STATEMENTS):
        line_end = text.find("\n", match.end())
        if line_end < 0 and truncated:
            continue
        end = min(len(text) if line_end < 0 else line_end, match.end() + MAX_STATEMENT_CHARS)
        line = text[match.end() : end].strip()
        if line:
            found.append(Statement(match.start(), line))
    return found


def _boxes(text: str) -> list[Statement]:
    """Contents of closed boxes; one that holds more than a statement can is none."""
    found = []
    opened: list[int | None] = []  # where a box's content starts; None for a plain brace
    for match in _BRACE.finditer(text):
        if match["box"] or match["open"]:
            opened.append(match.end() if match["box"] else None)
        elif match["close"] and opened:
            start = opened.pop()
            if start is not None and match.start() - start <= MAX_STATEMENT_CHARS:
                found.append(Statement(start, text[start : match.start()].strip()))
    return [box for box in found if box.text]


def unboxed(text: str) -> str:
    """`\\boxed{x}` and text around it -> `x`; a text without a closed box is unchanged."""
    boxes = _boxes(text)
    return boxes[0].text if boxes else text
