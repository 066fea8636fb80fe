"""Replies of a judge, read as scores in [0, 1]; and how far a judge can be trusted.

A reply that cannot be read gives no score. Nothing is guessed.
"""

import bisect
import itertools
import math
import re
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.assignments import Response
from orchestrator.domain.grades import log_length
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.domain.queries import Query
from orchestrator.prompts.grading import BEST_GRADE
from skills.grading.thinking import without_thinking

ALIKE = 1 / BEST_GRADE + 1e-9
"""Largest difference of two readings of one response that still agree: one grade."""

NEAR_EQUAL = 0.95
"""Share of pairs of neighbouring words in common from which on two texts are near equal."""

_ASIDE = r"(?:\s?\([^()\n]{1,200}\))?"
"""A remark in brackets, such as the scale or the check once more."""
_GRADE = re.compile(
    rf"\bgrade{_ASIDE}\W{{1,9}}(?:is\W{{1,5}})?(\d(?:\.\d)?)"
    r"(?!\d|[.,]\d|\s?/\s?1| out of 1|\s?(?:[-–—]|to|or)\s?\d)",
    re.IGNORECASE,
)
_CHECK = re.compile(rf"\bcheck\s?(\d{{1,2}}){_ASIDE}\W{{1,9}}(yes|no|pass|fail)\b(?! or\b)", re.IGNORECASE)
_LISTED = re.compile(
    r"^[^\w\n]{0,9}(\d{1,2})[^\w\n]{1,9}(yes|no|pass|fail)(?=[^\w\n]{0,9}$)", re.IGNORECASE | re.MULTILINE
)
"""A check by its number alone; nothing may follow, or a sentence of the evidence would be one."""
_BETTER = re.compile(
    r"\bbetter\W{1,9}(?:is\W{1,5})?(?:candidate\s)?(1|2|tie|neither|both|equal)\b(?! (?:or|and)\b)",
    re.IGNORECASE,
)
_EVEN = frozenset({"tie", "neither", "both", "equal"})
_DIGITS = {str(n): float(n) for n in range(BEST_GRADE + 1)}
_YES_NO = {"yes": 1.0, "pass": 1.0, "no": 0.0, "fail": 0.0}
_WORD = re.compile(r"\w+")


def score_of(query: Query, replies: Sequence[Response]) -> float | None:
    """The score that a judge's replies give `query.candidates[0]`; None = they cannot be read.

    Args:
        replies: to the calls of `compositions.grading.grading_calls`, in any order.
    """
    by_place = {reply.sample_ix: reply for reply in replies if not reply.failed}
    if len(query.candidates) == 2:
        return preference(*(by_place.get(place) for place in (0, 1)))
    reply = by_place.get(0)
    if reply is None:
        return None
    return passed(reply, len(query.rubric)) if query.rubric else graded(reply)


def graded(reply: Response) -> float | None:
    """The last grade of a reply, divided by 9: the expectation over the grades' probabilities where the
    engine told them; None = there is none, or it is off the scale.

    `Grade: 7` -> .778; where 7 has probability .6 and 8 has .2, 7.25 / 9 = .806.
    """
    found = _last(_GRADE, without_thinking(reply.text))
    if found is None or float(found[1]) > BEST_GRADE:
        return None
    spoken = _spoken(reply.logprobs)
    told = _last(_GRADE, spoken.text)
    expected = None
    if told is not None and told[1] == found[1]:
        expected = spoken.worth(told.start(1), told[1], _DIGITS)
    return (float(found[1]) if expected is None else expected) / BEST_GRADE


def passed(reply: Response, n_checks: int) -> float | None:
    """Share of the checks that a reply passes, by the probability of each yes where the engine told it;
    None unless it decides each of them, 1 to `n_checks`.
    """
    text = without_thinking(reply.text) or ""
    decided = {int(m[1]): _YES_NO[m[2].lower()] for m in _checks(text)}
    spoken = _spoken(reply.logprobs)
    for m in _checks(spoken.text):
        number, expected = int(m[1]), spoken.worth(m.start(2), m[2], _YES_NO)
        if expected is not None and decided.get(number) == _YES_NO[m[2].lower()]:
            decided[number] = expected
    wanted = range(1, n_checks + 1)
    if any(number not in decided for number in wanted):
        return None
    return math.fsum(decided[number] for number in wanted) / n_checks


def _checks(text: str) -> list[re.Match[str]]:
    """Decisions of checks in the order in which they stand; the last one of each counts."""
    found = [*_CHECK.finditer(text), *_LISTED.finditer(text)]
    return sorted(found, key=lambda match: match.start())


