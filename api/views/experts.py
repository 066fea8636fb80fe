"""Experts, their engines, cards and drifts as they are shown."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from api.schemas.experts import (
    CardView,
    DriftView,
    EngineView,
    ExpertView,
    HistoryView,
    LineageView,
    MeasurementView,
    PauseView,
    TallyView,
)
from api.views.experts_grades import grade_view, grades_view
from orchestrator.domain.cards import CompetenceCard, DatedCard, Tally
from orchestrator.domain.engines import EngineState
from orchestrator.domain.experts import Expert
from orchestrator.domain.feedback import ALL_SKILLS, DAY_S, Drift
from orchestrator.domain.merges import Lineage
from orchestrator.domain.pauses import ExpertPause
from orchestrator.evaluation.grades import GradeGap

NO_DATES: Mapping[str, float] = MappingProxyType({})
NO_GAPS: Mapping[str, GradeGap] = MappingProxyType({})


def expert_view(
    expert: Expert,
    card: CompetenceCard | None,
    state: EngineState,
    lineage: Lineage | None = None,
    pause: ExpertPause | None = None,
) -> ExpertView:
    """An expert without where its weights are: a path says more about the machine than about the expert.

    Args:
        card: None = it was not profiled.
        lineage: None = it is no merge.
        pause: None = it is not paused.
    """
    return ExpertView(
        id=expert.id,
        engine=expert.engine.id,
        backend=expert.engine.backend,
        is_adapter=expert.adapter is not None,
        roles=sorted(expert.roles),
        max_tokens=expert.max_tokens,
        params_b=expert.params_b,
        input_cost_per_token=expert.input_cost_per_token,
        output_cost_per_token=expert.output_cost_per_token,
        fingerprint=expert.fingerprint,
        accuracy=card.total.accuracy if card and card.total.n else None,
        grade=card.graded.posterior.mean if card and card.graded else None,
        state=engine_view(state),
        lineage=lineage_view(lineage),
        paused=None if pause is None else PauseView(since=int(pause.since), reason=pause.reason),
    )


def expert_views(
    experts: Iterable[Expert],
    *,
    cards: Mapping[str, CompetenceCard],
    states: Mapping[str, EngineState],
    lineages: Mapping[str, Lineage],
    paused: Mapping[str, ExpertPause],
) -> list[ExpertView]:
    """Experts as `expert_view`; `states` by engine, all else by expert."""
    return [
        expert_view(e, cards.get(e.id), states[e.engine.id], lineages.get(e.id), paused.get(e.id))
        for e in experts
    ]


def lineage_view(lineage: Lineage | None) -> LineageView | None:
    """A merge's origin: parents that are no experts of the pool by the last part of their paths.

    Args:
        lineage: None = it is no merge.
    """
    if lineage is None:
        return None
    parents = [Path(parent).name if "/" in parent else parent for parent in lineage.parents]
    return LineageView(
        method=lineage.method, parents=parents, recipe_hash=lineage.recipe_hash, verdict=lineage.verdict
    )


def card_view(
    card: CompetenceCard,
    drift: Iterable[Drift] = (),
    lineage: Lineage | None = None,
    gaps: Mapping[str, GradeGap] = NO_GAPS,
    stored_at: Mapping[str, float] = NO_DATES,
) -> CardView:
    """The card of an expert.

    Args:
        drift, gaps, stored_at: of any expert; the card shows its own.
        lineage: None = it is no merge.
    """
    return CardView(
        expert=card.expert_id,
        fingerprint=card.fingerprint,
        profile_hash=card.profile_hash,
        total=_tally_view(card.total),
        skills=tally_views(card.skills),
        domains=tally_views(card.domains),
        aggregation=tally_views(card.aggregation),
        mean_tokens=card.mean_tokens,
        mean_latency_ms=card.mean_latency_ms,
        cost_per_query=card.cost_per_query,
        feedback=_tally_view(card.feedback),
        drift=[drift_view(d, stored_at) for d in drift if d.expert_id == card.expert_id],
        graded=grades_view(card.graded, gaps.get(card.expert_id)),
        feedback_grades=grade_view(card.feedback_grades),
        lineage=lineage_view(lineage),
        stored_at=_second_of(stored_at.get(card.expert_id)),
    )


def history_view(
    cards: Iterable[DatedCard], *, expert: Expert, current: CompetenceCard | None
) -> HistoryView:
    """Measurements as the service tells them; `current`: the card that counts now."""
    measurements = [
        MeasurementView(
            stored_at=_second_of(at_s),
            profile_hash=card.profile_hash,
            fingerprint=card.fingerprint,
            total=_tally_view(card.total),
            mean_tokens=card.mean_tokens,
            grade=card.graded.posterior.mean if card.graded else None,
            is_current=current is not None and card.profile_hash == current.profile_hash,
            is_as_configured=card.fingerprint == expert.fingerprint,
        )
        for card, at_s in cards
    ]
    return HistoryView(data=measurements)


def _second_of(at_s: float | None) -> int | None:
    return None if at_s is None else int(at_s)


def drift_view(drift: Drift, stored_at: Mapping[str, float] = NO_DATES) -> DriftView:
    """A drift; no skill = all of them together. `stored_at`: of any expert."""
    return DriftView(
        expert=drift.expert_id,
        skill=None if drift.skill == ALL_SKILLS else drift.skill,
        recent=drift.recent,
        n=drift.n,
        expected=drift.expected,
        low=drift.interval.low,
        high=drift.interval.high,
        since=drift.first_day * DAY_S,
        stored_at=_second_of(stored_at.get(drift.expert_id)),
    )


def tally_views(tallies: Mapping[str, Tally]) -> dict[str, TallyView]:
    """Counts and accuracies by name, sorted."""
    return {name: _tally_view(tally) for name, tally in sorted(tallies.items())}


def _tally_view(tally: Tally) -> TallyView:
    return TallyView(
        n_right=tally.n_right, n_wrong=tally.n_wrong, n_abstain=tally.n_abstain, accuracy=tally.accuracy
    )


def engine_view(state: EngineState) -> EngineView:
    """The state of an engine, and what keeps it from work."""
    return EngineView(
        engine=state.engine_id,
        state=state.state,
        code=state.code,
        why=state.why,
        remedy=state.heal,
        since_s=state.since_s,
        next_try_s=state.next_try_s,
        resident=state.is_resident,
        asleep=state.is_asleep,
        memory_gib=state.memory_gib,
    )


def engine_views(states: Iterable[EngineState]) -> list[EngineView]:
    """States of engines, in the order given."""
    return [engine_view(state) for state in states]


def engine_line(state: EngineState) -> str:
    """`cooling for 12 s, next try in 3 s`; `ready`."""
    if state.is_well:
        return state.state
    since = "" if state.since_s is None else f" for {state.since_s:.0f} s"
    tried = "" if state.next_try_s is None else f", next try in {state.next_try_s:.0f} s"
    return f"{state.state}{since}{tried}"
