"""Shadows compared with what they are shadows of: agreement, cost, and time, in pairs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import Answer, as_typed
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.names import SHADOW_PREFIX
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, NotFoundError
from orchestrator.evaluation.statistics import Estimate, bootstrap_mean
from orchestrator.ports.jobs import QueryRecord
from orchestrator.ports.shadows import ShadowReader
from orchestrator.ports.skills import Grader

MOST_PAIRS = 1000
"""The latest ones, which a report is made of."""


class ShadowReport(NamedTuple):
    """Comparison of live answers with their shadows.

    Attributes:
        n: pairs; `n_unread`: those in which neither answer can be read, which agree in nothing.
        agreement: share of the others that say the same, with its 95 % interval; None = there are none.
        n_failed: shadows without an answer; they are in no pair.
        cost_usd, shadow_cost_usd, seconds, shadow_seconds: means of a question; seconds are those of the
            engines' calls, one after the other.
        more_usd, more_seconds: what a live answer needs more than its shadow, with its interval.
    """

    n: int
    n_unread: int
    n_failed: int
    agreement: Estimate | None
    cost_usd: float
    shadow_cost_usd: float
    seconds: float
    shadow_seconds: float
    more_usd: Estimate | None
    more_seconds: Estimate | None


class Pair(NamedTuple):
    """A question with its live answer and its shadow, and the seconds of their calls."""

    query: Query
    live: Answer
    shadow: Answer
    seconds: float
    shadow_seconds: float


class ShadowComparison:
    """Reads pairs from the books and compares them.

    Args:
        grader: reads and compares answers, as votes do.
    """

    def __init__(self, reader: ShadowReader, grader: Grader) -> None:
        self._reader = reader
        self._grader = grader

    def report(self) -> ShadowReport:
        """The report on the latest `MOST_PAIRS`."""
        pairs = list(self._pairs())
        whole = [pair for pair in pairs if pair.shadow.error_code is None]
        said = [self._agree(pair) for pair in whole]
        return made_report(whole, said, n_failed=len(pairs) - len(whole))

    def _pairs(self) -> Iterator[Pair]:
        for shadow_id in self._reader.ended_shadows(limit=MOST_PAIRS):
            try:
                shadow = self._reader.query_record(shadow_id, None)
                live = self._reader.query_record(shadow_id.removeprefix(SHADOW_PREFIX), None)
            except (NotFoundError, InputError):
                continue  # one of them was deleted meanwhile
            if live.answer is not None and shadow.answer is not None:
                query = as_typed(live.query, live.answer.decision)
                yield Pair(query, live.answer, shadow.answer, _seconds(live), _seconds(shadow))

    def _agree(self, pair: Pair) -> bool | None:
        """Whether both say the same; None = neither can be read."""
        one, other = self._value(pair.query, pair.live), self._value(pair.query, pair.shadow)
        if one is None and other is None:
            return None
        return one is not None and other is not None and self._grader.equivalent(pair.query, one, other)

    def _value(self, query: Query, answer: Answer) -> str | None:
        if answer.value is not None:
            return answer.value
        said = Response(expert_id="", role=CallRole.EXPERT, stage=0, text=answer.text)
        return self._grader.read(query, said)


def made_report(pairs: Sequence[Pair], said: Sequence[bool | None], *, n_failed: int) -> ShadowReport:
    """Report on pairs of a live answer and its shadow: how often they agree, what each cost; in means.

    Args:
        said: whether each pair agrees; None = it cannot be read.
    """
    read = [float(agrees) for agrees in said if agrees is not None]
    usd = [(pair.live.usage.cost_usd, pair.shadow.usage.cost_usd) for pair in pairs]
    seconds = [(pair.seconds, pair.shadow_seconds) for pair in pairs]
    return ShadowReport(
        n=len(pairs),
        n_unread=len(said) - len(read),
        n_failed=n_failed,
        agreement=bootstrap_mean(read) if read else None,
        cost_usd=_mean([one for one, _ in usd]),
        shadow_cost_usd=_mean([other for _, other in usd]),
        seconds=_mean([one for one, _ in seconds]),
        shadow_seconds=_mean([other for _, other in seconds]),
        more_usd=bootstrap_mean([one - other for one, other in usd]) if usd else None,
        more_seconds=bootstrap_mean([one - other for one, other in seconds]) if seconds else None,
    )


def _seconds(record: QueryRecord) -> float:
    return sum(response.latency_ms for response in record.responses) / 1000


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
