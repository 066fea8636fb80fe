"""Submitting: a request becomes a job on the books."""

import time
import uuid
from collections.abc import Callable, Collection, Iterable

from orchestrator.domain.assignments import BATCH, INTERACTIVE, Job
from orchestrator.domain.experts import Pool
from orchestrator.domain.names import EXPERT_PREFIX, composition_of
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.span_names import WORKFLOW, WORKFLOW_OPERATION, job_attributes, job_span_id
from orchestrator.domain.terms import Terms
from orchestrator.errors import UnknownNameError
from orchestrator.ports.dispatch import Dispatcher
from orchestrator.ports.jobs import JobStore
from orchestrator.ports.telemetry import NO_TRACER, SpanTimes, Tracer
from orchestrator.routing.parts.abilities import nobody_can
from orchestrator.runtime.context import bound_now


class Submitter:
    """Puts jobs on the books and says so.

    Args:
        compositions: names of those that a request may name.
        seed: of requests that give none.
        config_hash: identity of what answers depend on, kept with each job.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        compositions: Callable[[], Collection[str]],
        store: JobStore,
        dispatcher: Dispatcher,
        seed: int = 0,
        config_hash: str = "",
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._tracer = tracer
        self._pool = pool
        self._compositions = compositions
        self._store = store
        self._dispatcher = dispatcher
        self._seed = seed
        self.config_hash = config_hash

    @property
    def compositions(self) -> tuple[str, ...]:
        """Names that a request may name, as they are now."""
        return tuple(self._compositions())

    def resolve(self, model: str, *, allowed: Collection[str] = ()) -> str:
        """The composition that a request's `model` names.

        Args:
            allowed: experts that there are for the caller; none = all.

        Raises:
            UnknownNameError: listing what there is.
        """
        pool = self._pool
        experts = [expert_id for expert_id in pool.by_id if not allowed or expert_id in allowed]
        return composition_of(
            model,
            compositions=self._compositions(),
            experts=experts,
            fusions=pool.fusions.intersection(experts),
        )

    def job(
        self,
        options: AskOptions,
        *,
        kind: str,
        prefix: str = "",
        priority: int = BATCH,
        label: str = "",
        deadline_s: float | None = None,
        stream: bool = False,
        followed: bool = False,
        compositions: Collection[str] = (),
    ) -> Job:
        """The job of a request; not on the books yet.

        Args:
            prefix: put before the composition's name.
            compositions: that queries of the job name.

        Raises:
            UnknownNameError: no such model, or no such expert.
            NobodyCanError: what is asked for is nothing that an expert of it can do.
        """
        named = self.resolve(options.model, allowed=options.allowed)
        self._require_able(named, options)
        said = {"seed": self._seed, **options.said, "composition": prefix + named}
        return Job(
            id=options.job_id or f"{kind}-{uuid.uuid4().hex}",
            kind=kind,
            compositions=tuple(sorted(compositions)),
            priority=priority,
            config_hash=self.config_hash,
            label=label,
            deadline_s=deadline_s,
            stream=stream,
            followed=followed,
            fingerprint=options.fingerprint,
            owner=options.owner,
            allowed=options.allowed,
            traceparent=self._traceparent(),
            **said,
        )

    def _require_able(self, composition: str, terms: Terms) -> None:
        """Refuse at the door whom the pool does not have, and what no expert has; who exactly may be asked,
        routing knows."""
        unknown = next((name for name in terms.experts if name not in self._pool.by_id), None)
        if unknown is not None:
            raise UnknownNameError("expert", unknown, self._pool.by_id, param="muster.experts")
        if not terms.needs:
            return
        only = composition.removeprefix(EXPERT_PREFIX)
        experts = [self._pool.by_id[only]] if only != composition else list(self._pool.answerers)
        if not any(terms.needs <= expert.features for expert in experts):
            raise nobody_can(terms.needs, experts)

    def put(self, job: Job, queries: Iterable[Query]) -> None:
        """Put a job on the books, and then ring: losing the bell costs time only."""
        began = time.time()
        self._store.submit(job, queries)
        self._dispatcher.notify()
        if self._tracer.is_on and job.priority < INTERACTIVE:
            self._tell(job, SpanTimes(began, time.time()))

    def _traceparent(self) -> str:
        """The span that a job is submitted in; where there is none, one of its own."""
        outer = bound_now().traceparent
        if outer or not self._tracer.is_on:
            return outer
        span = self._tracer.begin("submit")
        span.end()
        return span.traceparent

    def _tell(self, job: Job, times: SpanTimes) -> None:
        """Tell of a job; a single question is told of when it is answered."""
        attributes = job_attributes(job)
        name = f"{WORKFLOW_OPERATION} {attributes[WORKFLOW]}"
        span_id = job_span_id(job.traceparent, job.id)
        self._tracer.record(name, times, parent=job.traceparent, span_id=span_id, attributes=attributes)
