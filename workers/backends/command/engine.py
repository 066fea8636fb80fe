"""An engine whose server runs below this process: calls as to any server, and watch over the process."""

import time
from collections.abc import Callable
from concurrent.futures import Future

from orchestrator.errors import EngineCrashedError, GenerationTimeoutError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, EngineMemory, Failed, GenerationRequest
from workers.backends.command.process import CommandProcess
from workers.backends.command.starting import MEASURE_S, Up
from workers.backends.http.background import BackgroundLoop
from workers.backends.http.engine import RemoteEngine
from workers.backends.http.failures import MISCONFIGURED, RATE_LIMITED, CallError


class CommandEngine:
    """Implements `ports.Engine`. Not thread-safe.

    A server that answers calls with failures which may be its own has to prove itself by a token; if it
    cannot, it is ended as if it had crashed.

    Args:
        calls: to the server, on `loop`.
        hang_s: calls under which nothing at all comes for so long end the server, seconds; the time that
            they wait on our side is none of it.
        release: called once, at `close`.

    Attributes:
        watches_itself: a hang is found here, by the silence of the server's replies.
    """

    watches_itself = True

    def __init__(
        self,
        engine_id: str,
        up: Up,
        calls: RemoteEngine,
        *,
        loop: BackgroundLoop,
        hang_s: float,
        release: Callable[[CommandProcess], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._id = engine_id
        self._up = up
        self._calls = calls
        self._loop = loop
        self._hang_s = hang_s
        self._release = release
        self._clock = clock
        self._measured_at = clock()
        up.pulse.forget()
        self._proof: Future[None] | None = None
        self._asked_at = 0.0
        self._dead: str | None = None
        self._is_released = False

    @property
    def pid(self) -> int:
        """Process of the command."""
        return self._up.process.pid

    def weigh(self) -> EngineMemory | None:
        """Host memory of the command and all below it; None = they hold a card's, which is not measured."""
        process = self._up.process
        return None if process.uses_card else EngineMemory(process.held_gib, process.peak_gib)

    def submit(self, request: GenerationRequest) -> None:
        self._require_alive()
        if not self._calls.n_unfinished:
            self._up.pulse.forget()
        self._calls.submit(request)

    def poll(self, timeout_s: float) -> list[EngineEvent]:
        self._require_alive()
        events = self._calls.poll(timeout_s if self._up.process.ended is None else 0.0)
        if self._up.process.ended is not None:
            if certain := [event for event in events if _is_certain(event)]:
                return certain
            raise self._died(f"its command {self._up.process.death()}")
        if any(_is_doubtful(event) for event in events):
            self._ask_for_proof()
        self._watch(n_events=len(events))
        return events

    def fileno(self) -> int:
        """Readable when events came that `poll` has not returned."""
        return -1 if self._dead is not None else self._calls.fileno()

    def abort(self, request_id: str) -> None:
        self._require_alive()
        self._calls.abort(request_id)

    def close(self) -> None:
        """End the server, and all that it started; the memory is free then."""
        self._dead = self._dead or "closed"
        if self._is_released:
            return
        self._is_released = True
        if self._up.process.ended is None:
            self._up.process.measure()
        self._calls.close()
        self._loop.close()
        self._up.process.stop()
        self._release(self._up.process)

    # ── the server's health ───────────────────────────────────────────────────────────────────────

    def _watch(self, *, n_events: int) -> None:
        """
        Raises:
            EngineCrashedError: it hangs, or cannot prove itself.
        """
        now = self._clock()
        if n_events:
            self._up.pulse.forget()
        if now - self._measured_at >= MEASURE_S:
            self._measured_at = now
            self._up.process.measure()
        if self._calls.n_unfinished and self._up.pulse.silent_s > self._hang_s:
            raise self._died(
                f"its server said nothing for {self._hang_s:g} s under {self._calls.n_unfinished} requests."
                + self._wrote()
            )
        if self._proof is not None and self._proof.done():
            proof, self._proof = self._proof, None
            error = proof.exception()
            if isinstance(error, CallError) and _is_lost(error) and not self._is_busy(error):
                raise self._died(f"its server fails calls and writes no token: {error}{self._wrote()}")

    def _ask_for_proof(self) -> None:
        if self._proof is None:
            self._asked_at = self._clock()
            self._proof = self._loop.start(self._up.endpoint.write_one_token(timeout_s=self._hang_s))

    def _is_busy(self, error: CallError) -> bool:
        """True of a server that had no time for a token, because it wrote others."""
        return error.code == GenerationTimeoutError.code and self._up.pulse.heard_at > self._asked_at

    def _wrote(self) -> str:
        lines = self._up.process.last_lines()
        return f" Its last lines: {lines}" if lines else ""

    def _died(self, why: str) -> EngineCrashedError:
        self._up.process.kill()
        self._dead = f"gone: {why}"
        return EngineCrashedError(f"engine '{self._id}': {why}")

    def _require_alive(self) -> None:
        if self._dead is None and self._up.process.ended is not None and not self._calls.n_unfinished:
            raise self._died(f"its command {self._up.process.death()}")
        if self._dead is not None:
            raise EngineCrashedError(f"engine '{self._id}' is {self._dead}", remedy="Load it again.")


def _is_certain(event: EngineEvent) -> bool:
    """True of what a server's death has not caused."""
    return not (isinstance(event, Failed) and event.blame != "prompt")


def _is_doubtful(event: EngineEvent) -> bool:
    """True of a failure that may be the server's own; also of a model that it says it has not."""
    if not isinstance(event, Failed) or event.error_code == RATE_LIMITED:
        return False
    return event.blame != "prompt" or event.error_code == MISCONFIGURED


def _is_lost(error: CallError) -> bool:
    """True if a server that answers so to the plainest question is of no use as it runs."""
    return error.outage or error.code == MISCONFIGURED
