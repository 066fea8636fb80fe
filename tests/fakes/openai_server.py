"""A live OpenAI-compatible server that answers as the scripted backend does: streams, stops, LoRA names.

As a process of its own: `python -m tests.fakes.openai_server PORT OPTIONS`, with the options as JSON.
"""

import json
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Failed, Finished, GenerationRequest, Tokens
from workers.backends.scripted import ScriptedBackend

MODEL = "base"


class LocalServer:
    """An HTTP server in a thread on a loopback port (0 = a free one), for a `with` block."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class QuietHandler(BaseHTTPRequestHandler):
    """Answers in HTTP/1.1, logs nothing, and takes a client that left as it comes."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def reply(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": content_type, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self) -> None:
        """Events until the connection ends: no length, no chunks."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def send_event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()


def openai_server(
    *,
    adapters: Mapping[str, str] | None = None,
    max_model_len: int = 200,
    script: Mapping[str, object] | None = None,
    port: int = 0,
) -> LocalServer:
    """Args:
    adapters: adapter by the model name it is served under.
    script: options of the scripted backend.
    """
    models = {MODEL: None, **(adapters or {})}
    spec = EngineSpec(
        id="engine", backend="scripted", model="m", max_model_len=max_model_len, options=dict(script or {})
    )

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            listed = [{"id": name, "object": "model"} for name in models]
            self.reply(200, json.dumps({"object": "list", "data": listed}).encode())

        def do_POST(self) -> None:
            asked = json.loads(self.read_body())
            if asked["model"] not in models:
                self._refuse(404, f"no model {asked['model']}", "model_not_found")
                return
            events = _run(spec, _request(asked, models[asked["model"]]))
            end = events[-1]
            if isinstance(end, Failed):
                self._refuse(400, "maximum context length exceeded", "context_length_exceeded")
            elif asked.get("stream"):
                self._stream(events)
            else:
                choice = {
                    "message": {"role": "assistant", "content": end.text},
                    "finish_reason": end.finish_reason,
                }
                self.reply(200, json.dumps({"choices": [choice], "usage": _usage(end)}).encode())

        def _stream(self, events: list[Tokens | Finished | Failed]) -> None:
            self.begin_stream()
            for event in events:
                if isinstance(event, Tokens):
                    self.send_event(json.dumps({"choices": [{"delta": {"content": event.text}}]}))
            end = events[-1]
            assert isinstance(end, Finished)
            self.send_event(json.dumps({"choices": [{"delta": {}, "finish_reason": end.finish_reason}]}))
            self.send_event(json.dumps({"choices": [], "usage": _usage(end)}))
            self.send_event("[DONE]")

        def _refuse(self, status: int, message: str, code: str) -> None:
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
            self.reply(status, json.dumps({"error": error}).encode())

    return LocalServer(Handler, port=port)


def _request(asked: Mapping[str, object], adapter: str | None) -> GenerationRequest:
    sampling = {
        name: asked[name] for name in ("max_tokens", "temperature", "top_p", "seed", "stop") if name in asked
    }
    messages = tuple(Message.model_validate(message) for message in asked["messages"])
    # Interactive requests report their text word by word.
    return GenerationRequest("r", messages, Sampling.model_validate(sampling), adapter, INTERACTIVE)


def _run(spec: EngineSpec, request: GenerationRequest) -> list[Tokens | Finished | Failed]:
    engine = ScriptedBackend().load(spec, [request.adapter] if request.adapter else [])
    engine.submit(request)
    events: list[Tokens | Finished | Failed] = []
    while not events or isinstance(events[-1], Tokens):
        events += engine.poll(1)
    return events


def _usage(end: Finished) -> dict[str, int]:
    return {"prompt_tokens": end.usage.prompt_tokens, "completion_tokens": end.usage.completion_tokens}


if __name__ == "__main__":
    with openai_server(port=int(sys.argv[1]), **json.loads(sys.argv[2])):
        threading.Event().wait()
