"""A small server in OpenAI's form that misbehaves as told, for engines of `command`.

`python odd_server.py PORT [ACT [NUMBER]] [--tag TEXT] [--key KEY] [--models A,B]`: acts are in `ACTS`, and
those that end in `-later` begin with the completion of that number (0 is the first). The tag is there to be
found in the list of processes. It needs the standard library only, so that its processes start fast.
"""

import argparse
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOR_EVER_S = 3600.0
LOUD_BYTES = 100 << 20


def say(*words: str) -> None:
    sys.stdout.write("\n".join(words) + "\n")
    sys.stdout.flush()


class State:
    """`act` and from which completion on; what is asked is counted."""

    def __init__(self, act: str, number: int, key: str | None, models: list[str], delay_s: float) -> None:
        self.act, self.number, self.key, self.models = act, number, key, models
        self.delay_s = delay_s
        self.is_rested = False
        self._asked, self._calls = itertools.count(), itertools.count()
        self._lock = threading.Lock()

    def begins(self) -> bool:
        with self._lock:
            return next(self._asked) >= self.number

    def is_loading(self) -> bool:
        """True of the first calls to a server that says so, as many as it is told."""
        with self._lock:
            return next(self._calls) < self.number


def handler_of(state: State) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/health" and state.act != "no-health":
                is_late = state.act == "unready" or (state.act == "warms" and state.is_loading())
                self._reply(503 if is_late else 200, {"status": "as told"})
            elif self.path == "/v1/models" and state.models:
                self._reply(200, {"data": [{"id": model} for model in state.models]})
            else:
                self._reply(404, {"error": {"message": "no such path"}})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if state.key and self.headers.get("authorization") != f"Bearer {state.key}":
                self._reply(401, {"error": {"message": "wrong key"}})
                return
            if state.models and asked["model"] not in state.models:
                self._reply(404, {"error": {"message": f"no model {asked['model']}"}})
                return
            if state.act in EARLY and state.is_loading():
                self._reply(EARLY[state.act], {"error": {"message": "Loading model"}})
                return
            if state.act not in PATIENT and state.begins():
                self._misbehave()
            time.sleep(state.delay_s)
            self._answer(asked)

        def _misbehave(self) -> None:
            if state.act == "dies-later":
                say("CUDA error: out of memory")
                os._exit(9)
            if state.act == "killed-later":
                os.kill(os.getpid(), signal.SIGKILL)
            if state.act in ("mute", "hangs-later"):
                time.sleep(FOR_EVER_S)
            if state.act == "renames-later":
                state.models = ["renamed"]
                self._reply(404, {"error": {"message": "the model is called otherwise now"}})
                raise ConnectionAbortedError
            if state.act == "rests-later" and not state.is_rested:
                state.is_rested = True
                self._reply(503, {"error": {"message": "busy"}}, {"retry-after": "20"})
                raise ConnectionAbortedError
            if state.act == "endless-later":
                self._stream_for_ever()
            if state.act in ("broken", "breaks-later"):
                self._reply(500, {"error": {"message": "the model is gone"}})
                raise ConnectionAbortedError

        def _answer(self, asked: dict[str, object]) -> None:
            text = f"{asked['model']} says: {asked['messages'][-1]['content']}"
            usage = {"prompt_tokens": 3, "completion_tokens": len(text.split())}
            if not asked.get("stream"):
                choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                self._reply(200, {"choices": [choice], "usage": usage})
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for document in (
                {"choices": [{"delta": {"content": text}}]},
                {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage},
            ):
                self.wfile.write(f"data: {json.dumps(document)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _stream_for_ever(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            piece = {"choices": [{"delta": {"content": "and so on " * 100}}]}
            while True:  # until the caller leaves
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())

        def _reply(
            self, status: int, document: dict[str, object], headers: dict[str, str] | None = None
        ) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class ServerOfSix(Server):
    address_family = socket.AF_INET6


