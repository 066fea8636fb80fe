"""Telemetry of one process, wired: what it counts, where that goes."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from orchestrator.bootstrap.tracing import OtelTracer
from orchestrator.domain.assignments import Job
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Pool
from orchestrator.domain.metrics import STAGE_SECONDS, LabelSets, Stage
from orchestrator.domain.names import PUBLIC_PREFIX
from orchestrator.domain.span_names import QUESTIONS, STAGE, job_span
from orchestrator.domain.usage import ROLES
from orchestrator.ports.jobs import WaitingReader
from orchestrator.ports.telemetry import NO_TRACER, Meter, Tracer
from orchestrator.runtime.metrics import MetricKeeper, Tallies
from orchestrator.services.metrics import Metrics, MetricSources
from orchestrator.services.usage import UsageDesk
from orchestrator.store import Database, SqlMetricStore, SqlTraceReader, SqlUsageStore
from workers.device.call_traces import CallTraces
from workers.leases.stage_traces import StageTraces


class Telemetry:
    """Counts what this process works at, keeps it on the books, and tells of it.

    Args:
        compositions: names of what questions may ask for.
        otel: is told of stages and calls; None = nobody is.

    Attributes:
        meter: given to those who work; `keeper`: adds its sums to the books.
        call_traces, stage_traces: tell of calls and stages; None = nobody listens.
        usage: sums of usage.
    """

    def __init__(
        self,
        database: Database,
        *,
        pool: Callable[[], Pool],
        compositions: Callable[[], tuple[str, ...]],
        otel: OtelTracer | None = None,
    ) -> None:
        def is_model(name: str) -> bool:
            known = pool()
            return (
                name in known.by_id
                or name in known.engines
                or name.removeprefix(PUBLIC_PREFIX) in compositions()
            )

        self._labels = LabelSets(is_model=is_model, is_role=frozenset(ROLES).__contains__)
        self._pool = pool
        self._otel = otel
        tracer: Tracer = NO_TRACER if otel is None else otel
        self.tracer = tracer
        self._store = SqlMetricStore(database)
        tallies = Tallies(self._labels)
        self.meter: Meter = tallies
        self.keeper = MetricKeeper(tallies, self._store)
        self.usage = SqlUsageStore(database)
        traces = SqlTraceReader(database)
        self.call_traces = CallTraces(tracer, traces) if tracer.is_on else None
        self.stage_traces = StageTraces(tracer, traces) if tracer.is_on else None

    def close(self) -> None:
        """Keep and tell what is left."""
        self.keeper.stop()
        if self._otel is not None:
            self._otel.close()

    def usage_desk(self, cards: Callable[[], Mapping[str, CompetenceCard]]) -> UsageDesk:
        """Reports of usage; `cards`: of the pool's experts at the moment."""
        return UsageDesk(self.usage, pool=self._pool, cards=cards)

    def metrics(self, waiting: WaitingReader) -> Metrics:
        """The metrics of the whole stack; `waiting`: work that waits."""
        sources = MetricSources(
            self._store,
            self.usage,
            waiting,
            keep=self.keeper.keep,
            reserved_usd=self._store.reserved_usd,
        )
        return Metrics(sources, self._labels)

    @contextmanager
    def watch(self, stage: Stage, job: Job, *, n: int) -> Iterator[None]:
        """See `ports.telemetry.StageWatch`; `n` queries of one job."""
        began = time.monotonic()
        parent = job_span(job.traceparent, job.id) if self.tracer.is_on else ""
        attributes = {STAGE: stage.value, QUESTIONS: n}
        span = self.tracer.begin(stage.value, parent=parent, attributes=attributes) if parent else None
        try:
            yield
        finally:
            self.meter.observe(STAGE_SECONDS, stage, value=time.monotonic() - began)
            if span is not None:
                span.end()
