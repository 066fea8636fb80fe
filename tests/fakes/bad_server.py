"""A server that misbehaves as told: one act per request, the last one for all that follow."""

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from typing import Self

from tests.fakes.openai_server import LocalServer, QuietHandler

Act = Callable[["ActingHandler"], None]


class ActingHandler(QuietHandler):
    """What an act may use besides `reply`, `begin_stream` and `send_event`."""

    closing: threading.Event

    def wait_for_the_end(self) -> None:
        """Until the test is over."""
        self.closing.wait(30)
        self.close_connection = True


class BadServer(LocalServer):
    """`asked` counts the completions asked for; `bodies` are their documents.

    Args:
        slots: what `/props` says, as llama.cpp's server does; None = there is no such page.
    """

    def __init__(
        self, *acts: Act, models: tuple[str, ...] = ("base",), port: int = 0, slots: object = None
    ) -> None:
        self.bodies: list[dict[str, object]] = []
        self.headers: list[Mapping[str, str]] = []
        self._closing = threading.Event()
        script = itertools.chain(acts, itertools.repeat(acts[-1]))
        server = self

        class Handler(ActingHandler):
            closing = server._closing

            def do_GET(self) -> None:
                if self.path == "/props":
                    status, document = (404, {}) if slots is None else (200, {"total_slots": slots})
                    self.reply(status, json.dumps(document).encode())
                else:
                    self.reply(200, json.dumps({"data": [{"id": name} for name in models]}).encode())

            def do_POST(self) -> None:
                server.headers.append({k.lower(): v for k, v in self.headers.items()})
                server.bodies.append(json.loads(self.read_body()))
                next(script)(self)

        super().__init__(Handler, port=port)

    @property
    def asked(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> Self:
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        super().__exit__()


def completion(text: str | None = "fine", *, reason: str | None = "stop") -> dict[str, object]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}


def says(document: object, *, status: int = 200, **headers: str) -> Act:
    """Replies with JSON; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.reply(status, json.dumps(document).encode(), headers=named)


def refuses(status: int, message: str = "no", *, param: str | None = None, **headers: str) -> Act:
    return says({"error": {"message": message, "param": param}}, status=status, **headers)


def sends(body: bytes, *, content_type: str = "application/json", status: int = 200) -> Act:
    return lambda handler: handler.reply(status, body, content_type=content_type)


def redirects(location: str) -> Act:
    return lambda handler: handler.reply(302, b"", headers={"location": location})


def streams(*data: str, cut: bool = False) -> Act:
    """Sends events; `cut`: then hangs up in the middle of a chunk."""

    def act(handler: ActingHandler) -> None:
        if not cut:
            handler.begin_stream()
            for item in data:
                handler.send_event(item)
            return
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        body = "".join(f"data: {item}\n\n" for item in data).encode()
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\nff\r\nhalf")
        handler.close_connection = True

    return act


def piece(text: str) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}}]})


def last_piece(reason: str = "stop") -> str:
    return json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]})


def hangs(handler: ActingHandler) -> None:
    """Accepts and never answers."""
    handler.wait_for_the_end()


def hangs_up(handler: ActingHandler) -> None:
    """Closes the connection without a word."""
    handler.close_connection = True


def drips(handler: ActingHandler) -> None:
    """A byte now and then, for ever: each in time, the whole never."""
    handler.begin_stream()
    while not handler.closing.wait(0.02):
        handler.wfile.write(b":\n")
        handler.wfile.flush()


def floods(handler: ActingHandler) -> None:
    """A stream without end."""
    handler.begin_stream()
    while not handler.closing.is_set():
        handler.send_event(piece("spam " * 1000))
