"""What bells do in a process of the stack."""

import threading
from types import SimpleNamespace
from typing import Any

from orchestrator.bootstrap.processes import WorkerHands
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.ports.batches import LineForms
from orchestrator.settings.schema import SchedulerSettings
from tests.fakes.app import FakeClerk
from workers.stack.news import NoNews


class Quiet:
    """Bells that nobody hears."""

    def ring(self, bell: str) -> None: ...


class SlowStore:
    """A store whose looks at what is ready of a batch take until `go_on`."""

    def __init__(self) -> None:
        self.looking, self.go_on = threading.Event(), threading.Event()
        self.looked_for_questions = threading.Event()

    def report_device(self, report: object) -> None: ...

    def forget_device(self, owner: str) -> None: ...

    def take_ready(self, *, min_priority: int, **_: object) -> list[object]:
        if min_priority == INTERACTIVE:
            self.looked_for_questions.set()
            return []
        self.looking.set()
        assert self.go_on.wait(30)
        return []


def no_lines(*_: object) -> Any:
    raise AssertionError("no batch is worked on")


def make_hands(store: SlowStore) -> WorkerHands:
    catalogue = SimpleNamespace(refresh=lambda: None)
    app: Any = SimpleNamespace(
        store=store,
        catalogue=catalogue,
        build=None,
        clerk=lambda forms: FakeClerk(),
        pool=SimpleNamespace(experts=()),
        news=NoNews(),
        telemetry=SimpleNamespace(stage_traces=None),
        config_hash="",
        settings=SimpleNamespace(muster=SimpleNamespace(scheduler=SchedulerSettings())),
    )
    bells: Any = Quiet()
    return WorkerHands(
        app, bells, driver=None, on_heard=lambda: None, forms=LineForms((), no_lines, no_lines)
    )


def test_a_bell_for_steps_does_not_wait_for_the_steps_under_way() -> None:
    """Else the canary waits behind it, and a busy worker that hears none for 30 s ends."""
    store = SlowStore()
    hands = make_hands(store)
    hands.start_steps()
    hands.advance()
    assert store.looking.wait(30)
    answer = threading.Thread(target=hands.advance, daemon=True)
    answer.start()
    answer.join(30)
    is_waiting = answer.is_alive()
    store.go_on.set()
    hands.stop_steps(timeout_s=30)
    assert not is_waiting


def test_a_question_does_not_wait_for_a_batch_that_is_being_stepped() -> None:
    store = SlowStore()
    hands = make_hands(store)
    hands.start_steps()
    hands.advance()
    assert store.looking.wait(30)
    assert store.looked_for_questions.wait(30)
    store.looked_for_questions.clear()
    hands.advance()
    was_seen = store.looked_for_questions.wait(30)
    store.go_on.set()
    hands.stop_steps(timeout_s=30)
    assert was_seen
