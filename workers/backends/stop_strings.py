"""Stop strings: where an output ends because of its text."""

from collections.abc import Sequence
from typing import NamedTuple

REPLACEMENT = "\ufffd"
MOST_UNFINISHED = 3
"""Bytes of a character that is not whole yet, each of which a decoder may show as one REPLACEMENT."""


class Cut(NamedTuple):
    text: str
    stopped: bool


def cut_at_stop(text: str, stop: Sequence[str]) -> Cut:
    """`text` up to the earliest of the stop strings."""
    places = [at for at in (text.find(word) for word in stop if word) if at >= 0]
    return Cut(text[: min(places)], True) if places else Cut(text, False)


def held_back(text: str, stop: Sequence[str]) -> str:
    """The part of an unfinished text that later tokens cannot take back: whole characters, and
    nothing that may grow into a stop string."""
    margin = max((len(word) for word in stop), default=1) - 1
    kept = text[: max(0, len(text) - margin)]
    whole = kept[-MOST_UNFINISHED:].rstrip(REPLACEMENT)
    return kept[: len(kept) - len(kept[-MOST_UNFINISHED:])] + whole
