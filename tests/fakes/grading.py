"""Queries and responses as graders see them."""

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.queries import AnswerType, Query

CITIES = ("London", "Paris", "New York", "Rome")


def make_query(answer_type: AnswerType | str, answer: str | int | None = None) -> Query:
    """A choice asks among four cities; Paris (B) is right unless `answer` says otherwise."""
    kind = AnswerType(answer_type)
    if kind is AnswerType.CHOICE:
        reference = 1 if answer is None else answer
        return Query(id="q", question="Which city?", options=CITIES, answer=reference, answer_type=kind)
    return Query(id="q", question="What is it?", answer=answer, answer_type=kind)


def make_response(text: str, *, truncated: bool = False, error_code: str | None = None) -> Response:
    return Response(
        expert_id="e",
        role=CallRole.EXPERT,
        stage=0,
        text=text,
        finish_reason=FinishReason.LENGTH if truncated else FinishReason.STOP,
        error_code=error_code,
    )
