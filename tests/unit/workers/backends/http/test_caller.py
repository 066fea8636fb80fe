"""The queue, the gate and the retries over an endpoint that does as told, on a clock moved by hand."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import ThoughtMarks
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import EngineEvent, Failed, Finished, GenerationRequest, Tokens
from tests.fakes.work import HandClock
from workers.backends.http.caller import Caller, estimated_tokens
from workers.backends.http.calls import CallPolicy, OnText, Reply
from workers.backends.http.failures import unreachable

POLICY = CallPolicy(
    max_concurrent=2,
    timeout_s=60,
    deadline_s=120,
    patience_s=60,
    retries=0,
    allowed_fails=0,
    cooldown_s=30,
    rpm=None,
    tpm=None,
    stream_from_priority=INTERACTIVE,
)


class FakeEndpoint:
    """Holds every call until it is told how it ends."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Future[Reply]] = {}
        self.asked: list[str] = []
        self.on_text: dict[str, OnText] = {}

    async def complete(self, request: GenerationRequest, *, timeout_s: float, on_text: OnText) -> Reply:
        self.asked.append(request.id)
        self.on_text[request.id] = on_text
        self.open[request.id] = asyncio.get_running_loop().create_future()
        return await self.open[request.id]

    async def close(self) -> None: ...

    def answer(self, name: str, text: str = "ok", *, n_tokens: int = 2) -> None:
        usage = Usage(prompt_tokens=n_tokens, completion_tokens=0)
        self.open[name].set_result(Reply(text, FinishReason.STOP, usage))

    def fail(self, name: str) -> None:
        self.open[name].set_exception(unreachable("gone"))


class Bench:
    """A running caller, its endpoint, its clock, and what it has emitted."""

    def __init__(self, policy: CallPolicy) -> None:
        self.clock = HandClock()
        self.endpoint = FakeEndpoint()
        self.events: list[EngineEvent] = []
        self.caller = Caller(
            "e", self.endpoint, policy, emit=self.events.append, clock=self.clock, rng=random.Random(0)
        )

    def add(self, *names: str, priority: int = 0, max_tokens: int = 10, stop: tuple[str, ...] = ()) -> None:
        sampling = Sampling(max_tokens=max_tokens, stop=stop)
        message = Message(role="user", content="Why?")
        self.caller.add([GenerationRequest(name, (message,), sampling, None, priority) for name in names])

    async def settle(self) -> None:
        """Let everything that can run do so."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and have the caller look at it, as its timers would."""
        self.clock.now += seconds
        self.caller.add(())
        await self.settle()

    @property
    def ends(self) -> dict[str, str]:
        return {
            event.id: event.text if isinstance(event, Finished) else event.error_code
            for event in self.events
            if not isinstance(event, Tokens)
        }


def play(scene: Callable[[Bench], Awaitable[None]], **policy: object) -> None:
    """Run a scene on a caller with `POLICY` changed as given."""

    async def run() -> None:
        bench = Bench(CallPolicy(**{**POLICY._asdict(), **policy}))
        main = asyncio.create_task(bench.caller.run())
        await scene(bench)
        await bench.caller.stop()
        await main

    asyncio.run(run())


def test_the_most_urgent_of_those_that_wait_is_called_next() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("low-1", "low-2")
        bench.add("high", priority=5)
        await bench.settle()
        assert bench.endpoint.asked == ["high", "low-1"]
        bench.add("higher", priority=9)
        bench.endpoint.answer("high")
        await bench.settle()
        assert bench.endpoint.asked == ["high", "low-1", "higher"]

    play(scene)


def test_requests_per_minute_hold_back_what_is_too_early() -> None:
    """rpm 2: the third call waits until the first is a minute old."""

    async def scene(bench: Bench) -> None:
        bench.add("a", "b", "c")
        await bench.settle()
        assert bench.endpoint.asked == ["a", "b"]
        await bench.pass_time(59)
        assert bench.endpoint.asked == ["a", "b"]
        await bench.pass_time(1)
        assert bench.endpoint.asked == ["a", "b", "c"]

    play(scene, rpm=2, max_concurrent=9)


