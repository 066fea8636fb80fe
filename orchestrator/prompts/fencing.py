"""Fences: marks around texts of others that nobody can guess.

A fence is drawn when a call is made and stored with its messages: a retry reads what the first attempt read,
and no expert, who answered before it was drawn, can have written it.
"""

import re
import secrets

N_BYTES = 8
_FIRST_MARK = re.compile(r"\[candidate 1 ([0-9a-f]{16})\]")


def draw_fence() -> str:
    """A word that nobody knew before."""
    return secrets.token_hex(N_BYTES)


def without_fence(text: str) -> str:
    """A prompt as it reads whatever its fence is: for what must be the same in every run."""
    mark = _FIRST_MARK.search(text)
    return text if mark is None else text.replace(mark[1], "0" * len(mark[1]))
