"""Engines in children for the tests: real processes, scripted engines."""

import os
import time
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.clock import Clock
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest, Tokens
from workers.engine_host.backend import HostedBackend, Patience

ROOT = Path(__file__).parents[4]


class SetClock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_minutes(self) -> None:
        self.now += 301


def hosted(
    inner: str = "scripted", *, n_spares: int = 0, clock: Clock = time.monotonic, **patience: float
) -> HostedBackend:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return HostedBackend(
        inner,
        env={"PYTHONPATH": path},
        n_spares=n_spares,
        tolerance_gib=0.0625,
        patience=Patience(**patience),
        clock=clock,
    )


def spec(name: str = "e", **options: JsonValue) -> EngineSpec:
    return EngineSpec(id=name, backend="scripted", model="none", memory_gib=0.1, options=options)


def ask(name: str, text: str = "hello", *, priority: int = 0) -> GenerationRequest:
    return GenerationRequest(
        name, (Message(role="user", content=text),), Sampling(max_tokens=16), None, priority
    )


def ends(engine: Engine, n: int) -> dict[str, Finished | Failed]:
    """The next n ends, by request."""
    found: dict[str, Finished | Failed] = {}
    for event in events(engine, n):
        if not isinstance(event, Tokens):
            assert event.id not in found
            found[event.id] = event
    return found


def events(engine: Engine, n_ends: int) -> list[EngineEvent]:
    """Events up to the n-th end; fails if they do not come."""
    found: list[EngineEvent] = []
    for _ in range(1000):
        found += engine.poll(0.1)
        if sum(not isinstance(event, Tokens) for event in found) >= n_ends:
            return found
    raise AssertionError("requests did not end")


def text_of(engine: Engine, question: str) -> str:
    engine.submit(ask("q", question))
    end = ends(engine, 1)["q"]
    assert isinstance(end, Finished), end
    return end.text
