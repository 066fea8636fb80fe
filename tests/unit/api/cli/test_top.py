"""Looks of `muster top`: rates worked by hand, and what is shown."""

import io
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from rich.console import Console

from api.cli import top
from api.cli.ask import stage_line
from api.cli.session import Session
from api.cli.top import Look, rates_between, screen
from api.schemas.jobs import JobCounts, JobView
from orchestrator.domain.assignments import EngineBacklog
from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.engines import EngineState
from orchestrator.domain.stages import StageNews


def job(job_id: str, *, done: int, failed: int = 0, total: int = 100) -> JobView:
    counts = JobCounts(total=total, completed=done, failed=failed, waiting=total - done - failed)
    return JobView(
        id=job_id,
        kind="batch",
        state="running",
        model="auto",
        label="",
        priority="batch",
        counts=counts,
        calls=done,
        responses=done,
        loads=1,
        retries=0,
        created_at=0,
        finished_at=None,
        deadline_at=None,
    )


def look(at: float, *jobs: JobView, **more: object) -> Look:
    empty = Look(at, (), {}, {}, jobs, {})
    return empty._replace(**more)


def shown(of: Look) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    for part in screen(of):
        console.print(part)
    return console.export_text()


def test_a_rate_is_what_ended_between_two_looks_over_the_seconds_between_them() -> None:
    before = look(10, job("a", done=20, failed=5))
    assert rates_between(before, [job("a", done=40, failed=15)], 15) == {"a": 6.0}


def test_a_new_job_and_two_looks_at_once_have_no_rate() -> None:
    before = look(10, job("a", done=20))
    assert rates_between(before, [job("b", done=20)], 20) == {}
    assert rates_between(before, [job("a", done=30)], 10.1) == {}


def test_a_job_that_is_run_again_is_never_faster_than_nothing() -> None:
    assert rates_between(look(0, job("a", done=50)), [job("a", done=10)], 10) == {"a": 0.0}


def test_what_is_left_follows_from_the_rate() -> None:
    assert "30 s" in shown(look(0, job("a", done=40), rates={"a": 2.0}))


def test_engines_that_have_nothing_to_do_are_counted_and_not_listed() -> None:
    engines = {
        "busy": EngineState(engine_id="busy"),
        "idle": EngineState(engine_id="idle"),
        "broken": EngineState(engine_id="broken", state="down", why="no such file"),
    }
    queues = {"busy": EngineBacklog(engine_id="busy", n_waiting=7, oldest_wait_s=3)}
    text = shown(look(0, engines=engines, queues=queues))
    assert "no such file" in text
    assert "1 of 3 engines are well and have nothing to do" in text
    assert "idle" not in text.replace("idle-", "")


def test_devices_are_shown_with_what_they_hold() -> None:
    report = DeviceReport(owner="o", device="cuda:0", host="north", engine_id="busy", state="resident")
    text = shown(look(0, devices=[report]))
    assert "north" in text
    assert "cuda:0" in text
    assert "nobody was heard of" in shown(look(0))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_label_neither_ends_nor_steers_the_screen_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = job("a", done=1).model_copy(update={"label": "[/red]\x1b]0;x"})
    terminal = Terminal()
    for name, value in (("TERM", "xterm"), ("COLUMNS", "120"), ("LINES", "60")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(Session, "app", lambda *_: nullcontext())
    monkeypatch.setattr(top, "look_at", lambda *_, **__: look(0, hostile))

    def leave(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(top.time, "sleep", leave)
    top.top(SimpleNamespace(obj=Session()))  # type: ignore[arg-type]
    assert r"[/red]\x1b]0;x" in terminal.getvalue()


@pytest.mark.parametrize("kind", ["dumb", "", "unknown"])
def test_a_terminal_without_a_cursor_is_given_one_look(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(Session, "app", lambda *_: nullcontext())
    monkeypatch.setattr(top, "look_at", lambda *_, **__: look(0, job("a", done=1)))
    top.top(SimpleNamespace(obj=Session()))  # type: ignore[arg-type]
    assert "Engines" in terminal.getvalue()


@pytest.mark.parametrize(
    ("news", "said"),
    [
        (StageNews(event="recruited", experts=("ann", "bob")), "asking ann, bob"),
        (StageNews(event="waiting", experts=("ann",), ahead=3), "ann waits, 3 calls ahead"),
        (StageNews(event="waiting", experts=("ann",), ahead=0), "ann waits for its engine"),
        (StageNews(event="loading", experts=("ann",)), "ann: its engine is being loaded"),
        (StageNews(event="writing", experts=("ann",), n_chars=1234), "ann has written 1,234 characters"),
        (StageNews(event="finished", experts=("ann",), failed=True, role="judge"), "ann (judge) failed"),
        (StageNews(event="finished", experts=("ann",), failed=False), "ann has answered"),
        (
            StageNews(event="finished", experts=("ann",), failed=False, value="42", text="It is 42."),
            "ann has answered: 42",
        ),
        (
            StageNews(event="finished", experts=("ann",), failed=False, text="Well,\n who knows" + "?" * 99),
            "ann has answered: Well, who knows" + "?" * 64 + "…",
        ),
    ],
)
def test_stages_are_said_in_a_line(news: StageNews, said: str) -> None:
    assert stage_line(news) == said
