"""Traces of generations: spans of calls whose responses were committed.

A question's call has a span of its own inside the span of its stage. Of a batch the calls that were committed
together, of one engine, have one span for each job: a file of thousands makes no thousands of spans. A span
links to the other jobs that the engine worked for at that time.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.assignments import INTERACTIVE, Assignment, Response
from orchestrator.domain.span_names import (
    call_attributes,
    inside,
    job_span,
    pass_attributes,
    stage_span_id,
)
from orchestrator.errors import MusterError
from orchestrator.ports.telemetry import SpanTimes, Tracer, TraceReader

MOST_LINKS = 8
REMEMBERED = 4096


class EndedCall(NamedTuple):
    """A call that has ended, and when by the wall clock."""

    assignment: Assignment
    response: Response
    ended_s: float

    @property
    def times(self) -> SpanTimes:
        """Begin and end by the wall clock, in seconds since 1970."""
        return SpanTimes(self.ended_s - self.response.latency_ms / 1000, self.ended_s)


class CallTraces:
    """Tells of the calls of traced jobs; of which those are it asks the books once a job."""

    def __init__(self, tracer: Tracer, reader: TraceReader) -> None:
        self._tracer = tracer
        self._reader = reader
        self._known: OrderedDict[str, str] = OrderedDict()

    def tell(self, calls: Sequence[EndedCall]) -> None:
        """Tell of calls that were committed; never fails."""
        if not self._tracer.is_on or not calls:
            return
        try:
            parents = self._parents({call.assignment.job_id for call in calls})
        except MusterError:  # a trace is worth no trouble
            return
        by_engine: dict[str, list[EndedCall]] = defaultdict(list)
        for call in calls:
            if parents.get(call.assignment.job_id):
                by_engine[call.assignment.engine_id].append(call)
        for engine_id, of_engine in by_engine.items():
            self._tell_engine(engine_id, of_engine, parents)

    def _tell_engine(self, engine_id: str, calls: Sequence[EndedCall], parents: Mapping[str, str]) -> None:
        jobs = dict.fromkeys(call.assignment.job_id for call in calls)
        batches: dict[str, list[EndedCall]] = defaultdict(list)
        for call in calls:
            if call.assignment.priority >= INTERACTIVE:
                self._tell_call(call, parents[call.assignment.job_id], _others(call, jobs, parents))
            else:
                batches[call.assignment.job_id].append(call)
        for job_id, of_job in batches.items():
            self._tell_pass(engine_id, of_job, parents[job_id], _others(of_job[0], jobs, parents))

    def _tell_call(self, call: EndedCall, parent: str, links: Sequence[str]) -> None:
        a = call.assignment
        self._tracer.record(
            f"chat {a.call.expert_id}",
            call.times,
            parent=inside(parent, stage_span_id(parent, a.query_id, a.stage)),
            kind="client",
            attributes=call_attributes(a, call.response),
            links=links,
            error=call.response.error_code,
        )

    def _tell_pass(
        self, engine_id: str, calls: Sequence[EndedCall], parent: str, links: Sequence[str]
    ) -> None:
        times = SpanTimes(min(c.times.began_s for c in calls), max(c.times.ended_s for c in calls))
        attributes = pass_attributes(engine_id, {c.assignment.id: c.response for c in calls})
        self._tracer.record(
            f"chat {engine_id}", times, parent=parent, kind="client", attributes=attributes, links=links
        )

    def _parents(self, job_ids: Collection[str]) -> Mapping[str, str]:
        """Spans of these jobs; "" = it is not traced."""
        unknown = [job_id for job_id in job_ids if job_id not in self._known]
        if unknown:
            found = self._reader.traceparents(unknown)
            self._known |= {job_id: job_span(found.get(job_id, ""), job_id) for job_id in unknown}
        parents = {job_id: self._known[job_id] for job_id in job_ids}
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return parents


def _others(call: EndedCall, jobs: Iterable[str], parents: Mapping[str, str]) -> list[str]:
    """Spans of other jobs that the engine worked for at the same time."""
    others = (job_id for job_id in jobs if job_id != call.assignment.job_id)
    return [parents[job_id] for _, job_id in zip(range(MOST_LINKS), others, strict=False)]
