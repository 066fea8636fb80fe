"""Engines of `command` for tests: real processes of a small server, which a tag tells from all others."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Engine, EngineEvent, Failed, Finished, GenerationRequest, Tokens
from tests.harness.processes import ROOT
from tests.harness.waiting import wait_for
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine

ODD_SERVER = ROOT / "tests/harness/odd_server.py"


def command(tag: str, *act: str) -> str:
    """The small server; `tag` stands in its list of arguments."""
    words = [sys.executable, "-I", "-S", str(ODD_SERVER), "{port}", *act, "--tag", tag]
    return " ".join(word if word == "{port}" else shlex.quote(word) for word in words)


def spec(tag: str, *act: str, name: str = "e", model: str = "m", **options: JsonValue) -> EngineSpec:
    given: dict[str, JsonValue] = {
        "command": command(tag, *act),
        "health": "/health",
        "ready_s": 60,
        **options,
    }
    return EngineSpec(id=name, backend="command", model=model, options=given)


@contextmanager
def loaded(wanted: EngineSpec, backend: CommandBackend | None = None) -> Iterator[CommandEngine]:
    engine = (backend or CommandBackend()).load(wanted, ())
    try:
        yield engine
    finally:
        engine.close()


def tagged(tag: str) -> list[int]:
    """Processes, other than this one, that have the tag among their arguments and have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
            if tag.encode() in words and state not in (b"Z", b"X"):
                found.append(int(folder.name))
    return found


def await_end_of(tag: str, *, within_s: float = 30) -> None:
    """Until nothing with the tag runs any more."""
    wait_for(f"the end of all with the tag {tag}", lambda: not tagged(tag), within_s=within_s)


def ask(name: str, text: str = "hello") -> GenerationRequest:
    return GenerationRequest(name, (Message(role="user", content=text),), Sampling(max_tokens=16), None, 0)


def events(engine: Engine, n_ends: int) -> list[EngineEvent]:
    """Events up to the n-th end; fails if they do not come."""
    found: list[EngineEvent] = []

    def have_ended() -> bool:
        found.extend(engine.poll(0.05))  # returns at once while nothing runs
        return sum(not isinstance(event, Tokens) for event in found) >= n_ends

    wait_for("the end of requests", have_ended, within_s=100)
    return found


def ends(engine: Engine, n: int) -> dict[str, Finished | Failed]:
    return {event.id: event for event in events(engine, n) if not isinstance(event, Tokens)}


def text_of(engine: Engine, question: str = "hello") -> str:
    engine.submit(ask("q", question))
    end = ends(engine, 1)["q"]
    assert isinstance(end, Finished), end
    return end.text
