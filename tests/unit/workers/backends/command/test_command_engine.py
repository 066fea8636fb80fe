"""Engines whose server a command starts: real processes, good and bad, of which nothing is left."""

import logging
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineCrashedError, EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Failed, Finished
from tests.fakes.openai_server import LocalServer, QuietHandler
from tests.harness.waiting import wait_for
from tests.unit.workers.backends.command.commands import (
    ask,
    await_end_of,
    command,
    ends,
    events,
    loaded,
    spec,
    tagged,
    text_of,
)
from workers.backends.command import tree
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine
from workers.backends.command.ports import free_port


@pytest.fixture
def tag(tmp_path: Path) -> Iterator[str]:
    """A word among the arguments of this test's processes alone, of which none is left in the end."""
    yield tmp_path.name
    await_end_of(tmp_path.name)


def test_an_engine_answers_and_ends_with_its_processes(tag: str) -> None:
    backend = CommandBackend()
    engine = backend.load(spec(tag), ())
    assert text_of(engine, "hello") == "m says: hello"
    assert tagged(tag) == [engine.pid]
    weighed = engine.weigh()
    assert weighed is not None
    assert 0 < weighed.held_gib <= weighed.peak_gib < 1
    engine.close()
    engine.close()
    assert tagged(tag) == []
    assert 0 < backend.peak_gib["e"] < 1
    with pytest.raises(EngineCrashedError, match="closed"):
        engine.poll(0)


def test_calls_beside_each_other_are_as_many_as_the_server_has_slots(tag: str) -> None:
    with loaded(spec(tag, concurrent=2)) as engine:
        for number in range(9):
            engine.submit(ask(str(number), f"question {number}"))
        assert {end.text for end in ends(engine, 9).values() if isinstance(end, Finished)} == {
            f"m says: question {number}" for number in range(9)
        }


def test_model_is_what_the_server_lists_or_the_option_says(tag: str) -> None:
    with loaded(spec(tag, "fine", "--models", "listed")) as engine:
        assert text_of(engine) == "listed says: hello"
    with loaded(spec(tag, "fine", "--models", "other,m,more")) as engine:
        assert text_of(engine) == "m says: hello"
    with loaded(spec(tag, "fine", "--models", "other,m,more", model_id="more")) as engine:
        assert text_of(engine) == "more says: hello"


def test_model_that_the_server_does_not_have_is_a_failed_load(tag: str) -> None:
    with pytest.raises(EngineLoadError, match=r"writes no token: HTTP 404: no model m .*model_id"):
        CommandBackend().load(spec(tag, "fine", "--models", "one,two"), ())


def test_key_is_made_for_the_server_or_taken_from_the_pool_file(tag: str) -> None:
    with loaded(spec(tag, env={"ODD_KEY": "{api_key}"})) as engine:
        assert text_of(engine) == "m says: hello"
    with loaded(spec(tag, "fine", "--key", "{api_key}")) as engine:
        assert text_of(engine) == "m says: hello"
    with pytest.raises(EngineLoadError, match="401"):
        CommandBackend({"e": EngineAccess()}).load(spec(tag, "fine", "--key", "another"), ())


# ── loads that fail ───────────────────────────────────────────────────────────────────────────────


