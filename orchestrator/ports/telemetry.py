"""Telemetry: what is counted and timed, as those who work tell it. By default nobody listens."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from orchestrator.domain.assignments import Job
from orchestrator.domain.metrics import Metric, Part, Stage
from orchestrator.domain.span_names import Attribute


class Meter(Protocol):
    """Counts. For any number of threads; never fails, and waits for nothing."""

    def count(self, metric: Metric, *labels: str, n: float = 1.0) -> None:
        """Add `n` >= 0 to a counter; labels in the metric's order."""

    def observe(self, metric: Metric, *labels: str, value: float, n: int = 1) -> None:
        """Put `n` values, all equal to `value` in the metric's unit, into a histogram."""


class StageWatch(Protocol):
    """Watches the stages of a job's queries."""

    def __call__(self, stage: Stage, job: Job, *, n: int) -> AbstractContextManager[None]:
        """Times what is done inside, for `n` queries of the job."""


class MetricStore(Protocol):
    """Sums of metrics that all processes of a stack add to. They are bounded by the label sets."""

    def add_metrics(self, sums: Mapping[Part, float]) -> None:
        """Add to the sums, to all or to none."""

    def metrics(self) -> dict[Part, float]:
        """Sums over all processes so far."""


class NoMeter:
    """Counts nothing."""

    def count(self, metric: Metric, *labels: str, n: float = 1.0) -> None:
        """Nobody listens."""

    def observe(self, metric: Metric, *labels: str, value: float, n: int = 1) -> None:
        """Nobody listens."""


@contextmanager
def unwatched(stage: Stage, job: Job, *, n: int) -> Iterator[None]:
    """Times nothing: a `StageWatch` for who is not watched, whatever the `n`."""
    del stage, job, n
    yield


NO_METER = NoMeter()


# ── spans ─────────────────────────────────────────────────────────────────────────────────────────

Attributes = Mapping[str, Attribute]
NOTHING: Attributes = MappingProxyType({})
SpanKind = Literal["internal", "server", "client"]


class SpanTimes(NamedTuple):
    """Begin and end of a span, in seconds since the epoch."""

    began_s: float
    ended_s: float


class Span(Protocol):
    """Span that is open."""

    @property
    def traceparent(self) -> str:
        """Name by which a span inside it calls its parent; "" = nobody traces it."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes; one of the same name is replaced."""

    def end(self, *, error: str | None = None) -> None:
        """Close it; `error`: type of what it failed by."""


class Tracer(Protocol):
    """Tells of spans. For any number of threads; never fails, and waits for nothing."""

    @property
    def is_on(self) -> bool:
        """False: nobody listens, and nothing need be looked up for it."""

    def begin(
        self, name: str, *, parent: str = "", kind: SpanKind = "internal", attributes: Attributes = NOTHING
    ) -> Span:
        """Open a span; `parent`: a traceparent, "" = a trace begins."""

    def record(
        self,
        name: str,
        times: SpanTimes,
        *,
        parent: str,
        span_id: str = "",
        kind: SpanKind = "internal",
        attributes: Attributes = NOTHING,
        links: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        """Tell of a span that is over.

        Args:
            span_id: 16 hexadecimal digits, of a span that others have named as their parent already.
            links: traceparents of other traces that it had to do with.
        """


class TraceReader(Protocol):
    """Traces, as far as the books know of them."""

    def traceparents(self, job_ids: Collection[str]) -> dict[str, str]:
        """Traceparents by job, of those that are traced."""

    def asked_at(self, query_ids: Collection[int]) -> dict[int, float]:
        """Times at which the latest calls of queries were put on the books, in seconds since the epoch."""


class NoSpan:
    """Span that nobody listens to."""

    traceparent = ""

    def set(self, attributes: Attributes) -> None:
        """Nobody listens."""

    def end(self, *, error: str | None = None) -> None:
        """Nobody listens."""


class NoTracer:
    """Tells nobody."""

    is_on = False

    def begin(
        self, name: str, *, parent: str = "", kind: SpanKind = "internal", attributes: Attributes = NOTHING
    ) -> Span:
        """A span that nobody listens to."""
        del name, parent, kind, attributes
        return NO_SPAN

    def record(
        self,
        name: str,
        times: SpanTimes,
        *,
        parent: str,
        span_id: str = "",
        kind: SpanKind = "internal",
        attributes: Attributes = NOTHING,
        links: Sequence[str] = (),
        error: str | None = None,
    ) -> None:
        """Nobody listens."""


NO_SPAN = NoSpan()
NO_TRACER = NoTracer()
