"""Traces of stages that wait for calls, and of questions: told when the last call of a stage has come back,
and when a question is answered."""

import time
from collections import Counter
from collections.abc import Sequence

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    INTERACTIVE,
    CallRole,
    Done,
    Job,
    JobProgress,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.metrics import Stage
from orchestrator.domain.span_names import (
    CALLS,
    EXPERTS,
    STAGE,
    WORKFLOW,
    WORKFLOW_OPERATION,
    answer_attributes,
    job_attributes,
    job_span,
    job_span_id,
    stage_span_id,
)
from orchestrator.errors import MusterError
from orchestrator.ports.telemetry import SpanTimes, Tracer, TraceReader

_STAGES = {CallRole.ANNOTATE: Stage.ANNOTATE, CallRole.EXPERT: Stage.EXPERTS}
"""Stages that calls belong to; all others are an aggregator's."""


class StageTraces:
    """Tells of single questions and their stages; those of a batch are told of by its engines' passes."""

    def __init__(self, tracer: Tracer, reader: TraceReader) -> None:
        self._tracer = tracer
        self._reader = reader

    def waited(self, job: Job, states: Sequence[QueryState]) -> None:
        """Tell of the stages whose calls have all come back, before the next step; never fails."""
        if not self._tells_of(job):
            return
        waited = [state for state in states if state.stage and not state.attempt]
        try:
            asked_at = self._reader.asked_at([state.id for state in waited]) if waited else {}
        except MusterError:  # a trace is worth no trouble
            return
        now = time.time()
        for state in waited:
            latest = [r for r in state.responses if r.stage == state.stage - 1]
            if latest:
                self._tell(job, state, latest, SpanTimes(asked_at.get(state.id, now), now))

    def stepped(self, progress: JobProgress, steps: Sequence[tuple[QueryState, Step]]) -> None:
        """Tell of questions that were answered by these steps."""
        if not self._tells_of(progress.job):
            return
        for _, step in steps:
            if isinstance(step, Done):
                self._tell_answer(progress, step.answer)

    def _tells_of(self, job: Job) -> bool:
        return self._tracer.is_on and job.priority >= INTERACTIVE and job_span(job.traceparent, job.id) != ""

    def _tell(self, job: Job, state: QueryState, responses: Sequence[Response], times: SpanTimes) -> None:
        stage = _STAGES.get(Counter(r.role for r in responses).most_common(1)[0][0], Stage.AGGREGATE)
        parent = job_span(job.traceparent, job.id)
        self._tracer.record(
            stage.value,
            times,
            parent=parent,
            span_id=stage_span_id(parent, state.id, state.stage - 1),
            attributes={
                STAGE: stage.value,
                CALLS: len(responses),
                EXPERTS: tuple(response.expert_id for response in responses),
            },
            error=responses[0].error_code if all(response.failed for response in responses) else None,
        )

    def _tell_answer(self, progress: JobProgress, answer: Answer) -> None:
        job = progress.job
        attributes = job_attributes(job)
        self._tracer.record(
            f"{WORKFLOW_OPERATION} {attributes[WORKFLOW]}",
            SpanTimes(progress.created_at, time.time()),
            parent=job.traceparent,
            span_id=job_span_id(job.traceparent, job.id),
            attributes={**attributes, **answer_attributes(answer)},
            error=answer.error_code,
        )
