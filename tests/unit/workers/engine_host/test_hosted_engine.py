import os
import signal
from collections.abc import Callable, Iterator

import pytest
from pydantic import JsonValue

from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.errors import BackendError, EngineCrashedError, EngineLoadError
from orchestrator.ports.engines import Engine, Failed, Finished, Tokens
from tests.unit.workers.engine_host.hosting import SetClock, ask, ends, events, hosted, spec, text_of
from tests.unit.workers.engine_host.rogues import ROGUES
from workers.backends.scripted import ScriptedBackend
from workers.engine_host.backend import HostedBackend

HANGS: list[JsonValue] = [{"match": "hang", "hang": True}]


@pytest.fixture(scope="module")
def backend() -> Iterator[HostedBackend]:
    """Shared: children are given back and used again, as in a worker."""
    backend = hosted()
    yield backend
    backend.close()


def crash_of(engine: Engine, *, between: Callable[[], None] = lambda: None) -> str:
    """Poll until the engine is gone; what it died of."""
    try:
        for _ in range(1000):
            engine.poll(0.05)
            between()
    except EngineCrashedError as error:
        return str(error)
    raise AssertionError("the engine lives")


def test_texts_are_those_of_the_inner_engine(backend: HostedBackend) -> None:
    inner = ScriptedBackend().load(spec(), ())
    engine = backend.load(spec(), ())
    for question in ("one", "zwei — 二", "x" * 100_000):
        assert text_of(engine, question) == text_of(inner, question)
    engine.close()


def test_events_keep_their_order_and_fields(backend: HostedBackend) -> None:
    engine = backend.load(spec(answers={"q": "a b c"}), ())
    inner = ScriptedBackend().load(spec(answers={"q": "a b c"}), ())
    for each in (engine, inner):
        each.submit(ask("1", "q", priority=INTERACTIVE))
    found = events(engine, 1)
    assert found == events(inner, 1)
    assert isinstance(found[0], Tokens)
    engine.close()


def test_refused_request_fails_alone(backend: HostedBackend) -> None:
    engine = backend.load(spec(), ())
    engine.submit(ask("long", "word " * 5000))
    engine.submit(ask("short"))
    found = ends(engine, 2)
    assert isinstance(found["long"], Failed)
    assert found["long"].error_code == "context_exceeded"
    assert isinstance(found["short"], Finished)
    engine.close()


def test_text_that_is_not_unicode_is_refused_and_the_engine_lives_on(backend: HostedBackend) -> None:
    engine = backend.load(spec(), ())
    with pytest.raises(BackendError, match="Unicode"):
        engine.submit(ask("bad", "\ud800"))
    assert text_of(engine, "good")
    engine.close()


def test_killed_child_is_a_crash_with_its_cause_and_a_new_engine_loads(backend: HostedBackend) -> None:
    engine = backend.load(spec(rules=HANGS), ())
    engine.submit(ask("1", "hang"))
    os.kill(engine.pid, signal.SIGKILL)
    assert "killed (signal 9), most likely because memory ran out" in crash_of(engine)
    with pytest.raises(EngineCrashedError, match="Load it again"):
        engine.submit(ask("2"))
    engine.close()
    again = backend.load(spec(), ())
    assert text_of(again, "hello")
    again.close()


def test_what_finished_before_the_end_is_reported_first(backend: HostedBackend) -> None:
    engine = backend.load(spec(rules=[{"match": "die", "exit_code": 7, "delay_s": 0.05}]), ())
    engine.submit(ask("good"))
    engine.submit(ask("bad", "die"))
    assert isinstance(ends(engine, 1)["good"], Finished)
    assert "exited with code 7" in crash_of(engine)
    engine.close()


def test_crash_of_the_inner_engine_carries_its_reason(backend: HostedBackend) -> None:
    engine = backend.load(spec(rules=[{"match": "die", "crash": True}]), ())
    engine.submit(ask("1", "die"))
    assert "as its script asks" in crash_of(engine)
    engine.close()


