"""The device's seat: one loaded engine and the requests that run on it."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.batching import estimated_tokens
from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import Assignment, Response
from orchestrator.domain.engines import Blame
from orchestrator.domain.experts import Expert
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.tools import ToolCall
from orchestrator.errors import BackendError, EngineCrashedError, EngineLoadError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import (
    Engine,
    EngineMemory,
    Failed,
    Finished,
    GenerationRequest,
    Timed,
    Tokens,
    Waitable,
    Weighed,
)
from orchestrator.redaction import redact
from workers.pieces import OnText, Writers

log = logging.getLogger(__name__)


class Ending(NamedTuple):
    """End of an assignment: its response. Of one that failed: whose fault that was, for how long the engine
    asks to be left alone, and when it began."""

    assignment: Assignment
    response: Response
    blame: Blame = "prompt"
    rest_s: float = 0.0
    began_at: float = 0.0


@dataclass
class Running:
    assignment: Assignment
    started_at: float
    began_at_share_s: float = 0.0
    on_text: OnText | None = None
    stopped_as: str | None = None


class Served(NamedTuple):
    """Requests finished, their estimated tokens (`batching.estimated_tokens`), and the seconds in which
    any request ran."""

    n_requests: int = 0
    n_tokens: int = 0
    busy_s: float = 0.0

    @property
    def per_s(self) -> float | None:
        """Requests per second of work; None where nothing was measured."""
        return self.n_requests / self.busy_s if self.n_requests and self.busy_s > 0 else None

    @property
    def tokens_per_s(self) -> float | None:
        """Estimated tokens per second of work; None where nothing was measured."""
        return self.n_tokens / self.busy_s if self.n_tokens and self.busy_s > 0 else None

    def since(self, earlier: "Served") -> "Served":
        """Difference to an earlier account of the same engine."""
        return Served(
            self.n_requests - earlier.n_requests,
            self.n_tokens - earlier.n_tokens,
            self.busy_s - earlier.busy_s,
        )


NOTHING: Mapping[str, str] = MappingProxyType({})
LEFT = "left"
"""Code of requests that are aborted because their worker leaves; never stored."""
FINISH_POLL_S = 0.1


class Seat:
    """Drives one engine. Times in seconds by `clock`.

    Attributes:
        taken_at: when the engine was seated; `used_at`: when it last finished a request.

    Args:
        experts: experts whose base weights the engine holds, by id.
        left_out: adapters that it was loaded without, and why.
        request_timeout_s: a request running longer is aborted and fails as `generation_timeout`.
        hang_timeout_s: an engine with work that reports nothing for so long counts as crashed, unless it
            has the attribute `watches_itself`.
        writers: who is told of the text of unfinished responses.
        takes_device: the seconds that it works are those of a device.
    """

    def __init__(
        self,
        engine_id: str,
        engine: Engine,
        *,
        experts: dict[str, Expert],
        left_out: Mapping[str, str] = NOTHING,
        clock: Clock,
        request_timeout_s: float,
        hang_timeout_s: float,
        writers: Writers | None = None,
        takes_device: bool = True,
    ) -> None:
        self.engine_id = engine_id
        self._takes_device = takes_device
        self._share_s = 0.0
        """Seconds that one request would have had of the engine, had it run all the time, where those that
        ran at once had equal parts of each."""
        self.taken_at = clock()
        self.used_at = self.taken_at
        self._served = Served()
        self._noted = Served()
        self._engine = engine
        # Asked once: whether an object keeps a protocol is found out attribute by attribute.
        self._waitable = engine if isinstance(engine, Waitable) else None
        self._timed = engine if isinstance(engine, Timed) else None
        self._weighed = engine if isinstance(engine, Weighed) else None
        # Its own signs of life are better than ours: a long generation may report nothing for minutes.
        self._watches_itself = bool(getattr(engine, "watches_itself", False))
        self._experts = experts
        self._left_out = left_out
        self._clock = clock
        self._request_timeout_s = request_timeout_s
        self._hang_timeout_s = hang_timeout_s
        self._writers = writers
        self._running: dict[str, Running] = {}
        self._last_event_at = self._polled_at = self.taken_at

    @property
    def n_running(self) -> int:
        """Number of requests that have no ending yet."""
        return len(self._running)

    @property
    def descriptor(self) -> int | None:
        """File descriptor that is readable when the engine may have news; None = it does not say so."""
        if self._waitable is None:
            return None
        descriptor = self._waitable.fileno()
        return descriptor if descriptor >= 0 else None

    @property
    def due_s(self) -> float | None:
        """Seconds until the engine has events; None = it does not know."""
        return None if self._timed is None else self._timed.due_s()

    @property
    def engine(self) -> Engine:
        """The engine that sits here."""
        return self._engine

    def weigh(self) -> EngineMemory | None:
        """Memory of the engine; None = it does not say."""
        return None if self._weighed is None else self._weighed.weigh()

    @property
    def running(self) -> list[Assignment]:
        """Assignments of the requests that have no ending yet, those begun first in front."""
        return [running.assignment for running in self._running.values()]

    @property
    def served(self) -> Served:
        """Work of the engine so far."""
        return self._served

    def served_lately(self, *, at_least_s: float = 0.0) -> Served | None:
        """Work since the last report of this method; None while that is less than so much work."""
        lately = self._served.since(self._noted)
        if not lately.n_requests or lately.busy_s < at_least_s:
            return None
        self._noted = self._served
        return lately

    def knows(self, assignment: Assignment) -> bool:
        """True if the expert of a call is one of this engine's, and can be asked."""
        return assignment.call.expert_id in self._experts and not self.lacks(assignment)

    def lacks(self, assignment: Assignment) -> bool:
        """True if the engine was loaded without the adapter of a call's expert."""
        expert = self._experts.get(assignment.call.expert_id)
        return expert is not None and expert.adapter in self._left_out

    def submit(self, assignment: Assignment) -> Ending | None:
        """Hand an assignment to the engine; an ending at once when it is refused.

        Raises:
            EngineCrashedError: the assignment counts as running then, like its neighbours.
        """
        now = self._clock()
        if not self._running:
            self._last_event_at = self._polled_at = now
        expert = self._experts.get(assignment.call.expert_id)
        if expert is None:
            return failed_ending(assignment, "expert_unavailable", "The expert is no longer in the pool.")
        if expert.adapter is not None and expert.adapter in self._left_out:
            return failed_ending(assignment, EngineLoadError.code, self._left_out[expert.adapter])
        request = _request(assignment, expert)
        on_text = None if self._writers is None else self._writers(assignment)
        self._running[request.id] = Running(assignment, now, self._share_s, on_text)
        try:
            with self._crashes():
                self._engine.submit(request)
        except EngineCrashedError:
            raise
        except BackendError as error:
            del self._running[request.id]
            return failed_ending(assignment, error.code, str(error))
        return None

    def poll(self, timeout_s: float) -> list[Ending]:
        """Advance the engine; endings of what ended.

        Raises:
            EngineCrashedError: the engine is gone or hangs; what still runs is lost.
        """
        with self._crashes():
            events = self._engine.poll(timeout_s)
        now = self._clock()
        if self._running:
            passed_s = now - self._polled_at
            self._served = self._served._replace(busy_s=self._served.busy_s + passed_s)
            self._share_s += passed_s / len(self._running)
        self._polled_at = now
        if events:
            self._last_event_at = now
        endings = [ending for event in events if (ending := self._ending(event, now)) is not None]
        if self._running and not self._watches_itself and now - self._last_event_at > self._hang_timeout_s:
            raise EngineCrashedError(
                f"engine '{self.engine_id}' reported nothing for {self._hang_timeout_s:g} s."
            )
        self._stop_overdue(now)
        return endings

    def stop_lost(self, held: Collection[int]) -> None:
        """Abort the requests of assignments that are not among these: nobody waits for them."""
        for request_id, running in self._running.items():
            if running.assignment.id not in held:
                self._stop(request_id, running, "cancelled")

    def drop(self, assignments: Iterable[Assignment]) -> None:
        """Stop the requests of these at once, without waiting for the engine to say so."""
        dropped = {assignment.id for assignment in assignments}
        for request_id, running in list(self._running.items()):
            if running.assignment.id in dropped:
                self._stop(request_id, running, "put_back")
                self._running.pop(request_id, None)

    def finish(self, *, within_s: float) -> list[Ending]:
        """Endings of what the engine has finished by now. All else is aborted, and is to be given back; an
        engine says of each of its requests which of the two it was.

        Args:
            within_s: for how long, in real seconds, an engine may take to say so.
        """
        endings: list[Ending] = []
        until = time.monotonic() + within_s
        try:
            for request_id, running in self._running.items():
                self._stop(request_id, running, LEFT)
            while self._running and (left_s := until - time.monotonic()) > 0:
                endings += self.poll(min(left_s, FINISH_POLL_S))
        except EngineCrashedError as error:
            log.warning("engine %s: ended while it was left: %s", self.engine_id, error)
        return [ending for ending in endings if ending.response.error_code != LEFT]

    def close(self) -> None:
        """Close the engine, and go on if it cannot be closed."""
        try:
            self._engine.close()
        except Exception:  # the seat must become free whatever the engine's state
            log.warning("engine %s: close failed", self.engine_id, exc_info=True)

    def _ending(self, event: Tokens | Finished | Failed, now: float) -> Ending | None:
        running = self._running.get(event.id)
        if running is None:
            return None
        if isinstance(event, Tokens):
            if running.on_text is not None:
                running.on_text(_storable(event.text))
            return None
        del self._running[event.id]
        latency_ms = 1000 * (now - running.started_at)
        engine_s = self._share_s - running.began_at_share_s if self._takes_device else 0.0
        if isinstance(event, Failed):
            code = running.stopped_as or event.error_code
            ending = failed_ending(running.assignment, code, event.error, latency_ms=latency_ms)
            blame = "prompt" if running.stopped_as else event.blame
            response = ending.response.model_copy(update={"engine_s": engine_s})
            return Ending(
                ending.assignment, response, blame, rest_s=event.rest_s or 0.0, began_at=running.started_at
            )
        self._count(running.assignment, now)
        expert = self._experts[running.assignment.call.expert_id]
        response = _response(running.assignment, event, expert, latency_ms, engine_s)
        return Ending(running.assignment, response, began_at=running.started_at)

    def _count(self, assignment: Assignment, now: float) -> None:
        n_requests, n_tokens, busy_s = self._served
        self._served = Served(n_requests + 1, n_tokens + estimated_tokens(assignment.call), busy_s)
        self.used_at = now

    def _stop_overdue(self, now: float) -> None:
        for request_id, running in self._running.items():
            if now - running.started_at > self._request_timeout_s:
                self._stop(request_id, running, "generation_timeout")

    def _stop(self, request_id: str, running: Running, code: str) -> None:
        if running.stopped_as is None:
            running.stopped_as = code
            with self._crashes():
                self._engine.abort(request_id)

    @contextmanager
    def _crashes(self) -> Iterator[None]:
        """An engine that raises what its contract does not name cannot be trusted to go on."""
        try:
            yield
        except BackendError:
            raise
        except Exception as error:
            log.exception("engine %s: unexpected error", self.engine_id)
            raise EngineCrashedError(
                f"engine '{self.engine_id}': {type(error).__name__}: {error}."
            ) from error


