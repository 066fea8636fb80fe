"""The event loop's side of a remote engine: a queue by priority, calls beside each other, retries."""

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.queries import rough_tokens
from orchestrator.errors import UnsupportedError
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.backends.http.breaker import Breaker, Refuse, Wait
from workers.backends.http.calls import CallPolicy, Endpoint, OnText, Reply
from workers.backends.http.failures import CallError, bad_response, timed_out
from workers.backends.http.gate import Gate, Pass, Signal
from workers.backends.http.limits import RateLimits
from workers.backends.http.retry import retrying
from workers.backends.stop_strings import cut_at_stop, held_back
from workers.backends.thoughts import Said, split_text

log = logging.getLogger(__name__)

Emit = Callable[[EngineEvent], None]


class _Queued(NamedTuple):
    minus_priority: int
    number: int
    request: GenerationRequest


class Caller:
    """Everything but `__init__` runs on the event loop.

    Args:
        emit: gets every event; each request added ends in exactly one Finished or Failed.
        rng: of the jitter between attempts.
    """

    def __init__(
        self,
        engine_id: str,
        endpoint: Endpoint,
        policy: CallPolicy,
        *,
        emit: Emit,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._engine_id = engine_id
        self._endpoint = endpoint
        self._policy = policy
        self._emit = emit
        self._clock = clock
        self._rng = rng
        self._changed = Signal()
        self._gate = Gate(
            Breaker(
                allowed_fails=policy.allowed_fails,
                cooldown_s=policy.cooldown_s,
                patience_s=policy.patience_s,
                clock=clock,
            ),
            RateLimits(rpm=policy.rpm, tpm=policy.tpm, clock=clock),
            changed=self._changed,
            clock=clock,
        )
        self._queue: list[_Queued] = []
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count()
        self._stopped = False

    async def run(self) -> None:
        """Start calls until stopped."""
        while not self._stopped:
            await self._changed.wait(self._admit())

    async def stop(self) -> None:
        """Cancel all calls and wait for their end."""
        self._stopped = True
        self._changed.ring()
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    def hold_to(self, n_calls: int) -> None:
        """Make no more than so many calls at once, >= 1, nor more than the policy allows."""
        most = min(n_calls, self._policy.max_concurrent)
        self._policy = self._policy._replace(max_concurrent=most)

    def add(self, requests: Sequence[GenerationRequest]) -> None:
        """Queue requests, larger priority first, then first come."""
        for request in requests:
            heapq.heappush(self._queue, _Queued(-request.priority, next(self._numbers), request))
        self._changed.ring()

    def abort(self, request_id: str) -> None:
        """Stop a request; it ends in Failed('aborted') unless it has finished already."""
        call = self._calls.get(request_id)
        if call is not None:
            # Not at once: a task that is cancelled before its first step never runs its clean-up.
            asyncio.get_running_loop().call_soon(call.cancel)
            return
        kept = [queued for queued in self._queue if queued.request.id != request_id]
        if len(kept) < len(self._queue):
            self._queue = kept
            heapq.heapify(self._queue)
            self._emit(_aborted(request_id))

    def _admit(self) -> float | None:
        """Start what may start; seconds until more may, None = when something changes."""
        while self._queue and len(self._calls) < self._policy.max_concurrent:
            request = self._queue[0].request
            verdict = self._gate.verdict(estimated_tokens(request))
            if isinstance(verdict, Wait):
                return verdict.seconds
            heapq.heappop(self._queue)
            if isinstance(verdict, Refuse):
                self._emit(_failed(request, verdict.error))
                continue
            granted = self._gate.enter(estimated_tokens(request))
            self._calls[request.id] = asyncio.create_task(self._serve(request, granted))
        return None

    async def _serve(self, request: GenerationRequest, granted: Pass) -> None:
        """One request to its end."""
        event: EngineEvent
        try:
            event = await self._answer(request, granted)
        except CallError as error:
            event = _failed(request, error)
        except asyncio.CancelledError:
            event = _aborted(request.id)
        except Exception as error:  # one request must not take its neighbours along
            log.exception("engine %s: request %s failed unexpectedly", self._engine_id, request.id)
            event = _failed(request, bad_response(f"{type(error).__name__} while it was read."))
        del self._calls[request.id]
        self._emit(event)
        self._changed.ring()

    async def _answer(self, request: GenerationRequest, granted: Pass) -> Finished:
        until = self._clock() + self._policy.deadline_s
        tell = _Teller(self._emit, request) if self._is_streamed(request) else None
        passes: list[Pass] = [granted]

        async def attempt() -> Reply:
            granted = (
                passes.pop() if passes else await self._gate.pass_by(estimated_tokens(request), until=until)
            )
            if tell is not None:
                tell.begin()
            return await self._attempt(request, granted, until=until, tell=tell)

        retry = retrying(retries=self._policy.retries, deadline_s=self._policy.deadline_s, rng=self._rng)
        reply: Reply = await retry(attempt)
        if request.sampling.logprobs is not None and reply.text and not reply.logprobs:
            raise CallError(
                "its server gave no log probabilities, as engines of 'vllm' do.", code=UnsupportedError.code
            )
        said = Said(reply.text, reply.reasoning)
        if self._policy.marks is not None and not said.reasoning:
            said = split_text(said.text, self._policy.marks, lone_close=True)
        text, stopped = cut_at_stop(said.text, request.sampling.stop)
        if tell is not None:
            tell.rest(text)
        reason = FinishReason.STOP if stopped and not reply.tool_calls else reply.finish_reason
        return Finished(
            request.id,
            text,
            reason,
            reply.usage,
            reply.logprobs,
            tool_calls=reply.tool_calls,
            reasoning=said.reasoning,
        )

    def _listener(self, tell: "_Teller | None") -> OnText:
        """A text that may begin with a thought is told at its end."""
        return _ignore if tell is None or self._policy.marks is not None else tell.more

    async def _attempt(
        self, request: GenerationRequest, granted: Pass, *, until: float, tell: "_Teller | None"
    ) -> Reply:
        timeout_s = max(0.0, min(self._policy.timeout_s, until - self._clock()))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._endpoint.complete(
                    request, timeout_s=timeout_s, on_text=self._listener(tell)
                )
        except TimeoutError:
            error = timed_out(f"no whole answer within {timeout_s:.3g} s.")
            self._gate.fail(granted, error)
            raise error from None
        except CallError as error:
            self._gate.fail(granted, error)
            raise
        except BaseException:
            self._gate.leave(granted)
            raise
        usage = reply.usage
        self._gate.succeed(granted, n_tokens=usage.prompt_tokens + usage.completion_tokens)
        return reply

    def _is_streamed(self, request: GenerationRequest) -> bool:
        return request.priority >= self._policy.stream_from_priority


class _Teller:
    """Reports a text as it grows. A second attempt is reported from where the first one ended, and
    only as long as it says the same. The work is linear in the pieces."""

    def __init__(self, emit: Emit, request: GenerationRequest) -> None:
        self._emit = emit
        self._id = request.id
        self._stop = request.sampling.stop
        self._told: list[str] = []
        self.begin()

    def begin(self) -> None:
        """Another attempt writes the text from its beginning."""
        self._before = "".join(self._told)
        self._at = 0
        self._held = ""
        self._is_over = False

    def more(self, piece: str) -> None:
        """What may still become a stop string waits for the next piece."""
        if self._is_over:
            return
        text, self._is_over = cut_at_stop(self._held + piece, self._stop)
        safe = text if self._is_over else held_back(text, self._stop)
        self._held = text[len(safe) :]
        self._pass(safe)

    def rest(self, text: str) -> None:
        """The whole text at last."""
        told = "".join(self._told)
        if len(text) > len(told) and text.startswith(told):
            self._emit(Tokens(self._id, text[len(told) :]))
            self._told.append(text[len(told) :])

    def _pass(self, text: str) -> None:
        same = self._before[self._at : self._at + len(text)]
        if not text.startswith(same):
            self._is_over = True
            return
        self._at += len(text)
        if len(text) > len(same):
            self._told.append(text[len(same) :])
            self._emit(Tokens(self._id, text[len(same) :]))


def estimated_tokens(request: GenerationRequest) -> int:
    """Tokens of the prompt, from its length, and of the longest output."""
    n_chars = sum(message.n_chars for message in request.messages)
    return rough_tokens(n_chars) + request.sampling.expected_tokens


def _ignore(_: str) -> None:
    """Nobody listens to this request's text."""


def _failed(request: GenerationRequest, error: CallError) -> Failed:
    return Failed(request.id, error.code, str(error), error.blame, error.retry_after_s)


def _aborted(request_id: str) -> Failed:
    return Failed(request_id, "aborted", "the request was aborted.")
