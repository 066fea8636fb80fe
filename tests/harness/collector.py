"""A collector of traces: takes what OpenTelemetry's exporters post, and keeps it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Told(NamedTuple):
    """A span as a process told of it; ids in hexadecimal digits, `parent` "" at the root."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    process: str


class Collector:
    """Spans so far. `url`: where to send them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._spans: list[Told] = []

    def spans(self) -> list[Told]:
        with self._lock:
            return list(self._spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in request.resource_spans:
                [process] = [
                    a.value.string_value
                    for a in resource.resource.attributes
                    if a.key == "service.instance.id"
                ]
                self._spans += [
                    Told(
                        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), process
                    )
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]


@contextmanager
def open_collector() -> Iterator[Collector]:
    """A collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
