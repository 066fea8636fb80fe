"""Calls of an engine that runs elsewhere: options common to its backends, and one call's result."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from pydantic import Field

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import ThoughtMarks
from orchestrator.domain.logprobs import TokenLogprobs
from orchestrator.domain.tools import ToolCall
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import GenerationRequest
from workers.backends.options import Options


class CallOptions(Options):
    """Options that every backend of remote engines understands. Times in seconds.

    Args:
        max_concurrent: calls at the same time. Where it is not set, a server that says how many slots it has
            (llama.cpp's) gets no more than those.
        timeout_s: longest single call; `litellm_params.timeout` replaces it.
        deadline_s: longest time for a request from its first call on, retries and pauses included.
        patience_s: longest `Retry-After` that waiting requests sit out; a longer one fails them.
        drop_params: sampling parameters that are never sent, for endpoints that refuse them. Stop
            strings are applied on our side in any case.
        adapter_models: the model name under which the endpoint serves an adapter, by the adapter as
            the pool names it; without an entry, that name itself.
        stream_from_priority: requests of at least this priority report their text as it grows.
    """

    max_concurrent: int = Field(default=16, ge=1, le=4096)
    timeout_s: float = Field(default=120.0, gt=0)
    deadline_s: float = Field(default=240.0, gt=0)
    patience_s: float = Field(default=60.0, ge=0)
    drop_params: frozenset[str] = frozenset()
    adapter_models: dict[str, str] = Field(default_factory=dict)
    stream_from_priority: int = INTERACTIVE


class Reply(NamedTuple):
    """A whole completion; `reasoning`: what the model thought, where its endpoint tells that apart."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprobs, ...] = ()


OnText = Callable[[str], None]
"""Gets the text of one attempt, piece by piece."""


class Endpoint(Protocol):
    """Target of calls. Used from one event loop."""

    async def complete(self, request: GenerationRequest, *, timeout_s: float, on_text: OnText) -> Reply:
        """One attempt, no retries. May be cancelled at any time.

        Raises:
            CallError: it yielded no answer.
        """

    async def close(self) -> None:
        """Close its connections; no call may run."""


class CallPolicy(NamedTuple):
    """Patience of an engine with its endpoint; times in seconds. `marks`: around thoughts in its texts, where
    the pool says so; such texts are told whole."""

    max_concurrent: int
    timeout_s: float
    deadline_s: float
    patience_s: float
    retries: int
    allowed_fails: int
    cooldown_s: float
    rpm: int | None
    tpm: int | None
    stream_from_priority: int
    marks: ThoughtMarks | None = None


def call_policy(options: CallOptions, access: EngineAccess, marks: ThoughtMarks | None = None) -> CallPolicy:
    """Options of a call: what the pool file says about the access goes before the engine's options.

    Args:
        marks: as of `CallPolicy`.
    """
    return CallPolicy(
        max_concurrent=options.max_concurrent,
        timeout_s=access.timeout_s or options.timeout_s,
        deadline_s=options.deadline_s,
        patience_s=options.patience_s,
        retries=access.retries,
        allowed_fails=access.allowed_fails,
        cooldown_s=access.cooldown_s,
        rpm=access.rpm,
        tpm=access.tpm,
        stream_from_priority=options.stream_from_priority,
        marks=marks,
    )