def preference(first: Response | None, second: Response | None) -> float | None:
    """1 = the candidate beat the anchor in both orders, 0 = it lost in both, else 0.5; None = an order cannot
    be read.

    Args:
        first, second: the replies where the candidate was shown first, and second.
    """
    sides = (_better(first, own="1"), _better(second, own="2"))
    if sides[0] is None or sides[1] is None:
        return None
    return sides[0] if sides[0] == sides[1] else 0.5


def _better(reply: Response | None, *, own: str) -> float | None:
    found = None if reply is None else _last(_BETTER, without_thinking(reply.text))
    if found is None:
        return None
    said = found[1].lower()
    return 0.5 if said in _EVEN else float(said == own)


def agreed(first: Response | None, second: Response | None) -> bool | None:
    """True if both orders of a pair say the same; None = one of them cannot be read."""
    sides = (_better(first, own="1"), _better(second, own="2"))
    return None if None in sides else sides[0] == sides[1]


def near_equal(a: str, b: str) -> bool:
    """True if two texts say the same in nearly the same words: at least 95 % of the pairs of neighbouring
    words in common (Dice), whatever their case and punctuation."""
    words = [_WORD.findall(text.lower()) for text in (a, b)]
    if words[0] == words[1]:
        return bool(words[0]) or a.strip() == b.strip()
    left, right = (set(itertools.pairwise(w)) for w in words)
    return bool(left and right) and 2 * len(left & right) / (len(left) + len(right)) >= NEAR_EQUAL


def _last(pattern: re.Pattern[str], text: str | None) -> re.Match[str] | None:
    last = deque(pattern.finditer(text or ""), maxlen=1)
    return last[0] if last else None


class _Spoken(NamedTuple):
    """A text by its tokens, and where each ends."""

    text: str
    tokens: Sequence[TokenLogprobs]
    ends: Sequence[int]

    def worth(self, place: int, said: str, worth: Mapping[str, float]) -> float | None:
        """Mean worth of what could have stood at a place, by its probabilities; None where the token there is
        more, or less, than what was said."""
        at = bisect.bisect_right(self.ends, place)
        chosen, top = self.tokens[at]
        if chosen.token.strip().lower() != said.lower():
            return None
        weights = {c.token.strip().lower(): math.exp(c.logprob) for c in (*top, chosen)}
        known = {name: weight for name, weight in weights.items() if name in worth}
        total = math.fsum(known.values())
        return math.fsum(worth[n] * w for n, w in known.items()) / total if total else None


def _spoken(tokens: Sequence[TokenLogprobs]) -> _Spoken:
    words = [token.chosen.token for token in tokens]
    return _Spoken("".join(words), tokens, list(itertools.accumulate(map(len, words))))


# ── trust ────────────────────────────────────────────────────────────────────────────────────────


class SelfAgreement(NamedTuple):
    """Two readings of the same responses, the second in the other order.

    Attributes:
        n: responses that could be read twice.
        agreement: share whose readings differ by one grade at most.
        difference: mean absolute difference of the two scores, in [0, 1].
    """

    n: int
    agreement: float
    difference: float


def self_agreement(first: Mapping[str, float], second: Mapping[str, float]) -> SelfAgreement:
    """Agreement of a judge with itself on what it scored twice; n = 0 where there is nothing.

    Args:
        first, second: scores in [0, 1] by the hash of what was asked; what only one has counts nowhere.
    """
    both = sorted(first.keys() & second.keys())
    gaps = [abs(first[key] - second[key]) for key in both]
    if not gaps:
        return SelfAgreement(0, 0.0, 0.0)
    n = len(gaps)
    return SelfAgreement(n, sum(gap <= ALIKE for gap in gaps) / n, math.fsum(gaps) / n)


class LengthPoint(NamedTuple):
    """A response to a question, by its hash, with its score in [0, 1]."""

    question: str
    n_chars: int
    score: float


def length_slope(points: Sequence[LengthPoint], *, at_least: int = 1) -> float | None:
    """Points of score, in [0, 1], that a response gains by being twice as long as another to its question.

    Least squares of score on ln(1 + characters), both centred per question. Scores .4 and .6 of 99 and 199
    characters: +.2 per doubling (ln 200 / 100 = ln 2).

    Args:
        at_least: questions with responses of different lengths, below which the result is None.
    """
    by_question: dict[str, list[LengthPoint]] = defaultdict(list)
    for point in points:
        by_question[point.question].append(point)
    xx = xy = 0.0
    n_compared = 0
    for of_one in by_question.values():
        logs, scores = [log_length(p.n_chars) for p in of_one], [p.score for p in of_one]
        mean_log, mean_score = _mean(logs), _mean(scores)
        xx += math.fsum((x - mean_log) ** 2 for x in logs)
        n_compared += max(logs) > min(logs)
        xy += math.fsum((x - mean_log) * (y - mean_score) for x, y in zip(logs, scores, strict=True))
    return xy / xx * math.log(2) if xx > 1e-9 and n_compared >= at_least else None


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
