"""Answers as chat completions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from api.schemas.chat_response import (
    AssistantMessage,
    CalledFunction,
    CalledTool,
    ChatCompletion,
    Choice,
    ExpectedGradeView,
    Finish,
    FusionStepView,
    FusionView,
    LogprobsView,
    MusterView,
    RoleUsage,
    TokenLogprobView,
    TopLogprob,
    UsageView,
    VoteView,
)
from api.views.decisions import decision_view
from orchestrator.domain.answers import Answer, FinishReason, Usage, Vote, total_usage
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.logprobs import TokenLogprob
from orchestrator.domain.names import short_name
from orchestrator.errors import AnswerFailedError


def answer_error(answer: Answer) -> AnswerFailedError:
    """The error of a question that was run and failed."""
    return AnswerFailedError(answer.error or "no expert answered.", code=answer.error_code)


def muster_view(
    answer: Answer,
    *,
    job_id: str,
    composition: str,
    ignored: Sequence[str] = (),
    explains: bool = True,
) -> MusterView:
    """Our own part of a completion.

    Args:
        ignored: fields of the request that were read and change nothing.
        explains: with the reasons of the recruits.
    """
    return MusterView(
        job_id=job_id,
        composition=short_name(composition),
        recruits=list(answer.decision.expert_ids) if answer.decision else [],
        reasons=decision_view(answer.decision) if answer.decision and explains else None,
        votes=[_vote_view(vote) for vote in answer.votes],
        value=answer.value,
        confidence=answer.confidence,
        expected_grade=grade_view(answer),
        answer_type=None if answer.answer_type is None else answer.answer_type.value,
        type_inferred=answer.decision is not None and answer.decision.answer_type is not None,
        degraded=answer.degraded,
        notes=list(answer.notes),
        aggregator=answer.aggregator,
        answered_by=answer.answered_by,
        n_calls=answer.n_calls,
        usage_by_role={role: _role_usage(usage) for role, usage in answer.usage_by_role.items()},
        ignored=list(ignored),
        fusion=None if answer.fusion is None else _fusion_view(answer.fusion),
    )


def grade_view(answer: Answer) -> ExpectedGradeView | None:
    """The grade that the answer is expected to get; None of answers that are not open."""
    grade = answer.expected_grade
    return None if grade is None else ExpectedGradeView(**grade.model_dump())


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


def chat_completion(
    answer: Answer,
    heading: Heading,
    *,
    muster: MusterView,
    others: Sequence[Answer] = (),
    older: bool = False,
) -> ChatCompletion:
    """An answer in OpenAI's form.

    Args:
        others: further choices.
        older: calls of tools are shown in the form that `functions` have.
    """
    answers = (answer, *others)
    return ChatCompletion(
        **heading._asdict(),
        choices=[_choice(each, index, older=older) for index, each in enumerate(answers)],
        usage=usage_view(*answers),
        muster=muster,
    )


def _choice(answer: Answer, index: int, *, older: bool) -> Choice:
    calls = called_tools(answer)
    message = AssistantMessage(
        content=answer.text or (None if calls else ""),
        tool_calls=None if older else calls or None,
        function_call=calls[0].function if older and calls else None,
        reasoning_content=answer.reasoning or None,
    )
    finish = finish_reason(answer, older=older)
    return Choice(index=index, message=message, finish_reason=finish, logprobs=logprobs_view(answer))


def called_tools(answer: Answer) -> list[CalledTool]:
    """Calls of tools that the answer makes, in its order."""
    return [
        CalledTool(id=call.id, function=CalledFunction(name=call.name, arguments=call.arguments))
        for call in answer.tool_calls
    ]


def finish_reason(answer: Answer, *, older: bool = False) -> Finish:
    """The reason why the answer ends. Args: older: it is told in the form that `functions` have."""
    if answer.tool_calls:
        return "function_call" if older else "tool_calls"
    return "length" if answer.finish_reason is FinishReason.LENGTH else "stop"


def logprobs_view(answer: Answer) -> LogprobsView | None:
    """Log probabilities token by token; None where none were asked for, or nobody told them."""
    if not answer.logprobs:
        return None
    return LogprobsView(
        content=[
            TokenLogprobView(
                **_logprob(token.chosen).model_dump(), top_logprobs=[_logprob(other) for other in token.top]
            )
            for token in answer.logprobs
        ]
    )


def _logprob(token: TokenLogprob) -> TopLogprob:
    return TopLogprob(token=token.token, logprob=token.logprob, bytes=list(token.token.encode()))


def usage_view(*answers: Answer) -> UsageView:
    """Tokens of all calls that the answers took, whoever was asked."""
    usage = total_usage(answer.usage for answer in answers)
    return UsageView(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )


def with_runs(view: Callable[[Answer], MusterView], answers: Sequence[Answer]) -> MusterView:
    """Muster's part of a completion with several choices: the first one's, and each of them in `runs`."""
    views = [view(answer) for answer in answers]
    return views[0] if len(views) == 1 else views[0].model_copy(update={"runs": views})
