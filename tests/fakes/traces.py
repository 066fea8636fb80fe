"""Traces in memory, as trees, and as text for people."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.bootstrap.tracing import OtelTracer


class Recorder(NamedTuple):
    """A tracer, and the spans that it was told of."""

    tracer: OtelTracer
    exporter: InMemorySpanExporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


def recorder() -> Recorder:
    exporter = InMemorySpanExporter()
    return Recorder(OtelTracer(SimpleSpanProcessor(exporter)), exporter)


def paths(spans: Sequence[ReadableSpan]) -> set[str]:
    """Each span as the names from the root down to it, joined by ` > `; `?` = its parent was not told of."""
    by_id = {span.context.span_id: span for span in spans}
    return {" > ".join(_names(span, by_id)) for span in spans}


def _names(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> list[str]:
    if span.parent is None:
        return [span.name]
    outer = by_id.get(span.parent.span_id)
    return [*(["?"] if outer is None else _names(outer, by_id)), span.name]


def as_text(spans: Sequence[ReadableSpan]) -> str:
    """A trace as a tree: name, when it began and how long it took in milliseconds, attributes."""
    inside: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda s: s.start_time or 0):
        inside[None if span.parent is None else span.parent.span_id].append(span)
    start = min(span.start_time or 0 for span in spans)
    return "\n".join(_lines(inside, None, start, ""))


def _lines(
    inside: dict[int | None, list[ReadableSpan]], parent: int | None, start: int, indent: str
) -> Iterator[str]:
    for span in inside[parent]:
        began, ended = ((at or 0) - start for at in (span.start_time, span.end_time))
        yield f"{indent}{span.name}  +{began / 1e6:.1f} ms, {(ended - began) / 1e6:.1f} ms"
        for name, value in (span.attributes or {}).items():
            yield f"{indent}    {name} = {value}"
        yield from _lines(inside, span.context.span_id, start, indent + "  ")
