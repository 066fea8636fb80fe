"""Steps of the stack: sliced, exclusive, told to who waits; the beat rings for what was not heard."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.domain.assignments import Job, JobState
from orchestrator.ports.dispatch import Piece
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.work import HandClock, TextMajority, always, answered, make_queries
from workers.dispatch.stack import StackDispatcher
from workers.leases.advancing import Advancer
from workers.leases.sweeper import Sweeper
from workers.stack.beat import Beat
from workers.stack.bells import ADVANCE, WORK
from workers.stack.news import NoNews, RedisNews
from workers.stack.steps import Chunks, Steps


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


class Ears:
    """What the steps said."""

    def __init__(self) -> None:
        self.asked = 0
        self.moved: list[set[str]] = []

    def on_asked(self) -> None:
        self.asked += 1


def make_steps(
    store: SqlJobStore,
    ears: Ears,
    clock: HandClock,
    *,
    chunk: int = 2,
    rest_s: float = 0.0,
    on_asked: Callable[[], None] | None = None,
) -> Steps:
    advancer = Advancer(
        jobs=store,
        steps=store,
        compositions=always(TextMajority(["a/0"])),
        engine_of={"a/0": "a"},
    )
    return Steps(
        advancer,
        refresh=lambda: None,
        on_asked=on_asked or ears.on_asked,
        on_moved=lambda job_ids: ears.moved.append(set(job_ids)),
        clock=clock,
        rest_s=rest_s,
        chunks=Chunks(chunk, chunk),
    )


def generate(store: SqlJobStore) -> None:
    claim = store.claim("a", owner="o", limit=100, lease_s=60)
    store.complete("o", answered([(a.id, a.attempt) for a in claim.assignments]))


def test_a_slice_puts_calls_on_the_books_and_later_ends_the_job(store: SqlJobStore) -> None:
    ears, clock = Ears(), HandClock()
    store.submit(Job(id="job", composition="any"), make_queries(3))
    steps = make_steps(store, ears, clock)
    assert steps.slice() is False
    assert (ears.asked, ears.moved) == (2, [])
    generate(store)
    assert steps.slice() is False
    assert (ears.asked, ears.moved) == (2, [{"job"}, {"job"}])
    assert store.job("job").state is JobState.DONE


def test_a_slice_ends_in_time_and_says_that_there_is_more(store: SqlJobStore) -> None:
    ears, clock = Ears(), HandClock(step_s=0.9)
    store.submit(Job(id="job", composition="any"), make_queries(20))
    assert make_steps(store, ears, clock).slice() is True
    assert 0 < store.job("job").n_assignments < 20


def test_two_processes_never_step_the_same_query(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(4))
    held = store.take_ready(limit=3, for_s=30)
    ears = Ears()
    make_steps(store, ears, HandClock()).slice()
    assert len(held) == 3
    assert store.job("job").n_assignments == 1


def test_the_thread_looks_when_woken(store: SqlJobStore) -> None:
    moved = threading.Event()
    ears = Ears()
    ears.on_asked = moved.set  # type: ignore[method-assign]
    steps = make_steps(store, ears, HandClock())
    steps.start()
    store.submit(Job(id="job", composition="any"), make_queries(1))
    steps.wake()
    assert moved.wait(30)
    steps.stop(timeout_s=30)


def test_after_few_steps_what_comes_meanwhile_is_stepped_together(store: SqlJobStore) -> None:
    ears = Ears()

    def on_asked() -> None:
        ears.on_asked()
        if ears.asked == 1:
            store.submit(Job(id="later", composition="any"), make_queries(1))

    store.submit(Job(id="job", composition="any"), make_queries(1))
    steps = make_steps(store, ears, HandClock(), chunk=8, rest_s=0.01, on_asked=on_asked)
    steps.slice()
    assert (ears.asked, store.job("later").n_assignments) == (1, 0)
    steps.slice()
    assert (ears.asked, store.job("later").n_assignments) == (2, 1)


def test_after_few_steps_the_thread_looks_again_although_no_bell_rings(store: SqlJobStore) -> None:
    ears, again = Ears(), threading.Event()

    def on_asked() -> None:
        ears.on_asked()
        if ears.asked == 1:
            store.submit(Job(id="later", composition="any"), make_queries(1))
        else:
            again.set()

    steps = make_steps(store, ears, HandClock(), chunk=8, rest_s=0.01, on_asked=on_asked)
    store.submit(Job(id="job", composition="any"), make_queries(1))
    steps.start()
    steps.wake()
    assert again.wait(30)
    steps.stop(timeout_s=30)


class Sender:
    def __init__(self, *, is_away: bool = False) -> None:
        self.is_away = is_away
        self.rung: list[str] = []

    def send(self, bell: str) -> bool:
        self.rung.append(bell)
        return not self.is_away

    def ring(self, bell: str) -> None:
        self.rung.append(bell)

    def close(self) -> None:
        pass


def make_beat(store: SqlJobStore, sender: Sender) -> Beat:
    sweeper = Sweeper(leases=store, devices=store, clock=HandClock(), grace_s=15, max_attempts=3)
    return Beat(outbox=store, waiting=store, bells=sender, every_s=1, sweeper=sweeper)


def test_the_beat_rings_for_the_outbox_until_the_broker_takes_it(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    make_beat(store, Sender(is_away=True)).round()
    assert [bell.job_id for bell in store.outbox(10)] == ["job"]
    sender = Sender()
    make_beat(store, sender).round()
    assert ADVANCE in sender.rung
    assert store.outbox(10) == []


def test_the_beat_rings_again_for_ready_and_for_waiting_work_and_then_is_silent(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    store.rung([bell.id for bell in store.outbox(10)])
    sender, steps = Sender(), make_steps(store, Ears(), HandClock())
    make_beat(store, sender).round()
    assert sender.rung == [ADVANCE]
    steps.slice()
    make_beat(store, sender).round()
    assert sender.rung == [ADVANCE, WORK]
    generate(store)
    steps.slice()
    make_beat(store, sender).round()
    assert sender.rung == [ADVANCE, WORK]


def test_a_beat_whose_database_is_gone_goes_on(tmp_path: Path) -> None:
    class Gone:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("gone")

    make_beat(Gone(), Sender()).round()  # type: ignore[arg-type]


def test_waiting_without_news_sees_the_end_of_a_job(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    sender = Sender()
    dispatcher = StackDispatcher(jobs=store, work=store, bells=sender, news=NoNews())
    worker = threading.Thread(target=lambda: store.cancel("job"))
    worker.start()
    progress = dispatcher.run("job")
    worker.join()
    assert (progress.state, sender.rung) == (JobState.CANCELLED, [ADVANCE])


def test_waiting_ends_in_time(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    dispatcher = StackDispatcher(
        jobs=store, work=store, bells=Sender(), news=NoNews(), clock=HandClock(step_s=1.0)
    )
    assert dispatcher.wait("job", timeout_s=3).state is JobState.RUNNING


@pytest.mark.parametrize(
    ("limit", "n_taken", "took_s", "expected"),
    [
        (32, 32, 0.1, 64),
        (32, 20, 0.1, 32),
        (64, 64, 0.3, 64),
        (64, 64, 0.5, 32),
        (32, 32, 9.0, 32),
        (800, 800, 0.1, 1024),
    ],
)
def test_chunks_grow_while_they_stay_in_time(limit: int, n_taken: int, took_s: float, expected: int) -> None:
    assert Chunks(low=32, high=1024, within_s=0.4).next(limit, n_taken=n_taken, took_s=took_s) == expected


def test_without_news_who_listens_learns_of_the_end_by_looking(store: SqlJobStore) -> None:
    dispatcher = StackDispatcher(jobs=store, work=store, bells=Sender(), news=NoNews())
    store.submit(Job(id="job", composition="any"), make_queries(1))
    with dispatcher.listen("job", timeout_s=60) as told:
        assert next(told) == ()
        store.cancel("job")
        assert set(told) == {()}


def test_listening_ends_when_the_time_is_up(store: SqlJobStore) -> None:
    dispatcher = StackDispatcher(jobs=store, work=store, bells=Sender(), news=NoNews())
    store.submit(Job(id="job", composition="any"), make_queries(1))
    with dispatcher.listen("job", timeout_s=0.1) as told:
        assert set(told) == {()}
    assert store.job("job").state is JobState.RUNNING


def test_pieces_for_a_redis_that_is_away_are_dropped() -> None:
    news = RedisNews("redis://127.0.0.1:1/0")
    for at in range(100):
        news.tell_piece(Piece("job", "w", at, "x"))
    news.stop()


def test_steps_that_rest_do_not_look_again_for_each_bell(store: SqlJobStore) -> None:
    """They looked just now by the clock, which does not move: the bells wait until they end."""
    store.submit(Job(id="job", composition="any"), make_queries(1))
    steps = make_steps(store, Ears(), HandClock(), rest_s=60.0)
    steps.start()
    for _ in range(3):
        steps.wake()
    steps.stop(timeout_s=10)
    assert len(store.ready(limit=10)) == 1


def test_steps_that_have_rested_look_when_the_bell_rings(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any"), make_queries(1))
    ears, clock, asked = Ears(), HandClock(), threading.Event()
    steps = make_steps(store, ears, clock, rest_s=60.0, on_asked=asked.set)
    clock.now += 61.0
    steps.start()
    steps.wake()
    assert asked.wait(10)
    steps.stop(timeout_s=10)
