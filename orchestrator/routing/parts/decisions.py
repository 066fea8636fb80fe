"""From a router's verdict to a decision that states its reasons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import Decision, Recruit, SkillEvidence
from orchestrator.domain.skills import SkillTag

NO_KNOWN_SKILL = "no known skill: global prior used"
NOT_PROFILED = "not profiled: accuracy {accuracy:.2g} assumed"
BY_CHANCE = "drawn at random: another seed may recruit it"


ByRow = Sequence[float] | Mapping[int, float]
"""A number for each row of the pool, or for each row that is a pick or the runner-up."""


class Verdict(NamedTuple):
    """Conclusion of a router for one query; experts are named by their row in the pool.

    Attributes:
        picks: recruited rows, best first; may repeat.
        runner_up: best row left out.
        shares: unnormalised weight by row, >= 0, not all 0 over `picks`.
        scores: what the router ranked by, by row.
        accuracy: estimated probability of being right on this query, by row.
        evidence: reasons for one row.
    """

    picks: Sequence[int]
    runner_up: int | None
    shares: ByRow
    scores: ByRow
    accuracy: ByRow
    evidence: Callable[[int], tuple[SkillEvidence, ...]]
    skills: tuple[SkillTag, ...] = ()
    would_change: str | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()


class DecisionWriter:
    """Writes a router's decisions.

    Args:
        profiled: per row, whether the expert was measured.
        n_first: picks that are recruited, the rest are reserves; None = all are recruited.
    """

    def __init__(
        self,
        router: str,
        expert_ids: Sequence[str],
        profiled: Sequence[bool],
        card_version: str,
        *,
        n_first: int | None = None,
    ) -> None:
        self._router = router
        self._expert_ids = expert_ids
        self._profiled = profiled
        self._card_version = card_version
        self._n_first = n_first

    def write_all(self, verdicts: Iterable[Verdict]) -> list[Decision]:
        """Decisions in the order of the verdicts."""
        return [self.write(verdict) for verdict in verdicts]

    def write(self, verdict: Verdict) -> Decision:
        """The decision that a verdict comes to: shares become weights, which sum to 1 over the recruits."""
        n_first = self._n_first or len(verdict.picks)
        total = sum(verdict.shares[row] for row in verdict.picks[:n_first])
        recruits = {row: self._recruit(verdict, row, verdict.shares[row] / total) for row in verdict.picks}
        runner_up = None if verdict.runner_up is None else self._recruit(verdict, verdict.runner_up, 0.0)
        return Decision(
            router=self._router,
            recruits=tuple([recruits[row] for row in verdict.picks[:n_first]]),
            reserves=tuple([recruits[row] for row in verdict.picks[n_first:]]),
            skills=verdict.skills,
            runner_up=runner_up,
            would_change=None if runner_up is None else verdict.would_change,
            card_version=self._card_version,
            seed=verdict.seed,
            notes=verdict.notes,
        )

    def _recruit(self, verdict: Verdict, row: int, weight: float) -> Recruit:
        return Recruit(
            expert_id=self._expert_ids[row],
            weight=weight,
            score=verdict.scores[row],
            accuracy=verdict.accuracy[row],
            evidence=verdict.evidence(row),
            note=None if self._profiled[row] else NOT_PROFILED.format(accuracy=verdict.accuracy[row]),
        )


def clamp(k: int, n_experts: int) -> tuple[int, tuple[str, ...]]:
    """k, at most the size of the pool, and the note that says so."""
    if k <= n_experts:
        return k, ()
    return n_experts, (f"k={k} reduced to the {n_experts} experts of the pool",)


def accuracy_needed(gap: float, what: str) -> str:
    """The sentence for a runner-up that lost by `gap` in accuracy."""
    if gap <= 0:
        return f"equal score: any gain on {what} would recruit it (ties go by pool order)"
    return f"needs >= {gap:.2f} more on {what}" if gap >= 0.005 else f"needs < 0.01 more on {what}"
