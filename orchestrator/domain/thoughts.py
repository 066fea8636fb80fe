"""Thoughts that a server leaves in a response's text, by the marks around them.

Engines that tell thoughts apart leave none; what counts as an answer's final part, `skills.grading` knows.
"""

import re

OPENING = ("<think>", "<thinking>", "<seed:think>", "◁think▷", "<|start_thinking|>", "[THINK]")
CLOSING = ("</think>", "</thinking>", "</seed:think>", "◁/think▷", "<|end_thinking|>", "[/THINK]")
"""Any of them ends a thought, whichever began it. Those in brackets are in capitals only: `[think]` may be an
insertion."""


def _pattern(marks: tuple[str, ...]) -> str:
    *tags, bracket = map(re.escape, marks)
    return rf"(?i:{'|'.join(tags)})|{bracket}"


OPENS = re.compile(_pattern(OPENING))
CLOSES = re.compile(_pattern(CLOSING))
_THOUGHT = re.compile(rf"(?:{OPENS.pattern}).*?(?:{CLOSES.pattern}|\Z)", re.DOTALL)


def without_thoughts(text: str) -> str:
    """The text without blocks of thoughts; one that is never closed runs to the end."""
    return _THOUGHT.sub("", text)


def begun_mark(text: str, *, closing: bool) -> str:
    """The end of an unfinished text that may become a mark; "" where none may."""
    marks = CLOSING if closing else OPENING
    longest = max(map(len, marks)) - 1
    for size in range(min(longest, len(text)), 0, -1):
        end = text[-size:]
        if any(mark.startswith(end if mark[0] == "[" else end.lower()) for mark in marks):
            return end
    return ""
