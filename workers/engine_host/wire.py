"""Messages between a worker and its engine's process: frames of JSON, each with its length before it.

The worker sends commands. The child answers Load, Unload and Call with one reply each, in order, and
reports events, heartbeats and its own end in between.
"""

import struct
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.values import Value
from orchestrator.errors import BackendError, EngineCrashedError
from orchestrator.ports.engines import Failed, Finished, GenerationRequest, Tokens

MAX_FRAME_BYTES = 1 << 28
_LENGTH = struct.Struct(">I")

T = TypeVar("T")

Method = Literal["sleep", "wake", "add_adapter", "remove_adapter", "stats"]
"""What an engine may offer beyond `ports.Engine`."""


class Memory(Value):
    """Memory of the child; `cuda_*` are of the whole device, None without one. `engine_gib`,
    `engine_peak_gib`: of the engine, where it counts them itself (`ports.Weighed`)."""

    rss_gib: float
    cuda_free_gib: float | None = None
    cuda_total_gib: float | None = None
    engine_gib: float | None = None
    engine_peak_gib: float | None = None


class EngineStats(Value):
    """Requests and tokens of an engine since its load. `kv_cache_usage` is the share of the cache in use,
    in [0, 1]; `n_cached_tokens` counts prompt tokens that the prefix cache spared; `n_restarts`, of a fusion,
    requests whose rows came apart and were taken up again."""

    n_running: int
    n_waiting: int
    kv_cache_usage: float
    n_prompt_tokens: int
    n_cached_tokens: int
    n_output_tokens: int
    n_restarts: int = 0


# ── commands ──────────────────────────────────────────────────────────────────────────────────────


class Load(Value):
    kind: Literal["load"] = "load"
    spec: EngineSpec
    adapters: tuple[str, ...] = ()


class Unload(Value):
    """Drop the engine and keep what is imported."""

    kind: Literal["unload"] = "unload"


class Submit(Value):
    kind: Literal["submit"] = "submit"
    request: GenerationRequest


class Abort(Value):
    kind: Literal["abort"] = "abort"
    id: str


class Call(Value):
    kind: Literal["call"] = "call"
    method: Method
    argument: int | str | None = None


class Shutdown(Value):
    kind: Literal["shutdown"] = "shutdown"


Command = Load | Unload | Submit | Abort | Call | Shutdown

# ── reports ───────────────────────────────────────────────────────────────────────────────────────


class Ready(Value):
    """Everything is imported; the child waits for a Load."""

    kind: Literal["ready"] = "ready"
    import_s: float
    memory: Memory


class Obeyed(Value):
    """The command did what it says; `seconds` it took. `stats` answers the Call of that name; `sleep_levels`
    are those of the engine that is loaded now."""

    kind: Literal["obeyed"] = "obeyed"
    seconds: float
    memory: Memory
    stats: EngineStats | None = None
    sleep_levels: tuple[int, ...] = ()


class Refused(Value):
    """The command failed; the child is as it was before."""

    kind: Literal["refused"] = "refused"
    code: str
    message: str
    param: str | None = None
    is_lasting: bool = False


class TokensReport(Value):
    kind: Literal["tokens"] = "tokens"
    event: Tokens


class FinishedReport(Value):
    kind: Literal["finished"] = "finished"
    event: Finished


class FailedReport(Value):
    kind: Literal["failed"] = "failed"
    event: Failed


class Heartbeat(Value):
    """The step loop is alive; sent while requests run."""

    kind: Literal["heartbeat"] = "heartbeat"
    memory: Memory


class Crashed(Value):
    """The engine broke; the child exits."""

    kind: Literal["crashed"] = "crashed"
    reason: str


Report = Ready | Obeyed | Refused | TokensReport | FinishedReport | FailedReport | Heartbeat | Crashed
EventReport = TokensReport | FinishedReport | FailedReport

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="kind")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def as_report(event: Tokens | Finished | Failed) -> EventReport:
    """The message that carries an event."""
    if isinstance(event, Tokens):
        return TokensReport(event=event)
    if isinstance(event, Finished):
        return FinishedReport(event=event)
    return FailedReport(event=event)


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────


def encode(message: Command | Report) -> bytes:
    """One frame.

    Raises:
        BackendError: text that is not Unicode (a lone surrogate), or more than a frame holds.
    """
    try:
        body = message.model_dump_json().encode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise BackendError(f"a '{message.kind}' message holds text that is not valid Unicode.") from error
    if len(body) > MAX_FRAME_BYTES:
        raise BackendError(f"a '{message.kind}' message of {len(body)} bytes is too large.")
    return _LENGTH.pack(len(body)) + body


def decode_command(body: bytes) -> Command:
    """The command in a frame's body.

    Raises:
        EngineCrashedError: there is none in it.
    """
    return _decode(_COMMANDS, body)


def decode_report(body: bytes) -> Report:
    """The report in a frame's body.

    Raises:
        EngineCrashedError: there is none in it.
    """
    return _decode(_REPORTS, body)


def _decode(kinds: TypeAdapter[T], body: bytes) -> T:
    try:
        return kinds.validate_json(body)
    except ValidationError as error:
        raise EngineCrashedError(f"the engine's pipe carries garbage: {body[:80]!r}.") from error


class FrameBuffer:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies of the frames that are complete now.

        Raises:
            EngineCrashedError: what arrived cannot be the length of a frame.
        """
        self._bytes += data
        bodies: list[bytes] = []
        start = 0
        while len(self._bytes) - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._bytes, start)
            if size > MAX_FRAME_BYTES:
                raise EngineCrashedError(
                    f"the engine's pipe carries garbage: {bytes(self._bytes[start : start + 80])!r}."
                )
            end = start + _LENGTH.size + size
            if len(self._bytes) < end:
                break
            bodies.append(bytes(self._bytes[start + _LENGTH.size : end]))
            start = end
        del self._bytes[:start]
        return bodies