def test_command_that_dies_at_its_start_is_told_with_its_last_lines_and_without_secrets(
    tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN_OF_MINE", "planted-93c1e7d2")
    wanted = spec(tag, "dies", env={"HF_TOKEN": "os.environ/A_TOKEN_OF_MINE"})
    with pytest.raises(EngineLoadError) as caught:
        CommandBackend().load(wanted, ())
    message = str(caught.value)
    assert "engine 'e': its command ended with code 3." in message
    assert "error: no such option --bogus" in message
    assert "loading the model" in message
    assert "planted-93c1e7d2" not in message
    assert not caught.value.is_lasting


def test_first_error_of_a_start_is_told_beside_the_last_lines(tag: str, tmp_path: Path) -> None:
    """What servers write after it hands on the news of it, level by level."""
    script = tmp_path / "serve.py"
    ends = "\\n".join(f"engine core failed, level {n}" for n in range(9))
    script.write_text(
        "print('WARNING may end in OSError: too many open files')\n"
        "print('Traceback (most recent call last):')\n"
        "print('ValueError: the head has 7 rows')\n"
        f"print('{ends}')\n"
        "print('RuntimeError: see the root cause above')\nraise SystemExit(1)\n"
    )
    options = {"command": f"{sys.executable} {script} {{port}} {tag}"}
    with pytest.raises(EngineLoadError) as caught:
        CommandBackend().load(EngineSpec(id="e", backend="command", model="m", options=options), ())
    assert "ended with code 1. It said: ValueError: the head has 7 rows. Its last lines: " in str(
        caught.value
    )
    assert str(caught.value).endswith("level 8 | RuntimeError: see the root cause above")


def test_error_that_the_last_lines_hold_is_told_once(tag: str) -> None:
    with pytest.raises(EngineLoadError) as caught:
        CommandBackend().load(spec(tag, "dies"), ())
    assert str(caught.value).count("no such option --bogus") == 1


def test_command_that_ends_well_at_once_is_no_server(tag: str) -> None:
    with pytest.raises(EngineLoadError, match=r"ended with code 0\. It wrote nothing"):
        CommandBackend().load(spec(tag, "exits"), ())


def test_command_that_goes_to_the_background_is_refused_and_ended(tag: str) -> None:
    with pytest.raises(EngineLoadError, match="stay in the foreground") as caught:
        CommandBackend().load(spec(tag, "daemon"), ())
    assert caught.value.is_lasting


def test_program_that_is_not_there_or_is_none_is_lasting(tag: str, tmp_path: Path) -> None:
    no_program = tmp_path / "weights.txt"
    no_program.write_text("no program")
    no_program.chmod(0o755)
    for program, why in (
        ("no-such-program-7", "is not there on PATH"),
        (str(no_program), "cannot be started"),
    ):
        wanted = EngineSpec(id="e", backend="command", model="m", options={"command": f"{program} {{port}}"})
        with pytest.raises(EngineLoadError, match=why) as caught:
            CommandBackend().load(wanted, ())
        assert caught.value.is_lasting
        assert caught.value.param == "options.command"


def test_script_whose_program_is_missing_is_lasting(tag: str, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\nno-such-program-7 $1\n")
    script.chmod(0o755)
    wanted = EngineSpec(id="e", backend="command", model="m", options={"command": f"{script} {{port}}"})
    with pytest.raises(EngineLoadError, match=r"ended with code 127\..*no-such-program-7") as caught:
        CommandBackend().load(wanted, ())
    assert caught.value.is_lasting


@pytest.mark.parametrize(
    ("act", "seen"),
    [("never", "/health: .*thinking about it"), ("unready", "/health: HTTP 503"), ("mute", "said nothing")],
)
def test_server_that_is_not_ready_in_time_is_ended(tag: str, act: str, seen: str) -> None:
    with pytest.raises(EngineLoadError, match=rf"not ready within 2 s: .*{seen}") as caught:
        CommandBackend().load(spec(tag, act, ready_s=2), ())
    assert caught.value.param == "options.ready_s"
    assert not caught.value.is_lasting


@pytest.mark.parametrize("act", ["warms", "early"])
def test_server_that_loads_its_model_is_waited_for(tag: str, act: str) -> None:
    """One that says so by its health, and one that says that it is well and is not: 503 at first."""
    with loaded(spec(tag, act, "12")) as engine:
        assert text_of(engine) == "m says: hello"


@pytest.mark.parametrize(("act", "seen"), [("six", r"\[::1\]:{port}"), ("elsewhere", r"127\.0\.0\.1:\d+")])
def test_server_that_listens_elsewhere_is_told_where(tag: str, act: str, seen: str) -> None:
    port = free_port()
    backend = CommandBackend(ports=lambda: port)
    where = seen.replace("{port}", str(port))
    with pytest.raises(EngineLoadError, match=rf"It listens at {where}, not at 127\.0\.0\.1:{port}\."):
        backend.load(spec(tag, act, ready_s=2), ())


def test_server_that_is_well_and_writes_nothing_but_failures_is_not_waited_for(tag: str) -> None:
    with pytest.raises(EngineLoadError, match=r"writes no token: HTTP 500: the model is gone"):
        CommandBackend().load(spec(tag, "broken", ready_s=3600), ())


def test_server_without_such_a_health_path_is_ready_when_it_writes(tag: str) -> None:
    with loaded(spec(tag, "no-health")) as engine:
        assert text_of(engine) == "m says: hello"
    with loaded(spec(tag, "no-health", health=None)) as engine:
        assert text_of(engine) == "m says: hello"


def test_command_finds_nothing_to_read_and_no_terminal(tag: str) -> None:
    with loaded(spec(tag, "reads")) as engine:
        assert engine._up.process.last_lines() == "read '' | there is no terminal"


def test_hundred_megabytes_of_output_hold_nobody_up_and_are_not_kept(tag: str) -> None:
    with loaded(spec(tag, "loud")) as engine:
        assert text_of(engine) == "m says: hello"
        assert engine._up.process.last_lines().endswith("listening")
        assert len(engine._up.process._tail) <= 2 * 65_536


# ── ports ─────────────────────────────────────────────────────────────────────────────────────────


def test_port_that_was_taken_in_between_is_exchanged_for_another(tag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        with loaded(spec(tag), CommandBackend(ports=lambda: next(ports))) as engine:
            assert text_of(engine) == "m says: hello"


class Stranger(QuietHandler):
    """Another's server: well, and ready to answer what was not meant for it."""

    def do_GET(self) -> None:
        self.reply(200, b'{"data": [{"id": "stranger"}]}')

    def do_POST(self) -> None:
        self.reply(200, b'{"choices": [{"message": {"content": "stolen"}, "finish_reason": "stop"}]}')


@pytest.mark.parametrize("act", ["fine", "insists"])
def test_stranger_at_the_port_is_never_taken_for_the_server(
    tag: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the command ends because of that, or goes on without its port."""
    with LocalServer(Stranger) as stranger:
        ports = iter([int(stranger.url.split(":")[2].removesuffix("/v1")), free_port()])
        # The stranger came after the look that found the port free.
        monkeypatch.setattr("workers.backends.command.starting.is_free", free_at_first())
        with loaded(spec(tag, act), CommandBackend(ports=lambda: next(ports))) as engine:
            assert text_of(engine) == "m says: hello"


def free_at_first() -> object:
    """A look at ports that finds every port free the first time, and then is right."""
    from workers.backends.command.ports import is_free

    looked: set[int] = set()

    def look(port: int) -> bool:
        first = port not in looked
        looked.add(port)
        return first or is_free(port)

    return look


# ── engines that die ──────────────────────────────────────────────────────────────────────────────


def crash(engine: CommandEngine) -> str:
    """Why the engine is gone, once it is."""
    with pytest.raises(EngineCrashedError) as caught:
        events(engine, 1000)
    return str(caught.value)


def test_server_that_dies_in_the_middle_is_a_crash_with_its_last_lines(tag: str) -> None:
    with loaded(spec(tag, "dies-later", "2")) as engine:
        assert text_of(engine) == "m says: hello"
        for number in range(3):
            engine.submit(ask(str(number)))
        said = crash(engine)
        assert "its command ended with code 9" in said
        assert "CUDA error: out of memory" in said
        with pytest.raises(EngineCrashedError, match="Load it again"):
            engine.submit(ask("more"))


def test_server_that_the_kernel_kills_is_said_to_lack_memory(tag: str) -> None:
    with loaded(spec(tag, "killed-later", "1")) as engine:
        engine.submit(ask("a"))
        assert "killed (signal 9), most likely because memory ran out" in crash(engine)


def test_answers_that_came_before_the_death_are_handed_over_first(tag: str) -> None:
    with loaded(spec(tag, "dies-later", "2", concurrent=1)) as engine:
        engine.submit(ask("a", "first"))
        engine._calls._hand_over()  # begun, and nothing read: the answer may come at once
        wait_for("the answer", lambda: engine._calls._events.qsize(), within_s=30)
        os.kill(engine.pid, signal.SIGKILL)
        wait_for("the end", lambda: engine._up.process.ended, within_s=30)
        engine.submit(ask("b", "never"))
        found = ends(engine, 1)
        assert isinstance(found["a"], Finished)
        assert "signal 9" in crash(engine)


def test_death_without_work_is_told_to_the_next_request(tag: str) -> None:
    with loaded(spec(tag)) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        wait_for("the end", lambda: engine._up.process.ended, within_s=30)
        with pytest.raises(EngineCrashedError, match="signal 9"):
            engine.submit(ask("a"))


def test_server_that_falls_silent_under_requests_is_ended(tag: str) -> None:
    with loaded(spec(tag, "hangs-later", "1", hang_s=1)) as engine:
        engine.submit(ask("a"))
        assert "said nothing for 1 s under 1 requests" in crash(engine)
        assert tagged(tag) == []


def test_time_that_calls_wait_for_the_breaker_is_no_silence_of_the_server(tag: str) -> None:
    """The server asks for 20 s of rest, and would be ended after 5 s of silence."""
    clock = Clock()
    wanted = spec(tag, "rests-later", "1", hang_s=5, concurrent=2)
    with loaded(wanted, CommandBackend(clock=clock)) as engine:
        engine.submit(ask("a"))
        assert engine.poll(0) == []
        breaker = engine._calls._caller._gate._breaker
        wait_for("the rest", lambda: breaker.is_open, within_s=30)
        clock.now += 19
        assert engine.poll(0) == []
        clock.now += 2
        engine.submit(ask("b"))  # the next call may begin now
        assert all(isinstance(end, Finished) for end in ends(engine, 2).values())
        assert tagged(tag) == [engine.pid]


def test_silence_without_requests_is_no_hang(tag: str) -> None:
    clock = Clock()
    with loaded(spec(tag), CommandBackend(clock=clock)) as engine:
        clock.now += 10_000
        assert engine.poll(0) == []
        assert text_of(engine) == "m says: hello"


class Clock:
    """Shows the time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_server_that_lives_and_fails_every_call_has_crashed(tag: str) -> None:
    with loaded(spec(tag, "breaks-later", "2"), CommandBackend({"e": EngineAccess(retries=0)})) as engine:
        assert text_of(engine) == "m says: hello"
        engine.submit(ask("a"))
        assert "fails calls and writes no token: HTTP 500" in crash(engine)


def test_server_that_knows_its_model_no_more_is_started_anew(tag: str) -> None:
    with loaded(spec(tag, "renames-later", "2", "--models", "m", model_id="m")) as engine:
        assert text_of(engine) == "m says: hello"
        engine.submit(ask("a"))
        assert "writes no token: HTTP 404: no model m" in crash(engine)
    with loaded(spec(tag, "fine", "--models", "renamed")) as engine:
        assert text_of(engine) == "renamed says: hello"


def test_stream_that_never_ends_fails_alone(tag: str) -> None:
    wanted = spec(tag, "endless-later", "1", max_response_bytes=1 << 20)
    with loaded(wanted, CommandBackend({"e": EngineAccess(retries=0)})) as engine:
        engine.submit(ask("a"))
        end = ends(engine, 1)["a"]
        assert isinstance(end, Failed)
        assert end.error_code == "bad_response"
        assert "more than 1048576 bytes" in end.error
        assert tagged(tag) == [engine.pid]


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────


def test_server_is_asked_to_end_before_it_is_killed(tag: str) -> None:
    engine = CommandBackend().load(spec(tag, "leaves"), ())
    engine.close()
    assert engine._up.process.last_lines() == "bye"


def test_server_that_takes_its_time_to_end_is_given_it(tag: str) -> None:
    engine = CommandBackend().load(spec(tag, "lingers", stop_s=60), ())
    engine.close()
    assert engine._up.process.last_lines() == "bye"
    assert tagged(tag) == []


def test_signal_to_end_is_that_of_the_options(tag: str) -> None:
    engine = CommandBackend().load(spec(tag, "leaves", stop="QUIT"), ())
    engine.close()
    assert engine._up.process.last_lines() == ""


@pytest.mark.parametrize("act", ["stubborn", "family"])
def test_what_does_not_end_when_asked_is_killed_with_all_that_it_started(tag: str, act: str) -> None:
    engine = CommandBackend().load(spec(tag, act, stop_s=0.3), ())
    assert len(tagged(tag)) == (3 if act == "family" else 1)
    engine.close()
    assert tagged(tag) == []


def test_what_a_dead_server_left_behind_is_ended_with_it(tag: str) -> None:
    with loaded(spec(tag, "family")) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        await_end_of(tag)
        with pytest.raises(EngineCrashedError):
            engine.submit(ask("a"))


def test_script_around_a_server_ends_with_it(tag: str, tmp_path: Path) -> None:
    """The script is deaf for the signal, and its server would outlive it. Blanks in its path are no blanks
    between words."""
    script = tmp_path / "my server.sh"
    script.write_text(
        f"#!/bin/sh\ntrap '' TERM\n{command(tag, 'stubborn').replace('{port}', '$1')} &\nwait\n"
    )
    script.chmod(0o755)
    options = {"command": f"{shlex.quote(str(script))} {{port}}", "stop_s": 0.3, "health": "/health"}
    with loaded(EngineSpec(id="e", backend="command", model="m", options=options)) as engine:
        assert text_of(engine) == "m says: hello"
        assert tagged(tag)
    assert tagged(tag) == []


def test_load_that_is_given_up_ends_its_server(tag: str) -> None:
    backend = CommandBackend()
    failed: list[BaseException] = []

    def load() -> None:
        try:
            backend.load(spec(tag, "never"), ())
        except EngineLoadError as error:
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    wait_for("the server's process", lambda: tagged(tag), within_s=30)
    backend.close()
    thread.join(30)
    assert not thread.is_alive()
    assert "given up" in str(failed[0])


# ── several ───────────────────────────────────────────────────────────────────────────────────────


def test_two_engines_of_one_command_run_side_by_side_at_ports_of_their_own(tag: str) -> None:
    backend = CommandBackend()
    with (
        loaded(spec(tag, name="one", model="a"), backend) as one,
        loaded(spec(tag, name="two", model="b"), backend) as two,
    ):
        assert (text_of(one), text_of(two)) == ("a says: hello", "b says: hello")
        one.close()
        assert text_of(two) == "b says: hello"


def test_prepared_engine_is_found_loaded_and_the_other_works_meanwhile(tag: str) -> None:
    backend = CommandBackend()
    ahead = spec(tag, name="ahead", model="b", memory_gib=0.01)
    with loaded(spec(tag, name="working"), backend) as working:
        assert backend.prepare(ahead, ())
        assert backend.prepare(ahead, ())
        assert text_of(working)
        wait_for("its process", lambda: len(tagged(tag)) == 2, within_s=30)
        before = set(tagged(tag))
    with loaded(ahead, backend) as engine:
        assert engine.pid in before
        assert text_of(engine) == "b says: hello"


def test_prepared_engine_that_nobody_wants_is_ended(tag: str) -> None:
    backend = CommandBackend()
    assert backend.prepare(spec(tag, memory_gib=0.01), ())
    wait_for("its process", lambda: tagged(tag), within_s=30)
    with loaded(spec(tag, name="other", model="o"), backend) as engine:
        assert text_of(engine) == "o says: hello"
        assert tagged(tag) == [engine.pid]
    assert backend.prepare(spec(tag, memory_gib=0.01), ())
    backend.close()
    assert tagged(tag) == []


def test_engine_of_unknown_or_too_large_size_is_not_loaded_ahead(tag: str) -> None:
    backend = CommandBackend()
    assert not backend.prepare(spec(tag), ())
    assert not backend.prepare(spec(tag, memory_gib=1e6), ())
    with loaded(spec(tag), backend):
        pass
    assert backend.fits(spec(tag))


def test_memory_of_an_engine_on_a_card_is_what_was_promised(
    tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it holds in the host says nothing then. The card is any device file that the server has open."""
    monkeypatch.setattr(tree, "CARDS", ("/dev/null",))
    backend, wanted = CommandBackend(), spec(tag, memory_gib=1.5)
    with loaded(wanted, backend) as engine:
        assert engine.weigh() is None
    assert backend.needed_gib(wanted) == 1.5


def test_secrets_of_the_environment_are_in_no_log(
    tag: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("A_TOKEN_OF_MINE", "planted-5511aa77")
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineLoadError):
        CommandBackend().load(spec(tag, "dies", env={"HF_TOKEN": "os.environ/A_TOKEN_OF_MINE"}), ())
    assert "loading the model" in caplog.text
    assert "planted-5511aa77" not in caplog.text


def test_own_configuration_is_not_handed_to_the_command(tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is Muster itself would read it as its own."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://u:pw@h/d")
    with loaded(spec(tag, env={"MINE": "{name}"})) as engine:
        environment = Path(f"/proc/{engine.pid}/environ").read_bytes()
    assert b"MUSTER_DATABASE_URL" not in environment
    assert b"\0MINE=e\0" in environment


def test_failed_request_of_a_healthy_server_is_its_own(tag: str) -> None:
    with loaded(spec(tag, "fine", "--models", "m")) as engine:
        engine.submit(ask("a", "hello")._replace(adapter="elsewhere"))
        end = ends(engine, 1)["a"]
        assert isinstance(end, Failed)
        assert end.error_code == "unknown_name"
        assert text_of(engine) == "m says: hello"
