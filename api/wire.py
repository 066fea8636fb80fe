"""Domain values to wire types, and wire types to domain values."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from api.schemas import (
    AssistantMessage,
    CardView,
    ChatCompletion,
    ChatMessage,
    Choice,
    DecisionView,
    DriftView,
    EvidenceView,
    ExpertView,
    FeedbackView,
    JobCounts,
    JobView,
    MusterView,
    PlanView,
    RecruitView,
    RoleUsage,
    RouteView,
    SkillView,
    StayView,
    TallyView,
    UsageView,
    VoteView,
)
from orchestrator.batching import JobPlan
from orchestrator.domain.answers import Answer, Decision, FinishReason, Recruit, SkillEvidence, Usage, Vote
from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.experts import Expert
from orchestrator.domain.feedback import ALL_SKILLS, Drift, Feedback
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import InputError, MusterError
from orchestrator.question_files import conversation, parse_query


def model_name(composition: str) -> str:
    """The name under which the REST API offers a resolved composition."""
    if composition == "auto":
        return composition
    expert = composition.removeprefix("expert:")
    return expert if expert != composition else f"muster/{composition}"


def job_view(progress: JobProgress) -> JobView:
    job = progress.job
    return JobView(
        id=job.id,
        kind=job.kind,
        state=progress.state.value,
        model=model_name(job.composition),
        label=job.label,
        counts=JobCounts(
            total=progress.total,
            completed=progress.completed,
            failed=progress.failed,
            waiting=progress.waiting,
        ),
        calls=progress.n_assignments,
        responses=progress.n_responses,
        loads=progress.n_loads,
        created_at=int(progress.created_at),
        finished_at=None if progress.finished_at is None else int(progress.finished_at),
        deadline_at=None if progress.deadline_at is None else int(progress.deadline_at),
    )


def build_query(
    query_id: str,
    content: Mapping[str, object],
    *,
    options: list[str] | None,
    answer_type: str | None,
    prefix: str = "",
) -> Query:
    """A query from wire fields; options without an answer type make it a choice.

    Args:
        content: `question`, and `context` of a conversation.
        answer_type: a value of `AnswerType`; checked here.
        prefix: of the fields named in errors, e.g. `muster.`.

    Raises:
        InputError: naming the wire field at fault.
    """
    default = AnswerType.TEXT if options is None else AnswerType.CHOICE
    fields = {**content, "id": query_id, "options": options or (), "answer_type": answer_type or default}
    try:
        return parse_query(fields)
    except InputError as error:
        # Rules about options and their type concern several fields, so they come without a name.
        inner = (error.param or "options").split(".")[0]
        param = inner if inner in content else f"{prefix}{inner}"
        if inner == "question" and "context" in content:
            param = "messages"
        raise InputError(str(error), param=param) from None


def chat_content(messages: Iterable[ChatMessage]) -> dict[str, object]:
    """`question` (the last message, the user's) and `context`; `developer` is another name of `system`."""
    plain: list[object] = [
        {"role": "system" if m.role == "developer" else m.role, "content": m.content} for m in messages
    ]
    return conversation(plain)


def decision_view(decision: Decision) -> DecisionView:
    return DecisionView(
        router=decision.router,
        recruits=[_recruit_view(recruit) for recruit in decision.recruits],
        reserves=[_recruit_view(recruit) for recruit in decision.reserves],
        skills=[SkillView(name=tag.name, weight=tag.weight) for tag in decision.skills],
        runner_up=_recruit_view(decision.runner_up) if decision.runner_up else None,
        would_change=decision.would_change,
        notes=list(decision.notes),
        card_version=decision.card_version,
        seed=decision.seed,
    )


def route_view(decision: Decision, *, model: str) -> RouteView:
    return RouteView(model=model, **dict(decision_view(decision)))


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


def answer_error(answer: Answer) -> MusterError:
    """The error of a question that was run and failed; its `code` is the answer's."""
    error = MusterError(answer.error or "no expert answered.")
    error.code = answer.error_code or error.code
    return error


def muster_view(answer: Answer, *, job_id: str, composition: str) -> MusterView:
    return MusterView(
        job_id=job_id,
        composition=composition,
        recruits=list(answer.decision.expert_ids) if answer.decision else [],
        reasons=decision_view(answer.decision) if answer.decision else None,
        votes=[_vote_view(vote) for vote in answer.votes],
        value=answer.value,
        confidence=answer.confidence,
        degraded=answer.degraded,
        notes=list(answer.notes),
        aggregator=answer.aggregator,
        answered_by=answer.answered_by,
        n_calls=answer.n_calls,
        usage_by_role={role: _role_usage(usage) for role, usage in answer.usage_by_role.items()},
    )


def _vote_view(vote: Vote) -> VoteView:
    return VoteView(
        expert=vote.expert_id,
        value=vote.value,
        weight=vote.weight,
        abstained_because=vote.abstained_because,
    )


def _role_usage(usage: Usage) -> RoleUsage:
    return RoleUsage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost_usd=usage.cost_usd,
    )


