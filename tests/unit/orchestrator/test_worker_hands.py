"""What bells do in a process of the stack."""

import threading
from types import SimpleNamespace
from typing import Any

from orchestrator.stack import WorkerHands
from workers.stack.news import NoNews


class Quiet:
    """Bells that nobody hears."""

    def ring(self, bell: str) -> None: ...


class SlowStore:
    """A store whose first look at what is ready takes until `go_on`."""

    def __init__(self) -> None:
        self.looking, self.go_on = threading.Event(), threading.Event()

    def take_ready(self, **_: object) -> list[object]:
        self.looking.set()
        assert self.go_on.wait(30)
        return []


def test_a_bell_for_steps_does_not_wait_for_the_steps_under_way() -> None:
    """Else the canary waits behind it, and a busy worker that hears none for 30 s ends."""
    store = SlowStore()
    catalogue = SimpleNamespace(build=None, refresh=lambda: None)
    app: Any = SimpleNamespace(
        jobs=store, catalogue=catalogue, pool=SimpleNamespace(experts=()), news=NoNews()
    )
    bells: Any = Quiet()
    hands = WorkerHands(app, bells, driver=None, on_heard=lambda: None)
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
