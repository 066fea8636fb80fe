"""Questions whose text ends in lettered options, as people paste them into a chat."""

import re
from typing import NamedTuple

MOST_AFTER = 200
"""Characters that may follow the options: "Answer with the letter only."."""
LEAST, MOST = 2, 26

_OPTION = re.compile(r"\A(?:\(([A-Z])\)|([A-Z])[).:])[ \t]+(\S[^\n]*)")


class Lettered(NamedTuple):
    """A question apart from its options. What stood after them stands at its end."""

    question: str
    options: tuple[str, ...]


def lettered(text: str) -> Lettered | None:
    """`Which?\\nA) red\\nB. blue` -> `Which?` with red and blue; None where no lines A, B, … end the text.

    The options must be different, follow one another without other lines than blank ones, and begin with A.
    """
    lines = text.split("\n")
    matches = [_OPTION.fullmatch(line.strip()) for line in lines]
    start = next((i for i, match in enumerate(matches) if match and (match[1] or match[2]) == "A"), None)
    if start is None:
        return None
    options: list[str] = []
    at = start
    while at < len(lines):
        match = matches[at]
        if match is None and lines[at].strip():
            break
        if match is not None:
            if (match[1] or match[2]) != chr(ord("A") + len(options)):
                return None
            options.append(match[3].strip())
        at += 1
    before, after = "\n".join(lines[:start]).strip(), "\n".join(lines[at:]).strip()
    if not before or len(after) > MOST_AFTER or not LEAST <= len(options) <= MOST:
        return None
    if len(set(options)) < len(options):
        return None
    return Lettered(f"{before}\n{after}" if after else before, tuple(options))