def failed_ending(assignment: Assignment, code: str, error: str, *, latency_ms: float = 0.0) -> Ending:
    """An abstention: the query goes on without this response."""
    call = assignment.call
    response = Response(
        expert_id=call.expert_id,
        role=call.role,
        stage=assignment.stage,
        sample_ix=call.sample_ix,
        finish_reason=FinishReason.ERROR,
        latency_ms=latency_ms,
        error_code=code,
        error=_storable(redact(error)),
    )
    return Ending(assignment, response)


def _request(assignment: Assignment, expert: Expert) -> GenerationRequest:
    return GenerationRequest(
        id=f"{assignment.id}.{assignment.attempt}",
        messages=assignment.call.messages,
        sampling=assignment.call.sampling,
        adapter=expert.adapter,
        priority=assignment.priority,
    )


def _response(
    assignment: Assignment, event: Finished, expert: Expert, latency_ms: float, engine_s: float
) -> Response:
    return Response(
        expert_id=assignment.call.expert_id,
        role=assignment.call.role,
        stage=assignment.stage,
        sample_ix=assignment.call.sample_ix,
        text=_storable(event.text),
        finish_reason=event.finish_reason,
        usage=_priced(event.usage, expert),
        latency_ms=latency_ms,
        engine_s=engine_s,
        fusion=event.fusion,
        tool_calls=tuple(_storable_call(call) for call in event.tool_calls),
        reasoning=_storable(event.reasoning),
        logprobs=tuple(_storable_logprobs(token) for token in event.logprobs),
    )


def _storable_call(call: ToolCall) -> ToolCall:
    texts = {"id": _storable(call.id), "name": _storable(call.name), "arguments": _storable(call.arguments)}
    return call.model_copy(update=texts)


def _storable_logprobs(token: TokenLogprobs) -> TokenLogprobs:
    chosen, *top = (TokenLogprob(_storable(t.token), t.logprob) for t in (token.chosen, *token.top))
    return TokenLogprobs(chosen, tuple(top))


def _priced(usage: Usage, expert: Expert) -> Usage:
    """Usage with the expert's price, unless the backend knew the cost."""
    if usage.cost_usd:
        return usage
    cost = (
        usage.prompt_tokens * expert.input_cost_per_token
        + usage.completion_tokens * expert.output_cost_per_token
    )
    return usage.model_copy(update={"cost_usd": cost}) if cost else usage


def _storable(text: str) -> str:
    """Lone surrogates (a broken escape in a remote reply) become question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
