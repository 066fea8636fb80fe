import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import EngineCrashedError, EngineLoadError, UnknownNameError
from tests.unit.workers.engine_host.hosting import ROOT, ask, hosted, spec, text_of
from tests.unit.workers.engine_host.rogues import ROGUES
from workers.engine_host.backend import HostedBackend


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_next_engine_is_loaded_into_the_same_child() -> None:
    backend = hosted()
    first = backend.load(spec("one", default="echo"), ())
    first.submit(ask("unfinished"))
    first.close()
    first.close()
    second = backend.load(spec("two"), ())
    assert second.pid == first.pid
    assert text_of(second, "hello").startswith("answer-")
    assert backend.n_loads == 2
    with pytest.raises(EngineCrashedError, match="closed"):
        first.poll(0)
    second.close()
    backend.close()
    assert not is_alive(second.pid)


def test_child_that_keeps_memory_is_replaced() -> None:
    backend = hosted(f"{ROGUES}:HoardingBackend")
    first = backend.load(spec("one"), ())
    first.close()
    assert not is_alive(first.pid)
    second = backend.load(spec("two"), ())
    assert second.pid != first.pid
    second.close()
    backend.close()


def test_engines_of_one_backend_are_resident_side_by_side() -> None:
    backend = hosted()
    one = backend.load(spec("one", default="echo"), ())
    two = backend.load(spec("two", answers={"hello": "two"}), ())
    assert (text_of(one, "hello"), text_of(two, "hello")) == ("hello", "two")
    one.close()
    assert text_of(two, "hello") == "two"
    two.close()
    backend.close()


def test_prepared_engine_is_found_loaded_and_the_other_works_meanwhile() -> None:
    backend = hosted(n_spares=1)
    slow = spec("slow", load_s=0.5)
    working = backend.load(spec("working"), ())
    assert backend.prepare(slow, ())
    assert backend.prepare(slow, ())
    assert text_of(working, "hello")
    working.close()
    engine = backend.load(slow, ())
    assert engine.pid != working.pid
    assert text_of(engine, "hello")
    again = backend.load(spec("third"), ())
    assert again.pid == working.pid
    for each in (engine, again):
        each.close()
    backend.close()


def test_prepared_engine_that_fails_is_loaded_again_alone() -> None:
    backend = hosted()
    broken = spec("broken", fail_load="no memory")
    assert backend.prepare(broken, ())
    with pytest.raises(EngineLoadError, match="no memory") as caught:
        backend.load(broken, ())
    assert caught.value.param == "options.fail_load"
    backend.close()


def test_nothing_is_prepared_beyond_the_memory_there_is() -> None:
    backend = hosted()
    assert not backend.prepare(spec("huge").model_copy(update={"memory_gib": 1e6}), ())
    assert not backend.prepare(spec("unknown").model_copy(update={"memory_gib": None}), ())
    backend.close()


def test_child_that_dies_while_it_loads_is_a_load_error() -> None:
    backend = hosted(f"{ROGUES}:StuckBackend")
    stuck = spec("stuck")
    assert backend.prepare(stuck, ())
    child = backend._prepared.child  # type: ignore[union-attr]
    os.kill(child.pid, signal.SIGKILL)
    backend._patience = backend._patience._replace(load_s=0.5)
    with pytest.raises(EngineLoadError, match=r"did not answer within 0\.5 s"):
        backend.load(stuck, ())
    assert not is_alive(child.pid)
    backend.close()


def test_spare_is_started_ahead_and_survives_a_crash_of_the_engine() -> None:
    backend = hosted(n_spares=1)
    backend.warm_up(spec())
    pool = next(iter(backend._pools.values()))
    assert pool.n_idle == 1
    engine = backend.load(spec(), ())
    assert pool.n_idle == 1
    os.kill(engine.pid, signal.SIGKILL)
    engine.close()
    second = backend.load(spec(), ())
    assert text_of(second, "hello")
    second.close()
    backend.close()
    assert pool.n_idle == 0


def test_engines_share_children_only_with_equal_variables() -> None:
    backend = HostedBackend("scripted", env=lambda spec: {"GROUP": spec.id[0]}, n_spares=0)
    pids = []
    for name in ("a1", "b1", "a2"):
        engine = backend.load(spec(name), ())
        pids.append(engine.pid)
        engine.close()
    assert pids[0] == pids[2] != pids[1]
    backend.close()


def test_interpreter_that_does_not_exist_is_named() -> None:
    backend = HostedBackend("scripted", python="/nowhere/python")
    with pytest.raises(EngineLoadError, match="/nowhere/python") as caught:
        backend.load(spec(), ())
    assert caught.value.param == "options.python"


def test_missing_library_is_a_load_error() -> None:
    backend = HostedBackend("no.such.module:Backend", n_spares=0)
    with pytest.raises(EngineLoadError, match=r"No module named 'no"):
        backend.load(spec(), ())
    backend.close()


def test_unknown_inner_backend_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'scripted'"):
        HostedBackend("scriptd")


def test_garbage_on_the_pipe_ends_the_child(tmp_path: Path) -> None:
    babbler = tmp_path / "python"
    babbler.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nchannel = int(sys.argv[sys.argv.index('--') + 1])\n"
        "os.write(channel, b'Hello, world! ' * 9)\ntime.sleep(3600)\n"
    )
    babbler.chmod(0o755)
    backend = HostedBackend("scripted", python=str(babbler), n_spares=0)
    with pytest.raises(EngineLoadError, match="carries garbage: b'Hello"):
        backend.load(spec(), ())
    backend.close()


PARENT = """
import os, signal, sys
from tests.unit.workers.engine_host.hosting import ask, hosted, spec
backend = hosted(n_spares=1)
busy = backend.load(spec("busy", rules=[{"hang": True}]), ())
busy.submit(ask("1"))
spare = next(iter(backend._pools.values()))._idle[0]
stopped = backend.load(spec("stopped"), ())
os.kill(stopped.pid, signal.SIGSTOP)
print(busy.pid, spare.pid, stopped.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_end_with_a_killed_parent_whatever_they_do() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, env=env, check=False)
    pids = [int(pid) for pid in run.stdout.split()]
    assert len(pids) == 3, run.stderr
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        os.sched_yield()
    assert [pid for pid in pids if is_alive(pid)] == []
