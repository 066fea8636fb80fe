"""Traces by OpenTelemetry, where its libraries are there and a collector is named; else nobody traces."""

import logging
import os
import uuid
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from orchestrator import __version__
from orchestrator.domain.span_names import ERROR_TYPE
from orchestrator.errors import ConfigError
from orchestrator.ports.telemetry import (
    NO_SPAN,
    NOTHING,
    Attributes,
    Span,
    SpanKind,
    SpanTimes,
)
from orchestrator.settings.schema import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = logging.getLogger(__name__)

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables, in place of the setting; its others are heard too."""
TRACES_PATH = "/v1/traces"

_NS = 1_000_000_000
_PLANNED: ContextVar[int | None] = ContextVar("muster_planned_span", default=None)


def open_tracer(settings: TracingSettings) -> "OtelTracer | None":
    """The tracer that is configured; None = none is.

    Raises:
        ConfigError: the setting names a collector, and OpenTelemetry is not installed.
    """
    named = any(os.environ.get(name) for name in ENDPOINT_VARIABLES)
    if settings.endpoint is None and not named:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        if settings.endpoint is None:
            log.warning("not traced: OTEL_EXPORTER_OTLP_ENDPOINT is set, but %s", error)
            return None
        raise ConfigError(
            f"muster.tracing.endpoint is set, but a library is missing: {error}.",
            param="muster.tracing.endpoint",
            remedy="Run `pip install 'muster[otel]'`, or unset it.",
        ) from error
    endpoint = None if settings.endpoint is None else settings.endpoint.rstrip("/") + TRACES_PATH
    return OtelTracer(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), settings.service_name)


class OtelTracer:
    """`ports.telemetry.Tracer` over OpenTelemetry's SDK, which reads OTEL_TRACES_SAMPLER and its like.

    Args:
        processor: is given the spans that have ended.
    """

    is_on = True

    def __init__(self, processor: "SpanProcessor", service_name: str = "muster") -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class PlannedIds(RandomIdGenerator):  # type: ignore[misc]
            """Ids by lot, unless one was planned."""

            def generate_span_id(self) -> int:
                return _PLANNED.get() or int(super().generate_span_id())

        self._trace: Any = trace
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": service_name,
                    "service.version": __version__,
                    "service.instance.id": uuid.uuid4().hex,
                }
            ),
            id_generator=PlannedIds(),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("muster", __version__)
        self._kinds = {
            "internal": trace.SpanKind.INTERNAL,
            "server": trace.SpanKind.SERVER,
            "client": trace.SpanKind.CLIENT,
        }

    def begin(
        self, name: str, *, parent: str = "", kind: SpanKind = "internal", attributes: Attributes = NOTHING
    ) -> Span:
        """See `ports.telemetry.Tracer`."""
        try:
            span = self._tracer.start_span(
                name, context=self._context(parent), kind=self._kinds[kind], attributes=dict(attributes)
            )
        except Exception:  # what is traced must not fail by that
            log.warning("a span could not be opened", exc_info=True)
            return NO_SPAN
        return _OtelSpan(span, self._trace)

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
        """See `ports.telemetry.Tracer`."""
        planned = _PLANNED.set(int(span_id, 16) if span_id else None)
        try:
            span = self._tracer.start_span(
                name,
                context=self._context(parent),
                kind=self._kinds[kind],
                attributes=dict(attributes),
                links=[self._trace.Link(self._span_context(link)) for link in links],
                start_time=int(times.began_s * _NS),
            )
            _note_error(span, self._trace, error)
            span.end(end_time=int(max(times) * _NS))
        except Exception:  # what is traced must not fail by that
            log.warning("a span could not be told of", exc_info=True)
        finally:
            _PLANNED.reset(planned)

    def close(self) -> None:
        """Send what is left, and end."""
        self._provider.shutdown()

    def _context(self, parent: str) -> Any:
        """Never the library's own context of the moment: spans of others are none of ours."""
        from opentelemetry.context import Context

        if not parent:
            return Context()
        outer = self._trace.NonRecordingSpan(self._span_context(parent))
        return self._trace.set_span_in_context(outer, Context())

    def _span_context(self, traceparent: str) -> Any:
        _, trace_id, span_id, flags = traceparent.split("-")
        return self._trace.SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=self._trace.TraceFlags(int(flags, 16)),
        )


class _OtelSpan:
    """`ports.telemetry.Span`."""

    def __init__(self, span: Any, trace: Any) -> None:
        self._span = span
        self._trace = trace
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(dict(attributes))

    def end(self, *, error: str | None = None) -> None:
        _note_error(self._span, self._trace, error)
        self._span.end()


def _note_error(span: Any, trace: Any, error: str | None) -> None:
    if error is not None:
        span.set_attribute(ERROR_TYPE, error)
        span.set_status(trace.StatusCode.ERROR)