def serve(port: int, state: State) -> None:
    Server(("127.0.0.1", port), handler_of(state)).serve_forever(0.02)


def _lives_on(*, in_background: bool) -> None:
    """A process that ignores what may be ignored, and in the background has another parent and session."""
    if os.fork():
        return
    if in_background:
        os.setsid()
        if os.fork():
            os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(FOR_EVER_S)
    os._exit(0)


def _dies(_: State, __: int) -> None:
    say("loading the model", f"token={os.environ.get('HF_TOKEN')}", "error: no such option --bogus")
    sys.exit(3)


def _exits(_: State, __: int) -> None:
    sys.exit(0)


def _never(_: State, __: int) -> None:
    say("thinking about it")
    time.sleep(FOR_EVER_S)


def _stubborn(state: State, port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(port, state)


def _leaves(state: State, port: int) -> None:
    """Ends well when it is asked to."""
    signal.signal(signal.SIGTERM, lambda *_: (say("bye"), os._exit(0)))
    serve(port, state)


def _lingers(state: State, port: int) -> None:
    """Has something to do before it ends."""
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), say("bye"), os._exit(0)))
    serve(port, state)


def _six(state: State, port: int) -> None:
    ServerOfSix(("::1", port), handler_of(state)).serve_forever(0.02)


def _elsewhere(state: State, _: int) -> None:
    """Takes a port of its own."""
    Server(("127.0.0.1", 0), handler_of(state)).serve_forever(0.02)


def _loud(state: State, port: int) -> None:
    for _ in range(LOUD_BYTES >> 20):
        os.write(1, b"x" * (1 << 20))
    say("\nlistening")
    serve(port, state)


def _family(state: State, port: int) -> None:
    _lives_on(in_background=False)
    _lives_on(in_background=True)
    serve(port, state)


def _daemon(state: State, port: int) -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    serve(port, state)


def _reads(state: State, port: int) -> None:
    """Wants somebody at a terminal, and takes what it gets."""
    say(f"read {sys.stdin.read()!r}")
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        say("there is a terminal")
    except OSError:
        say("there is no terminal")
    serve(port, state)


def _insists(state: State, port: int) -> None:
    """Waits for its port for as long as it takes."""
    while True:
        try:
            serve(port, state)
        except OSError:
            time.sleep(0.05)


ACTS: dict[str, Callable[[State, int], None]] = {
    "dies": _dies,
    "exits": _exits,
    "never": _never,
    "stubborn": _stubborn,
    "leaves": _leaves,
    "lingers": _lingers,
    "six": _six,
    "elsewhere": _elsewhere,
    "loud": _loud,
    "family": _family,
    "daemon": _daemon,
    "reads": _reads,
    "insists": _insists,
}
"""Acts at the start. `unready`, `no-health`, `mute`, `broken`, `dies-later`, `killed-later`, `hangs-later`,
`breaks-later`, `rests-later` (once), `renames-later` and `endless-later` serve first."""
EARLY = {"early": 503, "early-broken": 500}
"""Well before their model is loaded: statuses of the first calls, as many as the number says."""
PATIENT = ("warms", *EARLY)
"""What begins late, and then is as good as any: `warms` says of itself that it is not well yet."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("act", nargs="?", default="fine")
    parser.add_argument("number", nargs="?", type=int, default=0)
    parser.add_argument("--tag")
    parser.add_argument("--key", default=os.environ.get("ODD_KEY"))
    parser.add_argument("--models", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    given = parser.parse_args()
    models = [name for name in given.models.split(",") if name]
    plain = given.act in ("fine", "unready", "no-health") or given.act in ACTS
    number = sys.maxsize if plain else given.number
    state = State(given.act, number, given.key, models, given.delay)
    ACTS.get(given.act, lambda state, port: serve(port, state))(state, given.port)


if __name__ == "__main__":
    main()
