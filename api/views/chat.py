"""Answers as chat completions."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from api.schemas.chat_request import ChatMessage
from api.schemas.chat_response import (
    AssistantMessage,
    ChatCompletion,
    Choice,
    FusionStepView,
    FusionView,
    MusterView,
    RoleUsage,
    UsageView,
    VoteView,
)
from api.views.decisions import decision_view
from orchestrator.domain.answers import Answer, FinishReason, Usage, Vote
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.names import short_name
from orchestrator.domain.queries import Message
from orchestrator.errors import AnswerFailedError
from orchestrator.questions.chats import conversation


def answer_error(answer: Answer) -> AnswerFailedError:
    """The error of a question that was run and failed."""
    return AnswerFailedError(answer.error or "no expert answered.", code=answer.error_code)


def muster_view(answer: Answer, *, job_id: str, composition: str) -> MusterView:
    return MusterView(
        job_id=job_id,
        composition=short_name(composition),
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
        fusion=None if answer.fusion is None else _fusion_view(answer.fusion),
    )


def _fusion_view(trace: FusionTrace) -> FusionView:
    steps = [
        FusionStepView(
            token_id=step.token_id,
            alpha=list(step.alpha) if isinstance(step.alpha, tuple) else step.alpha,
            loss=step.loss,
        )
        for step in trace.steps
    ]
    return FusionView(rule=trace.rule, steps=steps, passes=trace.passes, seconds=trace.seconds)


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
    """Common beginning of a completion and of each of its chunks; `created` in seconds since 1970."""

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


def chat_content(messages: Iterable[ChatMessage]) -> dict[str, object]:
    """`question` (the last message, the user's) and `context`; `developer` is another name of `system`."""
    return conversation(
        [Message(role="system" if m.role == "developer" else m.role, content=m.content) for m in messages]
    )
