"""Questions that one expert answers alone, whatever composition was asked: with tools, with log
probabilities, or where the answer is begun."""

from collections.abc import Sequence

from orchestrator.domain.answers import Answer, Decision, FinishReason, Usage, total_usage
from orchestrator.domain.assignments import QueryState, Response
from orchestrator.domain.queries import Query
from orchestrator.domain.terms import Terms

PROMPT = "prompt"
"""Name of the aggregator of answers that go on with a prompt: they are not read."""

CALLS = "tool_calls"
"""Name of the aggregator of answers that are calls of tools: nobody votes on them."""


def asks_one(query: Query, terms: Terms) -> bool:
    """True if several answers could not become one: calls of tools, tokens, its rest, or what goes on with a
    prompt."""
    return terms.tools is not None or terms.logprobs is not None or terms.raw or query.is_begun


def alone(decision: Decision) -> Decision:
    """The decision with its best recruit only; the others stand by as reserves."""
    best, *others = decision.recruits
    if not others:
        return decision
    standing_by = {r.expert_id: r for r in reversed((*others, *decision.reserves))}
    standing_by.pop(best.expert_id, None)
    reserves = tuple(reversed(standing_by.values()))
    return decision.model_copy(
        update={"recruits": (best.model_copy(update={"weight": 1.0}),), "reserves": reserves}
    )


def called(state: QueryState, responses: Sequence[Response]) -> Answer | None:
    """The answer that is calls of tools, unchanged; None = no response has any."""
    response = next((r for r in responses if r.tool_calls), None)
    if response is None:
        return None
    return Answer(
        text=response.text,
        finish_reason=FinishReason.TOOL_CALLS,
        aggregator=CALLS,
        answered_by=response.expert_id,
        usage_by_role=usage_by_role(state.responses),
        n_calls=len(state.responses),
    )


def gone_on(state: QueryState, responses: Sequence[Response]) -> Answer | None:
    """The answer that goes on with a prompt: the expert's text to the letter; None = there is none."""
    response = next((r for r in responses if not r.failed), None)
    if response is None or not state.terms.raw:
        return None
    return Answer(
        text=response.text,
        finish_reason=response.finish_reason,
        aggregator=PROMPT,
        answered_by=response.expert_id,
        usage_by_role=usage_by_role(state.responses),
        n_calls=len(state.responses),
    )


def usage_by_role(responses: Sequence[Response]) -> dict[str, Usage]:
    """Tokens and cost of calls, by their role."""
    roles = sorted({response.role for response in responses})
    return {role: total_usage(r.usage for r in responses if r.role is role) for role in roles}


def quoted(answer: Answer, responses: Sequence[Response]) -> Response | None:
    """The response that the answer is in the words of; None where it is in nobody's."""
    said = [r for r in responses if r.expert_id == answer.answered_by and not r.failed]
    return next((r for r in said if r.text == answer.text), said[0] if said else None)


def with_details(answer: Answer, responses: Sequence[Response]) -> Answer:
    """The answer with what its words came with: calls of tools, thoughts, log probabilities, and the like."""
    response = quoted(answer, responses)
    if response is None:
        return answer
    return answer.model_copy(
        update={
            "tool_calls": response.tool_calls,
            "reasoning": response.reasoning,
            "logprobs": response.logprobs,
        }
    )
