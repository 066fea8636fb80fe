"""Engines: loaded weights that generate, and the backends that load them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import (
    Sampling,
)
from orchestrator.domain.engines import Blame
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.domain.queries import Message
from orchestrator.domain.tools import ToolCall


class GenerationRequest(NamedTuple):
    """One prompt for a loaded engine. `adapter` names a LoRA directory; None = base weights.

    `priority`: larger is admitted first. `id` is unique among the engine's unfinished requests.
    """

    id: str
    messages: tuple[Message, ...]
    sampling: Sampling
    adapter: str | None = None
    priority: int = 0


class Tokens(NamedTuple):
    """New text of an unfinished request (transient; for streaming)."""

    id: str
    text: str


class Finished(NamedTuple):
    """A request's full output. `finish_reason` LENGTH marks a truncated text; `logprobs` has an entry
    per token if `Sampling.logprobs` asks for them; `fusion` is there if the engine is a fusion;
    `reasoning` is what the model thought, where its engine tells that apart."""

    id: str
    text: str
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprobs, ...] = ()
    fusion: FusionTrace | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""


class Failed(NamedTuple):
    """A request that yields no text: bad prompt, context exceeded, abort. The engine lives on.

    `blame`: whose fault it is; `rest_s`: for how long the engine asks to be left alone, finite.
    """

    id: str
    error_code: str
    error: str
    blame: Blame = "prompt"
    rest_s: float | None = None


EngineEvent = Tokens | Finished | Failed


class Engine(Protocol):
    """Loaded base weights, driven by its own step loop; every method returns quickly but `poll`.

    A request accepted by `submit` ends in exactly one Finished or Failed. A prompt that does not fit the
    context fails with `context_exceeded`, as does a `max_tokens` that leaves no room for one; a smaller one
    that does not fit beside its prompt fails likewise, or is lowered by the engine's server. `poll` raises
    EngineCrashedError when the engine is gone; its unfinished requests are then lost.
    """

    def submit(self, request: GenerationRequest) -> None:
        """Take a request over.

        Raises:
            BackendError: one of this id is in the engine already, or the engine is closed or asleep.
        """

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        """Advance and return events; waits at most about `timeout_s` when nothing happens.

        Raises:
            EngineCrashedError: the engine is gone, and its unfinished requests with it.
        """

    def abort(self, request_id: str) -> None:
        """Stop a request; it ends in Failed('aborted') unless it has finished already."""

    def close(self) -> None:
        """Free the device memory; idempotent."""


@runtime_checkable
class Waitable(Protocol):
    """An engine that says by a file descriptor when it may have news."""

    def fileno(self) -> int:
        """Descriptor, readable or at its end when `poll` may have events at once; -1 once it is gone."""


@runtime_checkable
class Timed(Protocol):
    """An engine that knows when it will have events."""

    def due_s(self) -> float | None:
        """Real seconds until `poll` has events, 0 at least; inf while nothing runs, None = not known."""


class EngineMemory(NamedTuple):
    """Memory of a loaded engine as measured, GiB: what it holds now, and the most since its load.

    `device_free_gib`: what its device can still give; None = it lies in the host's memory.
    """

    held_gib: float
    peak_gib: float
    device_free_gib: float | None = None


@runtime_checkable
class Weighed(Protocol):
    """An engine whose memory is measured."""

    def weigh(self) -> EngineMemory | None:
        """Memory as it was last measured; returns at once. None = not known (yet)."""


@runtime_checkable
class Sleeping(Protocol):
    """An engine whose weights can leave the memory of its device without its being closed.

    Both raise BackendError when the engine cannot, or fails to (it is of no use then), and EngineCrashedError
    when it is gone; both may take as long as a load.
    """

    @property
    def sleep_levels(self) -> tuple[int, ...]:
        """Levels that it offers, of 1 (the weights stay in the host's memory) and 2 (they are dropped, and
        read again by `wake`); () = none: then it is closed instead."""

    def sleep(self, level: int = 1) -> None:
        """Free the device's memory; nothing may run.

        Args:
            level: one of `sleep_levels`.
        """

    def wake(self) -> None:
        """Undo `sleep`; harmless when awake."""


class Backend(Protocol):
    """Loads one kind of engine."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Load base weights and the LoRA directories that will be used over them.

        Raises:
            EngineLoadError: with the reason and the remedy.
        """
