"""Decisions with their reasons as they are shown."""

from api.schemas.decisions import DecisionView, EvidenceView, RecruitView, SkillView
from orchestrator.domain.answers import Decision, Recruit, SkillEvidence


def decision_view(decision: Decision) -> DecisionView:
    """A decision with its reasons."""
    return DecisionView(
        router=decision.router,
        recruits=[_recruit_view(recruit) for recruit in decision.recruits],
        reserves=[_recruit_view(recruit) for recruit in decision.reserves],
        skills=[SkillView(name=tag.name, weight=tag.weight) for tag in decision.skills],
        runner_up=_recruit_view(decision.runner_up) if decision.runner_up else None,
        would_change=decision.would_change,
        notes=list(decision.notes),
        answer_type=None if decision.answer_type is None else decision.answer_type.value,
        card_version=decision.card_version,
        seed=decision.seed,
    )


def _recruit_view(recruit: Recruit) -> RecruitView:
    return RecruitView(
        expert=recruit.expert_id,
        weight=recruit.weight,
        score=recruit.score,
        accuracy=recruit.accuracy,
        evidence=[_evidence_view(evidence) for evidence in recruit.evidence],
        note=recruit.note,
    )


def _evidence_view(evidence: SkillEvidence) -> EvidenceView:
    return EvidenceView(
        skill=evidence.skill,
        weight=evidence.weight,
        score=evidence.score,
        n=evidence.n,
        accuracy=evidence.accuracy,
        low=evidence.interval.low,
        high=evidence.interval.high,
    )
