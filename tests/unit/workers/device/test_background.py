"""Choice of an engine where some work is in the background: served when nothing else is worth a load."""

from types import SimpleNamespace
from typing import Any

from orchestrator.batching import NO_RATES, Kinds
from orchestrator.domain.assignments import BACKGROUND, BATCH, EngineBacklog
from workers.device.books import Books, OwnDevice


def books_of(*backlog: EngineBacklog) -> Books:
    """What a device with engines a and b sees."""
    kit: Any = SimpleNamespace(
        timers=SimpleNamespace(is_due=lambda *_: True),
        pace=SimpleNamespace(look_s=1.0),
        stores=SimpleNamespace(
            jobs=SimpleNamespace(jobs=lambda **_: []),
            devices=SimpleNamespace(devices=lambda _: []),
            waiting=SimpleNamespace(backlog=lambda **_: list(backlog), is_routing=lambda: False),
        ),
        ledger=SimpleNamespace(min_priority=BACKGROUND),
        faults=SimpleNamespace(since_it_worked=lambda _: None, of=lambda _: None),
        settings=SimpleNamespace(interactive_wait_s=1.0, max_wait_s=10.0),
        owner="me",
        clock=lambda: 100.0,
    )
    books = Books(kit, engines={"a", "b"}, remote=set(), later_engines=lambda _: ())
    books.look()
    return books


def waits(engine_id: str, priority: int, *, n: int = 10, **more: Any) -> EngineBacklog:
    return EngineBacklog(engine_id=engine_id, n_waiting=n, est_tokens=100 * n, top_priority=priority, **more)


def chosen(books: Books, *, resident: str | None = None) -> str | None:
    choice = books.choose(OwnDevice("cpu", NO_RATES, Kinds({})), resident=resident, resident_s=1.0)
    return None if choice is None else choice.engine_id


def test_an_engine_that_only_background_work_waits_for_comes_after_any_other() -> None:
    books = books_of(waits("a", BACKGROUND, n=1000, oldest_wait_s=1e6), waits("b", BATCH, n=1))
    assert chosen(books) == chosen(books, resident="a") == "b"


def test_a_device_with_nothing_else_worth_a_load_serves_the_background() -> None:
    assert chosen(books_of(waits("a", BACKGROUND))) == "a"
    served_elsewhere = waits("b", BATCH, n=1, n_devices_elsewhere=1)
    assert chosen(books_of(waits("a", BACKGROUND), served_elsewhere), resident="a") == "a"
