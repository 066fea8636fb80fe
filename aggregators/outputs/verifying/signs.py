"""Signs of quality in a text: its form, whether its answer follows from its reasoning, its hedging.

Nothing here knows which answer is right, who wrote the text, or how long or where an option is: such
test-taking cues help on one exam and do not transfer (docs/decisions/0015). `cues` has them, for ablations.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from aggregators.outputs.verifying import texts
from orchestrator.domain.queries import LETTERS, AnswerType, Query

MISSING = math.nan

MOST_CHARS = 4000
"""Of a text that are read: its end, where answers are derived and stated. Its length is that of all of it."""

_END_WORDS = 30
_MOST_LETTERS_OF_A_NUMBER = 12
_NUMERIC_SHARE = 0.6
_COMMON_WORDS = frozenset(
    texts.words(
        "the a an of to in is are was were and or that this it for on by with as at be from which not can"
        " will its if we has have than"
    )
)


class Form(NamedTuple):
    """Lengths are log(1 + characters); `finished`: ends like a sentence; shares are in [0, 1]."""

    length: float
    reasoning_length: float
    n_statements: float
    finished: float
    loop_share: float
    digit_share: float
    question_share: float


class Consistency(NamedTuple):
    """True if the stated answer is what the reasoning arrives at.

    By words: `named` 1 if the answer's text occurs in the reasoning, `last_named` 1 if it is the last option
    that does; `own` the share of the words that only it has among the options, `own_at_end` the same near
    the statement, `*_lead` by how much these exceed the best other option's. By letter: other options
    named, and whether the last one named is another. By number: whether the last number is the answer's, or
    nearest to it, how far it is, whether it is another option's; whether the answer's number occurs at all,
    how many others' do, log(1 + numbers).
    """

    named: float = MISSING
    n_others_named: float = MISSING
    last_named: float = MISSING
    own: float = MISSING
    own_lead: float = MISSING
    own_at_end: float = MISSING
    own_at_end_lead: float = MISSING
    n_other_letters: float = MISSING
    ends_on_other_letter: float = MISSING
    last_number: float = MISSING
    last_number_nearest: float = MISSING
    last_number_distance: float = MISSING
    last_number_others: float = MISSING
    number_occurs: float = MISSING
    n_other_numbers: float = MISSING
    n_numbers: float = MISSING


class Hedging(NamedTuple):
    """Counts in the reasoning: what rules out an option, softens, or says that nothing fits."""

    n_eliminated: float
    n_hedges: float
    n_surrenders: float


class Signs(NamedTuple):
    """All signs of one response; `MISSING` (NaN) where there is nothing to say."""

    form: Form
    consistency: Consistency
    hedging: Hedging


class Candidates(NamedTuple):
    """The answers that a response may have stated, prepared for comparison; C of them.

    Attributes:
        texts: words joined by single spaces, [C].
        own_words: words that no other candidate has, [C].
        values: the number that each one is, [C]; None = it is not one.
        question_words: those of the question that are not common.
        lettered: whether the query has options.
    """

    texts: tuple[str, ...]
    own_words: tuple[frozenset[str], ...]
    values: tuple[float | None, ...]
    question_words: frozenset[str]
    lettered: bool

    @property
    def numeric(self) -> bool:
        """True if at least 60 % of them are numbers, so that they are compared as such."""
        return sum(v is not None for v in self.values) >= _NUMERIC_SHARE * len(self.values)


def candidates(query: Query, value: str) -> Candidates:
    """The options of a choice; of an open question, the value alone."""
    said = query.options if query.answer_type is AnswerType.CHOICE else (value,)
    word_sets = [frozenset(texts.words(text)) - _COMMON_WORDS for text in said]
    occurrences = Counter(word for words in word_sets for word in words)
    return Candidates(
        texts=tuple(" ".join(texts.words(text)) for text in said),
        own_words=tuple(frozenset(w for w in words if occurrences[w] == 1) for words in word_sets),
        values=tuple(_as_number(text) for text in said),
        question_words=frozenset(texts.words(query.question)) - _COMMON_WORDS,
        lettered=bool(query.options),
    )


def chosen(query: Query, value: str) -> int:
    """Place of a canonical answer among the candidates."""
    return LETTERS.index(value) if query.answer_type is AnswerType.CHOICE else 0


def read_signs(given: Candidates, choice: int, text: str) -> Signs:
    """Signs of one response, of which the last 4,000 characters are read.

    Args:
        choice: place of the stated answer in `given`.
        text: the whole response.
    """
    text = text.strip()
    end = text[-MOST_CHARS:]
    reasoning, n_statements = texts.split_at_statement(end)
    tokens = texts.words(reasoning)
    form = Form(
        length=math.log1p(len(text)),
        reasoning_length=math.log1p(len(text) - len(end) + len(reasoning)),
        n_statements=n_statements,
        finished=float(end[-1:] in (".", ")", "!", "}", "]", "$")),
        loop_share=texts.loop_share(tokens),
        digit_share=sum(map(end.count, "0123456789")) / max(len(end), 1),
        question_share=_share(given.question_words, frozenset(tokens)),
    )
    joined = " ".join(tokens)
    hedging = Hedging(texts.n_eliminated(joined), texts.n_hedges(tokens), texts.n_surrenders(joined))
    return Signs(form, _consistency(given, choice, reasoning, tokens), hedging)


def cues(query: Query, value: str) -> tuple[float, ...]:
    """Test-taking cues, for ablations only: length of the chosen option, also relative to the mean; its
    place; length of the question; number of options."""
    if not query.options:
        return (MISSING, MISSING, MISSING, float(len(query.question)), 0.0)
    place = chosen(query, value)
    length = len(query.options[place])
    mean = sum(map(len, query.options)) / len(query.options)
    return (float(length), length / mean, float(place), float(len(query.question)), float(len(query.options)))


def _consistency(given: Candidates, choice: int, reasoning: str, tokens: Sequence[str]) -> Consistency:
    named, last_named = _naming(given, choice, " ".join(tokens))
    own = [_share(words, frozenset(tokens)) for words in given.own_words]
    at_end = [_share(words, frozenset(tokens[-_END_WORDS:])) for words in given.own_words]
    lettered = _by_letter(choice, reasoning) if given.lettered else (MISSING, MISSING)
    others_named = len(named - {choice})
    return Consistency(
        MISSING if given.numeric else float(choice in named),
        MISSING if given.numeric else float(others_named),
        last_named,
        own[choice],
        _lead(own, choice),
        at_end[choice],
        _lead(at_end, choice),
        *lettered,
        *_by_number(given, choice, texts.numbers(reasoning)),
    )


def _naming(given: Candidates, choice: int, reasoning: str) -> tuple[set[int], float]:
    """Candidates whose text occurs, and whether the chosen one ends last (MISSING: none occurs).

    Numbers are compared as numbers instead: "5" occurs in "152".
    """
    ends: dict[int, tuple[int, int]] = {}
    for place, text in enumerate(given.texts if not given.numeric else ()):
        start = reasoning.rfind(text) if len(text) > 1 else -1
        if start >= 0:
            ends[place] = (start + len(text), len(text))
    if not ends:
        return set(), MISSING
    return set(ends), float(max(ends, key=lambda place: ends[place]) == choice)


def _by_letter(choice: int, reasoning: str) -> tuple[float, float]:
    named = texts.letters(reasoning)
    others = {letter for letter in named if letter != LETTERS[choice]}
    return float(len(others)), float(bool(named) and named[-1] != LETTERS[choice])


def _by_number(given: Candidates, choice: int, found: Sequence[float]) -> tuple[float, ...]:
    """The last seven fields of `Consistency`."""
    count = math.log1p(len(found))
    value = given.values[choice]
    if not given.numeric or value is None:
        return (*(MISSING,) * 6, count)
    if not found:
        return (*(MISSING,) * 4, 0.0, 0.0, count)
    values = [v for v in given.values if v is not None]
    away = [texts.distance(v, found[-1]) for v in values]
    ordered = sorted(found)
    hits = {v for v in values if texts.occurs(v, ordered)}
    of_last = texts.distance(value, found[-1])
    last = texts.matches(value, found[-1])
    others_last = not last and any(texts.occurs(v, found[-1:]) for v in values)
    return (
        float(last),
        float(of_last <= min(away)),
        of_last,
        float(others_last),
        float(value in hits),
        float(len(hits - {value})),
        count,
    )


def _as_number(text: str) -> float | None:
    """The first number of a text that is mostly one, such as `12.5 m/s` or `$3,000`."""
    found = texts.numbers(text)
    n_letters = sum(map(str.isalpha, text))
    return found[0] if found and n_letters <= max(_MOST_LETTERS_OF_A_NUMBER, len(text) / 2) else None


def _share(wanted: frozenset[str], among: frozenset[str]) -> float:
    return len(wanted & among) / len(wanted) if wanted else MISSING


def _lead(shares: Sequence[float], choice: int) -> float:
    others = [share for place, share in enumerate(shares) if place != choice and not math.isnan(share)]
    return shares[choice] - max(others) if others else MISSING
