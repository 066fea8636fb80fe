"""An engine as the device loop sees it, while the weights are in a child process."""

import time
from collections.abc import Callable

from orchestrator.errors import BackendError, EngineCrashedError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, EngineMemory, GenerationRequest, Tokens
from workers.engine_host import wire
from workers.engine_host.process import ChildProcess


class HostedEngine:
    """Implements `ports.Engine`. Not thread-safe.

    Attributes:
        watches_itself: a hang is found here, by the silence of the child's step loop.

    Args:
        child: holds the loaded engine.
        release: takes the child back at `close`, dead or alive.
        load_s: seconds from "load" to loaded.
        was_warm: its child had everything imported when the load began.
        hang_timeout_s: a child with requests whose step loop is silent for so long is killed.
        call_timeout_s: longest wait for `sleep`, `wake` and the adapter calls.
    """

    watches_itself = True

    def __init__(
        self,
        engine_id: str,
        child: ChildProcess,
        *,
        release: Callable[[ChildProcess], None],
        load_s: float,
        was_warm: bool = False,
        hang_timeout_s: float,
        call_timeout_s: float,
        clock: Clock = time.monotonic,
    ) -> None:
        self.load_s = load_s
        self.was_warm = was_warm
        self._id = engine_id
        self._child = child
        self._release = release
        self._hang_timeout_s = hang_timeout_s
        self._call_timeout_s = call_timeout_s
        self._clock = clock
        self._unfinished: set[str] = set()
        self._silent_since = clock()
        self._dead: str | None = None
        self._is_released = False
        self._asleep_from: wire.Memory | None = None

    @property
    def pid(self) -> int:
        """Process id of the child that the engine is in."""
        return self._child.pid

    @property
    def memory(self) -> wire.Memory | None:
        """As last reported: after the load, then about every second of work; None = it was not reported
        yet."""
        return self._child.memory

    def weigh(self) -> EngineMemory | None:
        """As last reported: by the engine itself, else what its load took of its device, else by how much its
        process grew."""
        before, now = self._child.memory_before, self._child.memory
        if self._dead is not None or now is None or before is None:
            return None
        if now.engine_gib is not None:
            peak_gib = now.engine_gib if now.engine_peak_gib is None else now.engine_peak_gib
            return EngineMemory(now.engine_gib, peak_gib, now.cuda_free_gib)
        if now.cuda_free_gib is not None:
            held_gib = peak_gib = _taken_gib(self._child)
        else:
            held_gib = max(0.0, now.rss_gib - before.rss_gib)
            peak_gib = max(0.0, self._child.most_rss_gib - before.rss_gib)
        if self._asleep_from is not None:
            held_gib = max(0.0, peak_gib - _came_back_gib(self._asleep_from, now))
        return EngineMemory(held_gib, peak_gib, now.cuda_free_gib)

    def submit(self, request: GenerationRequest) -> None:
        """Hand a request over; it joins the running batch at the child's next step.

        Raises:
            EngineCrashedError: the engine is gone.
            BackendError: the id is in use, or the text is not Unicode.
        """
        self._require_alive()
        if request.id in self._unfinished:
            raise BackendError(f"request '{request.id}' is in the engine already.", param="id")
        self._child.send(wire.Submit(request=request))
        if not self._unfinished:
            self._silent_since = self._clock()
        self._unfinished.add(request.id)

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        self._require_alive()
        try:
            reports = self._child.receive(timeout_s if self._unfinished else 0.0)
            self._watch_for_hang()
        except EngineCrashedError as error:
            raise self._died(error) from error
        events = [report.event for report in reports if isinstance(report, wire.EventReport)]
        return [event for event in events if self._is_news(event)]

    def fileno(self) -> int:
        """Readable when `poll` may have events at once, or the child is gone; -1 once that is known."""
        return self._child.fileno()

    def abort(self, request_id: str) -> None:
        self._require_alive()
        if request_id in self._unfinished:
            self._child.send(wire.Abort(id=request_id))

    def close(self) -> None:
        self._dead = self._dead or "closed."
        self._unfinished.clear()
        if not self._is_released:
            self._is_released = True
            self._release(self._child)

    # ── beyond the port: what the inner engine may offer ──────────────────────────────────────────

    def sleep(self, level: int = 1) -> None:
        """Move the weights out of the device's memory (level 1: keep a copy in the host's; 2: drop them).

        Raises:
            BackendError: the engine cannot, or failed to.
        """
        before = self._child.memory
        self._call(wire.Call(method="sleep", argument=level))
        self._asleep_from = before

    def wake(self) -> None:
        """Undo `sleep`; raises as it does."""
        self._call(wire.Call(method="wake"))
        self._asleep_from = None

    @property
    def sleep_levels(self) -> tuple[int, ...]:
        """Levels of the engine in the child."""
        return self._child.sleep_levels

    def add_adapter(self, path: str) -> None:
        """Load a LoRA directory; raises BackendError when the engine cannot, or it does not fit."""
        self._call(wire.Call(method="add_adapter", argument=path))

    def remove_adapter(self, path: str) -> None:
        """Forget an adapter; raises BackendError when requests use it, or it is not there."""
        self._call(wire.Call(method="remove_adapter", argument=path))

    def stats(self) -> wire.EngineStats:
        """Counts of what the engine is doing; raises BackendError when it does not count."""
        done = self._call(wire.Call(method="stats"))
        if done.stats is None:
            raise BackendError(f"engine '{self._id}' keeps no statistics.")
        return done.stats

    def _call(self, call: wire.Call) -> wire.Obeyed:
        self._require_alive()
        try:
            self._child.send(call)
            reply = self._child.await_reply(self._call_timeout_s)
        except EngineCrashedError as error:
            raise self._died(error) from error
        if isinstance(reply, wire.Refused):
            raise BackendError(f"engine '{self._id}': {reply.message}", param=reply.param)
        return reply

    def _is_news(self, event: EngineEvent) -> bool:
        """Whether the request is still waited for; its end is noted."""
        known = event.id in self._unfinished
        if not isinstance(event, Tokens):
            self._unfinished.discard(event.id)
        return known

    def _watch_for_hang(self) -> None:
        heard_at = max(self._child.heard_at, self._silent_since)
        if self._unfinished and self._clock() - heard_at > self._hang_timeout_s:
            raise EngineCrashedError(
                f"its step loop was silent for {self._hang_timeout_s:g} s under "
                f"{len(self._unfinished)} requests; the process was killed."
            )

    def _died(self, error: EngineCrashedError) -> EngineCrashedError:
        self._child.kill()
        self._unfinished.clear()
        self._dead = f"gone: {error}"
        return EngineCrashedError(f"engine '{self._id}': {error}")

    def _require_alive(self) -> None:
        if self._dead is not None:
            raise EngineCrashedError(f"engine '{self._id}' is {self._dead}", remedy="Load it again.")


def _taken_gib(child: ChildProcess) -> float:
    """What the device had less after the load than before it."""
    before, after = child.memory_at_load, child.memory_loaded
    if before is None or after is None or before.cuda_free_gib is None or after.cuda_free_gib is None:
        return 0.0
    return max(0.0, before.cuda_free_gib - after.cuda_free_gib)


def _came_back_gib(before: wire.Memory, now: wire.Memory) -> float:
    """What the device, or the host, has more than before the engine fell asleep."""
    if before.cuda_free_gib is not None and now.cuda_free_gib is not None:
        return now.cuda_free_gib - before.cuda_free_gib
    return before.rss_gib - now.rss_gib
