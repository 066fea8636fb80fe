"""Finds where a text states its final answer. Knows phrases, not answer types."""

import re
from typing import NamedTuple

_THOUGHT = re.compile(r"<(think|thinking)>.*?</\1>", re.DOTALL | re.IGNORECASE)
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
    r"(?:(?:is|would be|must be|should be|has to be)\b\s*:?|[:=])|^\s*####)"
    r"\s*(?:(?:therefore|thus|then|indeed|clearly|simply|just|exactly|about|approximately)\b,?\s*)?",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
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
    """The text after its thinking blocks; None when a block was opened and never closed.

    A lone closing tag ends a block that the chat template opened.
    """
    rest = _THOUGHT.sub("", text)
    *_, rest = _THOUGHT_CLOSE.split(rest)
    return None if _THOUGHT_OPEN.search(rest) else rest.strip()


def is_refusal(text: str) -> bool:
    """Opens like a refusal and states no answer."""
    return _REFUSAL.match(text) is not None and not statements(text)


def without_emphasis(text: str) -> str:
    """Drop Markdown bold and code marks, which may sit anywhere around an answer."""
    return text.replace("**", "").replace("__", "").replace("`", "")


def statements(text: str, *, truncated: bool = False) -> list[Statement]:
    """Explicit statements of an answer, in order.

    In a truncated text a line counts only if a later line follows: its end may be missing. A box
    counts once it is closed.
    """
    return sorted([*_stated_lines(text, truncated=truncated), *_boxes(text)])


def _stated_lines(text: str, *, truncated: bool) -> list[Statement]:
    found = []
    for match in _STATED.finditer(text):
        line, newline, _ = text[match.end() :].partition("\n")
        if line.strip() and (newline or not truncated):
            found.append(Statement(match.start(), line.strip()))
    return found


def _boxes(text: str) -> list[Statement]:
    found = []
    for match in _BOXED.finditer(text):
        content = _braced(text, match.end())
        if content is not None and content.strip():
            found.append(Statement(match.end(), content.strip()))
    return found


def unboxed(text: str) -> str:
    """`\\boxed{x}` and text around it -> `x`; a text without a closed box is unchanged."""
    boxes = _boxes(text)
    return boxes[0].text if boxes else text


def _braced(text: str, start: int) -> str | None:
    """What stands between a brace that opened just before `start` and its partner."""
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position]
    return None
