"""Structured output: answers that keep to a JSON schema, through votes, synthesis and one repair."""

import json
import math
from collections.abc import Sequence

from pydantic import JsonValue

from orchestrator import prompts
from orchestrator.compositions.alone import usage_by_role
from orchestrator.compositions.calls import expert_call
from orchestrator.domain.answers import Answer, FinishReason
from orchestrator.domain.assignments import (
    INVALID_OUTPUT,
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Response,
)
from orchestrator.domain.experts import Pool
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.terms import Terms
from orchestrator.domain.thoughts import without_thoughts
from orchestrator.questions.json_checks import first_flaw, unique_keys
from orchestrator.questions.json_schemas import Schema, fault

REPAIR = "repair"
"""Name of the aggregator of an answer that an expert gave in a second attempt."""


def schema_of(terms: Terms) -> Schema | None:
    """The schema that the answer is to keep to; None = it may say what it likes."""
    return None if terms.structured_output is None else terms.structured_output.json_schema


def as_json(query: Query) -> Query:
    """The query as its responses are read: free text and open answers are JSON values."""
    is_text = query.answer_type in (AnswerType.TEXT, AnswerType.OPEN)
    return query.changed(answer_type=AnswerType.JSON) if is_text else query


def screened(responses: Sequence[Response], schema: Schema) -> tuple[Response, ...]:
    """The responses; what should be an answer and does not keep to the schema has failed."""
    return tuple(_screened(response, schema) for response in responses)


def kept(step: Done, state: QueryState, schema: Schema, *, job: Job, pool: Pool) -> Ask | Done:
    """The answer as JSON of the schema; or the call that is to mend what no expert got right, once.

    Args:
        state: with screened responses.
    """
    answer = step.answer
    if answer.tool_calls:
        return step
    text = _json_of(answer, schema) if answer.error_code is None else None
    if text is not None:
        return Done(answer=answer.model_copy(update={"text": text}))
    tried = next((r for r in state.responses if r.role is CallRole.REPAIR), None)
    if tried is not None:
        return Done(answer=_repaired(answer, tried, state))
    known = (r for r in state.responses if r.expert_id in pool.by_id)
    wrong = next((r for r in known if r.error_code == INVALID_OUTPUT), None)
    if wrong is None:
        return (
            step if answer.error_code is not None else Done(answer=_invalid(answer, "the answer is no JSON"))
        )
    return Ask(calls=(_repair_call(wrong, state, job, pool),))


def _screened(response: Response, schema: Schema) -> Response:
    is_answer = response.role in (CallRole.EXPERT, CallRole.SAMPLE, CallRole.AGGREGATE, CallRole.REPAIR)
    if response.failed or response.tool_calls or not is_answer:
        return response
    wrong = _fault_of(response.text, schema)
    if wrong is None:
        return response
    cut = "it was cut off: " if response.finish_reason is FinishReason.LENGTH else ""
    return response.model_copy(update={"error_code": INVALID_OUTPUT, "error": f"{cut}{wrong}"})


def _fault_of(text: str, schema: Schema) -> str | None:
    try:
        value = _read(text)
    except (ValueError, RecursionError):
        return "it is no JSON value"
    return fault(schema, value)


def _read(text: str) -> JsonValue:
    """The one value that a text is, as it stands or as a fenced block.

    Raises:
        ValueError: it is none.
    """
    value: JsonValue = json.loads(
        _bare(text), object_pairs_hook=unique_keys, parse_constant=_refuse, parse_float=_finite
    )
    flaw = first_flaw(value)
    if flaw is not None:
        raise ValueError(flaw.text)
    return value


def _bare(text: str) -> str:
    """The text without thoughts before it and a fence around it."""
    bare = without_thoughts(text).strip()
    first, _, rest = bare.partition("\n")
    if first.startswith("```") and rest.rstrip().endswith("```"):
        return rest.rstrip()[:-3].strip()
    return bare


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is beyond the range of numbers")
    return number


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _json_of(answer: Answer, schema: Schema) -> str | None:
    """The answer's words, or the value that was voted for; None = neither keeps to the schema."""
    for text in (answer.text, answer.value or ""):
        if _fault_of(text, schema) is None:
            return _bare(text)
    return None


def _repair_call(wrong: Response, state: QueryState, job: Job, pool: Pool) -> Call:
    call = expert_call(pool.by_id[wrong.expert_id], state.query, job, sample_ix=wrong.sample_ix)
    said = prompts.mend(wrong.text, wrong.error or "")
    return call.model_copy(
        update={"role": CallRole.REPAIR, "sample_ix": 0, "messages": (*call.messages, *said)}
    )


def _repaired(answer: Answer, tried: Response, state: QueryState) -> Answer:
    """The second attempt, which was screened, too."""
    if tried.failed:
        return _invalid(answer, tried.error or "the second attempt failed")
    return Answer(
        text=_bare(tried.text),
        finish_reason=tried.finish_reason,
        aggregator=REPAIR,
        answered_by=tried.expert_id,
        degraded=True,
        notes=(*answer.notes, f"{tried.expert_id} was asked again: no answer kept to the schema"),
        votes=answer.votes,
        usage_by_role=usage_by_role(state.responses),
        n_calls=len(state.responses),
    )


def _invalid(answer: Answer, why: str) -> Answer:
    return answer.model_copy(
        update={
            "text": "",
            "value": None,
            "confidence": None,
            "error_code": INVALID_OUTPUT,
            "error": f"no answer keeps to the JSON schema, also in a second attempt: {why}",
        }
    )
