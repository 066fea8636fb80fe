from pathlib import Path

import pytest

from orchestrator.domain.assignments import BATCH, INTERACTIVE, JobState
from orchestrator.domain.queries import Query
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, make_loop, passing, run, run_until, submit
from tests.fakes.work import FakeBackend, HandClock, TextMajority, make_pool, make_queries
from workers.backends.scripted import ScriptedBackend
from workers.device.lane import slot_room
from workers.device.pace import Pace


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def test_prompts_with_a_common_beginning_follow_each_other(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=1)
    documents = ["long story, ", "other story, "]
    submit(store, [Query(id=str(n), question=f"{documents[n % 2]}question {n}") for n in range(10)])
    run(make_loop(store, make_pool("a"), backend), store)
    generated = [line for line in backend.journal if not line.startswith("load")]
    assert generated == sorted(generated)


def test_bells_are_few_under_load_and_the_last_one_comes(store: SqlJobStore) -> None:
    clock = HandClock()
    rung: list[int] = []
    loop = make_loop(
        store,
        make_pool("a"),
        FakeBackend(batch=1),
        clock=clock,
        pace=EAGER._replace(commit_size=1, ring_s=1.0),
        on_committed=lambda: rung.append(store.job("job").n_responses),
    )
    submit(store, make_queries(40))
    run_until(loop, passing(clock, 0.1, lambda: store.job("job").state is JobState.DONE))
    assert len(rung) <= 7
    assert rung[-1] == 40


def test_for_a_question_the_bell_rings_at_once(store: SqlJobStore) -> None:
    """Beside a batch whose bells come every hundred seconds."""
    rung: list[int] = []
    loop = make_loop(
        store,
        make_pool("a"),
        FakeBackend(batch=1),
        clock=HandClock(),
        pace=EAGER._replace(ring_s=100.0),
        on_committed=lambda: rung.append(store.job("ask").n_responses),
    )
    submit(store, make_queries(40))
    submit(store, make_queries(1, prefix="i"), job_id="ask", priority=INTERACTIVE)
    loop._timers.is_due("ring", 100.0)
    run_until(loop, lambda: store.job("ask").n_responses > 0)
    assert rung == [1]
    assert store.job("job").state is JobState.RUNNING


def test_a_woken_loop_lets_a_question_join_before_it_looks_at_all_books(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=1)
    loop = make_loop(
        store, make_pool("a"), backend, steps=False, pace=EAGER._replace(look_s=100.0, poll_s=100.0)
    )
    submit(store, make_queries(40))
    route(store)
    run_until(loop, lambda: bool(loop._seats.lanes) and loop._seats.lanes[0].n_running > 0)
    submit(store, make_queries(1, prefix="i"), job_id="ask", priority=INTERACTIVE)
    route(store)
    loop.tick()
    assert all(a.job_id == "job" for a in loop._seats.lanes[0].seat.running)
    loop.wake()
    loop.tick()
    assert store.job("ask").n_responses == 1


def route(store: SqlJobStore) -> None:
    composition = TextMajority(["a/0"])
    while states := store.ready(limit=1000):
        store.advance(list(zip(states, composition.step(states), strict=True)), {"a/0": "a"})


def test_a_bell_that_fails_stops_nothing(store: SqlJobStore) -> None:
    def broken() -> None:
        raise ConnectionError("nobody there")

    submit(store, make_queries(5))
    assert run(make_loop(store, make_pool("a"), FakeBackend(), on_committed=broken), store).completed == 5


def test_an_interactive_request_costs_little_more_beside_a_long_shard_than_alone(
    store: SqlJobStore,
) -> None:
    """Eight words at eight a second take one second alone; beside a shard whose requests take eleven
    seconds each, at most one second more."""
    clock = HandClock()
    backend = ScriptedBackend(clock=clock, sleep=lambda seconds: setattr(clock, "now", clock.now + seconds))
    reply = "one two three four five six seven eight"
    rules = [{"match": "urgent", "reply": reply}, {"regex": ".", "delay_s": 10.0, "reply": reply}]
    pool = make_pool("a", backend="scripted", rules=rules, tokens_per_s=8.0)
    loop = make_loop(store, pool, lambda _name: backend, clock=clock, pace=Pace())
    submit(store, make_queries(200))
    run_until(loop, lambda: store.job("job").n_responses > 0, limit=20_000)
    run_until(loop, lambda: loop._seats.lanes[0].n_running > 0)
    submit(store, [Query(id="q", question="urgent")], job_id="ask", priority=INTERACTIVE)
    asked_at = clock.now
    loop.wake()
    run_until(loop, lambda: store.job("ask").state is JobState.DONE)
    assert clock.now - asked_at <= 1.0 + 1.0
    assert store.job("job").state is JobState.RUNNING


def test_a_single_batch_job_is_bound_by_no_wait_and_interactive_work_always_is(store: SqlJobStore) -> None:
    pool = make_pool("a", "b")
    for priority, is_bounded in ((BATCH, False), (INTERACTIVE, True)):
        loop = make_loop(store, pool, FakeBackend(), max_wait_s=7)
        submit(store, make_queries(3), job_id=str(priority), priority=priority)
        loop._advance()
        loop._books.look()
        assert (loop._books.max_wait_s == 7) is is_bounded
        run(loop, store, job_id=str(priority))
        loop.shut_down()


def test_slots_are_claimed_by_quarters() -> None:
    class Busy:
        def __init__(self, n_running: int) -> None:
            self.n_running = n_running

    rooms = [slot_room(Busy(n), width=8) for n in (0, 6, 7, 8, 9)]  # type: ignore[arg-type]
    assert rooms == [8, 2, 0, 0, 0]
    assert slot_room(Busy(0), width=1) == 1  # type: ignore[arg-type]


def test_what_an_engine_died_under_waits_until_nothing_runs_beside_it(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=1)
    submit(store, [*make_queries(3), Query(id="bad", question="crash"), *make_queries(30, prefix="r")])
    progress = run(make_loop(store, make_pool("a"), backend, composition=TextMajority(["a/0"])), store)
    assert (progress.completed, progress.failed) == (33, 1)
