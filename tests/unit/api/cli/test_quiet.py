"""Words while a command is at work: the first soon, more only where nobody else says anything."""

import io
import sys

import pytest

from api.cli.quiet import AGAIN_S, QUIET_S, Quiet
from orchestrator.runtime.logs import safe_stderr


class Scene:
    """A command that began at 100 s."""

    def __init__(self) -> None:
        self.now = 100.0
        self.heard_at = 0.0
        self.lines: list[str] = []
        self.quiet = Quiet(
            "route", write=self.lines.append, heard_at=lambda: self.heard_at, clock=lambda: self.now
        )

    def at(self, seconds: float) -> list[str]:
        """Lines that were said by then, looking a tenth of a second apart."""
        while self.now < 100.0 + seconds:
            self.now += 0.1
            self.quiet.look()
        return [line.strip() for line in self.lines]


def test_a_command_that_is_soon_done_says_nothing() -> None:
    assert Scene().at(QUIET_S - 0.2) == []


def test_what_takes_long_says_what_it_does_and_for_how_long() -> None:
    scene = Scene()
    scene.quiet.doing("opening the pool")
    assert scene.at(QUIET_S + 0.2) == ["route: opening the pool, 2 s"]
    scene.quiet.doing("choosing experts")
    assert scene.at(QUIET_S + AGAIN_S + 0.5)[1:] == ["route: choosing experts, 14 s"]


def test_progress_of_others_is_enough_until_it_ceases() -> None:
    scene = Scene()
    scene.heard_at = 101.0
    assert scene.at(AGAIN_S) == []
    assert scene.at(1.0 + AGAIN_S + 0.2) == ["route: at work, 13 s"]


def test_the_next_look_is_when_a_word_may_be_due() -> None:
    scene = Scene()
    assert scene.quiet.look() == pytest.approx(QUIET_S)
    scene.now += QUIET_S
    assert scene.quiet.look() == AGAIN_S


def test_what_is_written_to_stderr_is_heard_and_words_go_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    now = [10.0]
    with safe_stderr():
        silent = Quiet("doctor", clock=lambda: now[0])
        now[0] += QUIET_S
        silent.look()
    assert stream.getvalue() == "doctor: at work, 2 s\n"


def test_nothing_is_said_between_records_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_MUSTER_LOG_FORMAT", "json")
    said: list[str] = []
    quiet = Quiet("serve", write=said.append, heard_at=lambda: 0.0, clock=iter([0.0, 99.0]).__next__)
    quiet.begin()
    quiet.end()
    assert said == []
