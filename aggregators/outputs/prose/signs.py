"""Signs of a text that answers an open question: what can be counted in it, whoever wrote it.

Nothing here knows what is true. All take time linear in the text.
"""

import math
from typing import NamedTuple

from aggregators.outputs.verifying import texts

_ENDS = frozenset(".!?…:;\"'”’»)]}`*|>。！？」』）")
"""What the last character of a finished text may be."""

_DECLINES = (
    "as an ai", "as a language model", "i am sorry", "i m sorry", "i apologize", "i apologise", "i am unable",
    "i m unable", "i am not able", "i m not able", "i cannot", "i can t", "i don t have", "i do not have",
)  # fmt: skip
"""Phrases that decline, in words joined by single spaces."""

_OPENING_WORDS = 60
"""Words at the beginning, where a refusal stands."""

_TELLING_CHARS = 4
"""Shortest word of a question that an answer may take up."""


class Signs(NamedTuple):
    """Nine signs of a text; a tenth, its length among those of its expert, is added where that is known.

    Attributes:
        length: ln(1 + characters).
        finished: 1 if it ends like a sentence, a list or a block of code, else 0.
        n_paragraphs: ln(1 + blocks between blank lines).
        has_headings: 1 if a line is a heading, else 0.
        declines: 1 if its beginning declines, or tells that a machine speaks, else 0; English phrases only.
        overlap: share of the question's longer words that it takes up, in [0, 1].
        repeats: share of runs of four words that occurred before, in [0, 1).
        digits: share of digits among its characters, in [0, 1].
        word_length: mean characters of its words.
    """

    length: float
    finished: float
    n_paragraphs: float
    has_headings: float
    declines: float
    overlap: float
    repeats: float
    digits: float
    word_length: float


def read_signs(question: str, text: str) -> Signs:
    """Signs of a text without its thinking; an empty one has zeros.

    Blanks before and after it count in `length` only: a recorded text may stand for a longer one.
    """
    said = text.strip()
    tokens = texts.words(said)
    telling = {word for word in texts.words(question) if len(word) >= _TELLING_CHARS}
    return Signs(
        length=math.log1p(len(text)),
        finished=float(said[-1:] in _ENDS if said else False),
        n_paragraphs=math.log1p(_n_paragraphs(said)),
        has_headings=float(any(map(_is_heading, said.splitlines()))),
        declines=_declines(tokens),
        overlap=len(telling.intersection(tokens)) / len(telling) if telling else 0.0,
        repeats=texts.loop_share(tokens),
        digits=sum(map(said.count, "0123456789")) / max(len(said), 1),
        word_length=sum(map(len, tokens)) / max(len(tokens), 1),
    )


def _n_paragraphs(text: str) -> int:
    lines = [bool(line.strip()) for line in text.splitlines()]
    return sum(here and not before for before, here in zip([False, *lines], lines, strict=False))


def _is_heading(line: str) -> bool:
    """`## Steps`, `**Steps**` or `**Steps:**` alone on its line."""
    bare = line.strip().rstrip(":")
    return bare.startswith(("# ", "## ", "### ", "#### ")) or (
        len(bare) > 4 and bare.startswith("**") and bare.endswith("**") and bare.count("**") == 2
    )


def _declines(tokens: list[str]) -> float:
    opening = f" {' '.join(tokens[:_OPENING_WORDS])} "
    return float(any(f" {phrase} " in opening for phrase in _DECLINES))
