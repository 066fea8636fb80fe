"""The program's side: runs the code and does what the tester asks of it. The tester trusts nothing here."""

import builtins
import io
import sys
import threading
from collections.abc import Callable, Coroutine

from skills.grading.confined.channel import Message
from skills.grading.confined.operations import OPERATIONS, Operation
from skills.grading.confined.peer import Peer
from skills.grading.confined.wire import Decoder

_STACK_BYTES = 64 << 20
_MAX_PENDING = 1 << 16


class Output(io.TextIOBase):
    """A standard stream: its text goes to the tester's stream of that name while tests capture it."""

    def __init__(self, name: str, tell: Callable[[str, str], None]) -> None:
        self._stream, self._tell = name, tell
        self.captured = False
        self._pending: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.captured:
            self._pending.append(text)
            self._length += len(text)
            if self._length > _MAX_PENDING:
                self.deliver()
        return len(text)

    def deliver(self) -> None:
        text, self._pending, self._length = "".join(self._pending), [], 0
        if text:
            self._tell(self._stream, text)

    @property
    def buffer(self) -> "BytesOutput":
        return BytesOutput(self)


class BytesOutput(io.RawIOBase):
    def __init__(self, text: Output) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._text.write(bytes(data).decode(errors="replace"))
        return len(data)


class Input(io.TextIOBase):
    """Standard input: the tester's, which tests may have replaced."""

    def __init__(self, ask: Callable[..., object]) -> None:
        self._ask = ask

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        return str(self._ask("stdin_read", -1 if size is None else size))

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        return str(self._ask("stdin_readline", size))

    @property
    def buffer(self) -> io.BytesIO:
        return io.BytesIO(self.read().encode())


class Program:
    """Serves the tester: run the code, look up a name, and every operation on its objects."""

    def __init__(self) -> None:
        self._namespace: dict[str, object] = {"__name__": "solution", "__builtins__": builtins}
        self._streams: list[Output] = []
        self._own: dict[str, Operation] = {"run": self._run, "lookup": self._lookup, "await": _await}

    def operation(self, name: str) -> Operation:
        function = self._own.get(name) or OPERATIONS[name]

        def operate(*args: object, **kwargs: object) -> object:
            try:
                return function(*args, **kwargs)
            finally:
                for stream in self._streams:
                    stream.deliver()

        return operate

    def serve(self, peer: Peer) -> None:
        """Runs in a thread, whose stack is large: programs recurse deeply."""
        self._streams = [Output(name, lambda n, t: _tell(peer, n, t)) for name in ("stdout", "stderr")]
        sys.stdout, sys.stderr = self._streams
        sys.stdin = Input(peer.request)
        builtins.input = lambda prompt="": str(peer.request("input", str(prompt)))
        peer.notice = self._notice
        threading.stack_size(_STACK_BYTES)
        thread = threading.Thread(target=peer.serve_forever)
        thread.start()
        threading.stack_size(0)
        thread.join()

    def _notice(self, message: Message, values: Decoder) -> None:
        captured, classes = message.get("captured"), message.get("classes")
        for stream, flag in zip(self._streams, captured if isinstance(captured, list) else (), strict=False):
            stream.captured = bool(flag)
        for name, word in (classes if isinstance(classes, dict) else {}).items():
            self._namespace.setdefault(name, values.word(word))

    def _run(self, code: str) -> list[str]:
        exec(compile(code, "solution.py", "exec"), self._namespace)  # noqa: S102  (the sandbox's purpose)
        return [name for name in self._namespace if not name.startswith("__")]

    def _lookup(self, name: str) -> object:
        if name not in self._namespace:
            raise NameError(f"name {name!r} is not defined")
        return self._namespace[name]


def _tell(peer: Peer, stream: str, text: str) -> None:
    peer.tell({"op": "write", "args": [stream, text], "kwargs": {}, "nodes": [], "silent": True})


def _await(coroutine: Coroutine[object, object, object]) -> object:
    import asyncio  # takes longer than most programs

    return asyncio.run(coroutine)
