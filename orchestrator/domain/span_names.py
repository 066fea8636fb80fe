"""Names of spans and of their attributes: the one place that follows OpenTelemetry's conventions.

GenAI's are in development; these are of version 1.37 on. No span holds what was asked or answered.
"""

import hashlib
from collections.abc import Mapping

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Assignment, Job, Response
from orchestrator.domain.names import model_name

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
WORKFLOW = "gen_ai.workflow.name"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TEMPERATURE = "gen_ai.request.temperature"
MAX_TOKENS = "gen_ai.request.max_tokens"
SEED = "gen_ai.request.seed"
ERROR_TYPE = "error.type"
METHOD = "http.request.method"
ROUTE = "http.route"
STATUS = "http.response.status_code"

JOB = "muster.job.id"
ROLE = "muster.call.role"
STAGE = "muster.stage"
QUESTIONS = "muster.questions"
CALLS = "muster.calls"
ENGINE = "muster.engine"
ENGINE_SECONDS = "muster.engine_seconds"
EXPERTS = "muster.experts"
CONFIDENCE = "muster.confidence"

CHAT, WORKFLOW_OPERATION = "chat", "invoke_workflow"

Attribute = str | int | float | bool | tuple[str, ...]

_TRACEPARENT_CHARS = 55
_HEX = frozenset("0123456789abcdef")


def checked_traceparent(text: str) -> str:
    """A traceparent as it came from outside; "" where it is none."""
    if len(text) != _TRACEPARENT_CHARS or text.count("-") != 3:
        return ""
    version, *ids, flags = text.split("-")
    is_one = (version, *map(len, ids), len(flags)) == ("00", 32, 16, 2)
    return (
        text if is_one and _HEX.issuperset("".join([*ids, flags])) and all(i.strip("0") for i in ids) else ""
    )


def is_sampled(traceparent: str) -> bool:
    """True if whoever began the trace listens to it."""
    return bool(traceparent) and bool(int(traceparent[-2:], 16) & 1)


def job_span_id(traceparent: str, job_id: str) -> str:
    """The id of the span of a job that was submitted in another one: every process finds the same one."""
    return _hashed(f"{traceparent} {job_id}")


def job_span(traceparent: str, job_id: str) -> str:
    """The traceparent of a job's own span; "" where nobody listens."""
    return inside(traceparent, job_span_id(traceparent, job_id)) if is_sampled(traceparent) else ""


def stage_span_id(traceparent: str, query_id: int, stage: int) -> str:
    """The id of the span of a stage of a question, whose job has this span."""
    return _hashed(f"{traceparent} {query_id} {stage}")


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def inside(traceparent: str, span_id: str) -> str:
    """The traceparent of a span of the same trace."""
    version, trace_id, _, flags = traceparent.split("-")
    return f"{version}-{trace_id}-{span_id}-{flags}"


def request_attributes(method: str, endpoint: str) -> dict[str, Attribute]:
    """Attributes of a request's span."""
    return {METHOD: method, ROUTE: endpoint}


def job_attributes(job: Job) -> dict[str, Attribute]:
    """Attributes of the span of a job or question."""
    name = model_name(job.composition)
    return {OPERATION: WORKFLOW_OPERATION, WORKFLOW: name, REQUEST_MODEL: name, JOB: job.id}


def answer_attributes(answer: Answer) -> dict[str, Attribute]:
    """Attributes that a question's span has at its end."""
    said: dict[str, Attribute] = {
        INPUT_TOKENS: answer.usage.prompt_tokens,
        OUTPUT_TOKENS: answer.usage.completion_tokens,
        CALLS: answer.n_calls,
    }
    if answer.decision is not None:
        said[EXPERTS] = answer.decision.expert_ids
    if answer.confidence is not None:
        said[CONFIDENCE] = answer.confidence
    return said


def call_attributes(assignment: Assignment, response: Response) -> dict[str, Attribute]:
    """Attributes of the span of one generation."""
    sampling = assignment.call.sampling
    return {
        OPERATION: CHAT,
        PROVIDER: "muster",
        REQUEST_MODEL: response.expert_id,
        RESPONSE_MODEL: response.expert_id,
        TEMPERATURE: sampling.temperature,
        MAX_TOKENS: sampling.max_tokens,
        SEED: sampling.seed,
        INPUT_TOKENS: response.usage.prompt_tokens,
        OUTPUT_TOKENS: response.usage.completion_tokens,
        FINISH_REASONS: (response.finish_reason.value,),
        ROLE: response.role.value,
        ENGINE: assignment.engine_id,
        ENGINE_SECONDS: response.engine_s,
    }


def pass_attributes(engine_id: str, responses: Mapping[int, Response]) -> dict[str, Attribute]:
    """Attributes of the span of calls of a job that an engine answered together; responses by assignment."""
    return {
        OPERATION: CHAT,
        PROVIDER: "muster",
        ENGINE: engine_id,
        CALLS: len(responses),
        INPUT_TOKENS: sum(r.usage.prompt_tokens for r in responses.values()),
        OUTPUT_TOKENS: sum(r.usage.completion_tokens for r in responses.values()),
        ENGINE_SECONDS: sum(r.engine_s for r in responses.values()),
    }
