"""Profiling: the pool measured on labelled questions, and what compositions learn from it."""

import logging
from collections.abc import Callable, Collection, Sequence

from orchestrator.compositions.knowledge import Knowledge
from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from orchestrator.ports.cards import CardStore
from orchestrator.ports.profiling import PoolProfiler, ProfileReport, Scoring
from orchestrator.services.experts import Experts
from orchestrator.services.jobs import OnProgress

log = logging.getLogger(__name__)


class Profiling:
    """Measures the pool and reads what was measured.

    Args:
        profiler: one whose skills are named by these texts.
        keep: embeds texts so that later processes need not.
        on_changed: called when the pool was measured anew.
        paused: ids of experts that are asked nothing at present.
    """

    def __init__(
        self,
        *,
        profiler: Callable[[Sequence[str]], PoolProfiler],
        keep: Callable[[Sequence[str]], None],
        cards: CardStore,
        experts: Experts,
        on_changed: Callable[[], None],
        paused: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._paused = paused
        self._profiler = profiler
        self._keep = keep
        self._cards = cards
        self._experts = experts
        self._on_changed = on_changed

    def run(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str] | None = None,
        exam: bool = True,
        scoring: Scoring | None = None,
        on_progress: OnProgress | None = None,
    ) -> ProfileReport:
        """Measure experts on labelled questions; what is known already is not asked again.

        Args:
            experts: ids; None = everybody who is not paused.
            exam: also measure who aggregates well.
            scoring: of answers to open questions; None = scores of the newest cards' source hold.

        Raises:
            SkillError: questions that cannot be graded, scores that cannot be had, somebody named who is
                paused, or everybody is.
            UnknownNameError: an expert that is not in the pool.
        """
        experts = self._present(experts)
        texts = [query.text for query in queries]
        self._keep(texts)
        report = self._profiler(texts).run(
            queries, experts=experts, exam=exam, scoring=scoring, on_progress=on_progress
        )
        self._on_changed()
        return report

    def outcomes(
        self,
        queries: Sequence[Query],
        *,
        experts: Sequence[str],
        on_progress: OnProgress | None = None,
    ) -> dict[str, list[int]]:
        """Outcomes of experts on questions that no card is counted from; what is known is not asked again.

        Returns:
            By expert one of RIGHT, WRONG, ABSTAINED, UNKNOWN for each question, in order.

        Raises:
            SkillError: questions that cannot be graded, or one of the experts is paused.
            UnknownNameError: an expert that is not in the pool.
        """
        self._present(experts)
        return self._profiler(()).outcomes(queries, experts=experts, on_progress=on_progress)

    def _present(self, experts: Sequence[str] | None) -> Sequence[str] | None:
        """Whom to measure: a job would wait, for as long as it takes, for who is paused."""
        wanted = [expert.id for expert in self._experts.pool.experts] if experts is None else experts
        paused = self._paused()
        away = [expert_id for expert_id in wanted if expert_id in paused]
        if not away:
            return experts
        if experts is None and len(away) < len(wanted):
            log.warning("not measured, as they are paused: %s", ", ".join(away))
            return [expert_id for expert_id in wanted if expert_id not in away]
        raise SkillError(
            f"expert '{away[0]}' is paused, and cannot be measured.",
            remedy=f"Resume it first: POST /v1/experts/{away[0]}/resume.",
        )

    def score_texts(
        self, pairs: Sequence[tuple[Query, str]], judge: str, *, on_progress: OnProgress | None = None
    ) -> list[float | None]:
        """Scores of any answers to open questions by a judge of the pool, in order; None = not readable. No
        card is counted from them.

        Raises:
            UnknownNameError: nobody of the pool.
            SkillError: not a judge, or one that gave no score at all.
        """
        return self._profiler(()).score_texts(pairs, judge, on_progress=on_progress)

    def knowledge(self) -> Knowledge:
        """Cards of the moment; outcomes only where the cards were counted from them."""
        cards = self._experts.cards()
        newest = self._cards.latest_profile_hash()
        if newest is None or any(card.profile_hash != newest for card in self._cards.cards().values()):
            return Knowledge(cards, None)
        self._keep([query.text for query in self.questions()])
        return Knowledge(cards, self._profiler(()).profile())

    def questions(self) -> list[Query]:
        """Questions of the newest profile; none before the first."""
        newest = self._cards.latest_profile_hash()
        rows = None if newest is None else self._cards.profile_set(newest)
        return [query for query, _ in rows or ()]