class Heading(NamedTuple):
    """What a completion and each of its chunks begin with; `created` in seconds since 1970."""

    id: str
    created: int
    model: str
    system_fingerprint: str


def chat_completion(answer: Answer, heading: Heading, *, muster: MusterView) -> ChatCompletion:
    """An answer in OpenAI's form."""
    message = AssistantMessage(content=answer.text)
    return ChatCompletion(
        **heading._asdict(),
        choices=[Choice(message=message, finish_reason=finish_reason(answer))],
        usage=usage_view(answer),
        muster=muster,
    )


def finish_reason(answer: Answer) -> Literal["stop", "length"]:
    return "length" if answer.finish_reason is FinishReason.LENGTH else "stop"


def usage_view(answer: Answer) -> UsageView:
    usage = answer.usage
    return UsageView(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def expert_view(expert: Expert, card: CompetenceCard | None) -> ExpertView:
    """Leaves out where the weights are: a path says more about the machine than about the expert."""
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
    )


def card_view(card: CompetenceCard, drift: Iterable[Drift] = ()) -> CardView:
    """`drift`: of any expert; the card shows its own."""
    return CardView(
        expert=card.expert_id,
        fingerprint=card.fingerprint,
        profile_hash=card.profile_hash,
        total=_tally_view(card.total),
        skills=_tally_views(card.skills),
        domains=_tally_views(card.domains),
        aggregation=_tally_views(card.aggregation),
        mean_tokens=card.mean_tokens,
        mean_latency_ms=card.mean_latency_ms,
        cost_per_query=card.cost_per_query,
        feedback=_tally_view(card.feedback),
        drift=[drift_view(d) for d in drift if d.expert_id == card.expert_id],
    )


def drift_view(drift: Drift) -> DriftView:
    return DriftView(
        expert=drift.expert_id,
        skill=None if drift.skill == ALL_SKILLS else drift.skill,
        recent=drift.recent,
        n=drift.n,
        expected=drift.expected,
        low=drift.interval.low,
        high=drift.interval.high,
    )


def feedback_view(feedback: Feedback) -> FeedbackView:
    return FeedbackView(
        job=feedback.job_id,
        query=feedback.query_id,
        score=feedback.score,
        experts=_tally_views(feedback.experts),
    )


def plan_view(plan: JobPlan) -> PlanView:
    return PlanView(
        job=plan.job_id,
        state=plan.state.value,
        loads_done=plan.loads_done,
        loads_left=plan.loads_left,
        seconds_done=plan.seconds_done,
        seconds_left=plan.seconds_left,
        lower_bound_s=plan.lower_bound_s,
        ratio=plan.ratio,
        optimal=plan.is_optimal,
        stays=[
            StayView(
                device=stay.device,
                engine=stay.engine_id,
                load_from_s=stay.load_from_s,
                serve_from_s=stay.serve_from_s,
                until_s=stay.until_s,
                past=stay.is_past,
            )
            for stay in plan.stays
        ],
    )


def _tally_views(tallies: Mapping[str, Tally]) -> dict[str, TallyView]:
    return {name: _tally_view(tally) for name, tally in sorted(tallies.items())}


def _tally_view(tally: Tally) -> TallyView:
    return TallyView(
        n_right=tally.n_right, n_wrong=tally.n_wrong, n_abstain=tally.n_abstain, accuracy=tally.accuracy
    )