def test_silent_step_loop_is_killed_as_hanging() -> None:
    clock = SetClock()
    backend = hosted(clock=clock, hang_s=300)
    engine = backend.load(spec(rules=HANGS), ())
    engine.submit(ask("1", "hang"))
    os.kill(engine.pid, signal.SIGSTOP)
    # Heartbeats sent before the stop may still arrive.
    assert "silent for 300 s under 1 requests" in crash_of(engine, between=clock.pass_minutes)
    with pytest.raises(ProcessLookupError):
        os.kill(engine.pid, 0)
    engine.close()
    backend.close()


def test_step_loop_that_works_on_a_long_request_is_no_hang() -> None:
    clock = SetClock()
    backend = hosted(clock=clock, hang_s=300)
    engine = backend.load(spec(rules=HANGS), ())
    engine.submit(ask("1", "hang"))
    for _ in range(2):
        clock.now += 200
        memory = engine.memory
        while engine.memory is memory:  # until a heartbeat comes
            assert engine.poll(0.1) == []
    engine.close()
    backend.close()


def test_idle_engine_is_no_hang() -> None:
    clock = SetClock()
    backend = hosted(clock=clock, hang_s=300)
    engine = backend.load(spec(), ())
    clock.now += 1000
    assert engine.poll(0.0) == []
    assert text_of(engine, "hello")
    engine.close()
    backend.close()


def test_poll_returns_within_its_time(backend: HostedBackend) -> None:
    engine = backend.load(spec(rules=HANGS), ())
    engine.submit(ask("1", "hang"))
    os.kill(engine.pid, signal.SIGSTOP)
    assert engine.poll(0.05) == []
    for number in range(64):  # far more than a pipe holds
        engine.submit(ask(f"big{number}", "x" * 100_000))
    assert engine.poll(0.0) == []
    os.kill(engine.pid, signal.SIGCONT)
    found = ends(engine, 64)
    assert set(found) == {f"big{number}" for number in range(64)}
    engine.close()


def test_prints_of_libraries_do_not_reach_the_pipe() -> None:
    backend = hosted(f"{ROGUES}:ChattyBackend")
    engine = backend.load(spec(), ())
    assert text_of(engine, "hello")
    engine.close()
    backend.close()


def test_unexpected_error_of_a_step_is_a_crash_and_of_a_load_a_load_error() -> None:
    backend = hosted(f"{ROGUES}:RaisingBackend")
    with pytest.raises(EngineLoadError, match="RuntimeError: a tensor has the wrong shape"):
        backend.load(spec().model_copy(update={"model": "broken"}), ())
    engine = backend.load(spec(), ())
    engine.submit(ask("1"))
    assert "ValueError: illegal memory access" in crash_of(engine)
    engine.close()
    backend.close()


def test_calls_beyond_the_port_reach_engines_that_offer_them() -> None:
    backend = hosted(f"{ROGUES}:SleepyBackend")
    engine = backend.load(spec(), ())
    engine.sleep(2)
    engine.wake()
    with pytest.raises(BackendError, match="no level 3"):
        engine.sleep(3)
    with pytest.raises(BackendError, match="does not offer 'add_adapter'"):
        engine.add_adapter("somewhere")
    assert text_of(engine, "still here")
    engine.close()
    backend.close()


def test_memory_is_reported_after_the_load(backend: HostedBackend) -> None:
    engine = backend.load(spec(), ())
    assert engine.memory is not None
    assert 0.01 < engine.memory.rss_gib < 8
    engine.close()


def test_stats_of_an_engine_that_keeps_none_are_an_error() -> None:
    backend = hosted()
    engine = backend.load(spec(), ())
    with pytest.raises(BackendError, match="does not offer 'stats'"):
        engine.stats()
    engine.close()
    backend.close()