def test_tokens_per_minute_count_what_was_used() -> None:
    """Each call is estimated at 1 + 10 tokens. With tpm 20 the second waits, until the first turns out
    to have used 4."""

    async def scene(bench: Bench) -> None:
        bench.add("a", "b")
        await bench.settle()
        assert bench.endpoint.asked == ["a"]
        bench.endpoint.answer("a", n_tokens=4)
        await bench.settle()
        assert bench.endpoint.asked == ["a", "b"]

    play(scene, tpm=20)


def test_a_short_outage_costs_no_answer() -> None:
    """allowed_fails 0: after one failure the others wait 30 s; the probe succeeds and they follow."""

    async def scene(bench: Bench) -> None:
        bench.add("a")
        await bench.settle()
        bench.endpoint.fail("a")
        bench.add("b", "c")
        await bench.settle()
        assert bench.endpoint.asked == ["a"]
        await bench.pass_time(30)
        assert bench.endpoint.asked == ["a", "b"]
        bench.endpoint.answer("b")
        await bench.settle()
        bench.endpoint.answer("c")
        await bench.settle()
        assert bench.ends == {"a": "expert_unavailable", "b": "ok", "c": "ok"}

    play(scene)


def test_a_long_outage_holds_nothing_up() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("a")
        await bench.settle()
        bench.endpoint.fail("a")
        bench.add("b", "c", "d")
        await bench.settle()
        await bench.pass_time(30)
        bench.endpoint.fail("b")
        await bench.settle()
        assert bench.endpoint.asked == ["a", "b"]
        assert set(bench.ends) == {"a", "b", "c", "d"}

    play(scene)


def test_an_aborted_probe_makes_room_for_another() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("a")
        await bench.settle()
        bench.endpoint.fail("a")
        bench.add("b", "c")
        await bench.settle()
        await bench.pass_time(30)
        bench.caller.abort("b")
        await bench.settle()
        assert bench.endpoint.asked == ["a", "b", "c"]
        assert bench.ends["b"] == "aborted"

    play(scene)


def test_a_call_aborted_before_its_first_step_ends_once() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("a", "b", "c")
        asyncio.get_running_loop().call_soon(bench.caller.abort, "a")
        bench.caller.abort("c")
        await bench.settle()
        assert [event.id for event in bench.events if isinstance(event, Failed)] == ["c", "a"]
        bench.endpoint.answer("b")
        await bench.settle()
        assert bench.ends == {"a": "aborted", "b": "ok", "c": "aborted"}

    play(scene)


def test_text_is_told_as_it_grows_but_not_what_a_stop_string_may_take_back() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("a", priority=INTERACTIVE, stop=("END",))
        await bench.settle()
        for text in ("one E", "ND two"):
            bench.endpoint.on_text["a"](text)
        bench.endpoint.answer("a", "one END two")
        await bench.settle()
        assert [event.text for event in bench.events if isinstance(event, Tokens)] == ["one", " "]
        assert bench.ends == {"a": "one "}

    play(scene)


def test_an_endpoint_with_a_bug_fails_one_request() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("a", "b")
        await bench.settle()
        bench.endpoint.open["a"].set_exception(KeyError("oops"))
        bench.endpoint.answer("b")
        await bench.settle()
        assert bench.ends == {"a": "bad_response", "b": "ok"}

    play(scene)


def test_tokens_are_estimated_from_characters_and_the_longest_output() -> None:
    """8 characters at 4 a token, and 100 of output."""
    messages = (Message(role="system", content="abcd"), Message(role="user", content="efgh"))
    assert estimated_tokens(GenerationRequest("r", messages, Sampling(max_tokens=100))) == 102


def test_thoughts_in_marks_that_the_pool_names_are_told_apart() -> None:
    async def scene(bench: Bench) -> None:
        bench.add("q", priority=POLICY.stream_from_priority)
        await bench.settle()
        bench.endpoint.on_text["q"]("{think} A? ")
        bench.endpoint.answer("q", "{think} A? {said}\n\nB.")
        await bench.settle()
        finished = bench.events[-1]
        assert isinstance(finished, Finished)
        assert (finished.text, finished.reasoning) == ("B.", "A?")
        assert [event.text for event in bench.events if isinstance(event, Tokens)] == ["B."]

    play(scene, marks=ThoughtMarks(open="{think}", close="{said}"))
