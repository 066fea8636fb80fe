"""The caller's side of a remote engine: `ports.Engine` over a `Caller` on its own event loop."""

import queue
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from orchestrator.domain.assignments import MOST_TOKENS
from orchestrator.errors import BackendError, EngineCrashedError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, Failed, GenerationRequest, Tokens
from orchestrator.runtime.alarm import Alarm
from workers.backends.features import OF_SERVERS
from workers.backends.http.background import BackgroundLoop
from workers.backends.http.caller import Caller, estimated_tokens
from workers.backends.http.calls import CallPolicy, Endpoint
from workers.backends.refusal import refusal, too_long

CLOSE_TIMEOUT_S = 5.0

Check = Callable[[], Coroutine[object, object, int | None]]
"""Looks at the endpoint before it is used; how many calls it works on at once, None = not known."""


class RemoteEngine:
    """Implements `ports.Engine`.

    Calls start at `poll`, so that of the requests submitted before it the most urgent goes first.

    Args:
        max_model_len: longest prompt plus output, tokens.
        adapters: those that requests may name.
        check: run on the engine's event loop first; what it raises is raised here.
        loop: shared with other engines; None = one of its own.
    """

    def __init__(
        self,
        engine_id: str,
        endpoint: Endpoint,
        policy: CallPolicy,
        *,
        max_model_len: int,
        adapters: Sequence[str] = (),
        check: Check | None = None,
        loop: BackgroundLoop | None = None,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._engine_id = engine_id
        self._endpoint = endpoint
        self._owns_loop = loop is None
        self._loop = loop or BackgroundLoop(f"muster-{engine_id}")
        self._max_model_len = max_model_len
        self._adapters = frozenset(adapters)
        self._events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        self._news = Alarm()
        self._unfinished: set[str] = set()
        self._arrived: list[GenerationRequest] = []
        self._is_closed = False
        self._caller = Caller(
            engine_id, endpoint, policy, emit=self._put, clock=clock, rng=rng or random.Random()
        )
        try:
            slots = None if check is None else self._loop.run(check())
            if slots is not None:
                self._caller.hold_to(slots)
        except BaseException:
            self.close()
            raise
        self._main = self._loop.start(self._caller.run())

    @property
    def n_unfinished(self) -> int:
        """Requests without an end that `poll` has returned."""
        return len(self._unfinished)

    def submit(self, request: GenerationRequest) -> None:
        self._require_alive()
        if request.id in self._unfinished:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        self._unfinished.add(request.id)
        refused = refusal(request, "server or remote", has=OF_SERVERS)
        refused = refused or too_long(request, max_model_len=self._max_model_len)
        if refused is not None:
            self._put(refused)
        elif request.adapter is not None and request.adapter not in self._adapters:
            self._put(Failed(request.id, "unknown_name", f"unknown adapter '{request.adapter}'."))
        else:
            self._arrived.append(_unbounded(request, max_model_len=self._max_model_len))

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        self._require_alive()
        self._hand_over()
        self._news.clear()
        events: list[EngineEvent] = []
        with suppress(queue.Empty):
            if self._unfinished and timeout_s > 0:
                events.append(self._events.get(timeout=timeout_s))
            while True:
                events.append(self._events.get_nowait())
        self._unfinished -= {event.id for event in events if not isinstance(event, Tokens)}
        return events

    def fileno(self) -> int:
        """Readable when events came that `poll` has not returned."""
        return -1 if self._is_closed else self._news.fileno()

    def abort(self, request_id: str) -> None:
        if request_id in self._unfinished and not self._is_closed:
            self._hand_over()
            self._loop.call(self._caller.abort, request_id)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(TimeoutError):
            self._loop.run(self._stop(), timeout_s=CLOSE_TIMEOUT_S)
        if self._owns_loop:
            self._loop.close()

    def _put(self, event: EngineEvent) -> None:
        self._events.put(event)
        self._news.ring()

    async def _stop(self) -> None:
        await self._caller.stop()
        await self._endpoint.close()

    def _hand_over(self) -> None:
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._loop.call(self._caller.add, arrived)

    def _require_alive(self) -> None:
        if self._is_closed or self._main.done():
            state = "closed" if self._is_closed else "gone"
            raise EngineCrashedError(f"engine '{self._engine_id}' is {state}.", remedy="Load it again.")


def _unbounded(request: GenerationRequest, *, max_model_len: int) -> GenerationRequest:
    """The request without a bound of its output, where it asks for what fits and its server alone can tell
    how much that is: the prompt's length is an estimate, so half as much again is kept free."""
    sampling = request.sampling
    prompt = estimated_tokens(request) - sampling.expected_tokens
    if not sampling.fits or sampling.max_tokens + 1.5 * prompt < max_model_len:
        return request
    return request._replace(sampling=sampling.model_copy(update={"max_tokens": MOST_TOKENS}))
