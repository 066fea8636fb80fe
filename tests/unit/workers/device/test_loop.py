import math
from functools import partial
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, JobState
from orchestrator.domain.queries import Query
from orchestrator.errors import StoreUnavailableError
from orchestrator.store import SqlJobStore, open_database
from tests.fakes import loops
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import passing, run, run_until, submit
from tests.fakes.work import FakeBackend, HandClock, TextMajority, always, make_pool, make_queries
from workers.device.pace import Pace
from workers.leases.advancing import Advancer

make_loop = partial(loops.make_loop, pace=Pace(look_s=0.0, step_pause_s=0.0))


@pytest.fixture
def store(tmp_path: Path):
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def answer_codes(store: SqlJobStore, job_id: str = "job") -> dict[str, str | None]:
    return {query.id: answer.error_code for query, answer in store.answers(job_id)}


def error_codes(store: SqlJobStore, job_id: str = "job") -> set[str | None]:
    return {r.error_code for _, responses in store.responses(job_id) for r in responses}


def test_a_batch_over_three_engines_loads_each_once_and_answers_everything(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=5)
    submit(store, make_queries(60))
    progress = run(make_loop(store, make_pool("a", "b", "c"), backend), store)
    assert (progress.completed, progress.failed, progress.n_responses) == (60, 0, 180)
    assert sorted(backend.loads) == ["a", "b", "c"]
    assert progress.n_loads == store.loads() == 3


def test_everything_is_routed_before_the_first_load(store: SqlJobStore) -> None:
    submit(store, make_queries(1500))
    loop = make_loop(store, make_pool("a"), FakeBackend())
    loop.tick()
    assert store.job("job").n_assignments == 1500


def test_the_engine_of_the_last_stage_is_loaded_once_and_last(store: SqlJobStore) -> None:
    pool = make_pool("a", "b", "c")
    backend = FakeBackend()
    submit(store, make_queries(30))
    composition = TextMajority(["a/0", "b/0", "c/0"], k=2, final="b/0")
    run(make_loop(store, pool, backend, composition=composition), store)
    assert backend.loads[-1] == "b"
    assert sorted(backend.loads) == ["a", "b", "c"]


def test_a_loop_that_only_generates_loads_the_engines_of_later_stages_last(
    store: SqlJobStore,
) -> None:
    """`a` has 20 of the 30 calls and would be first, but it has the last word, too."""
    backend = FakeBackend()
    submit(store, make_queries(10))
    composition = TextMajority(["a/0", "a/1", "b/0"], final="a/0")
    engine_of = {"a/0": "a", "a/1": "a", "b/0": "b"}
    steps = Advancer(jobs=store, steps=store, compositions=always(composition), engine_of=engine_of)
    steps.chunk()
    pool = make_pool("a", "b", experts_per_engine=2)
    loop = make_loop(store, pool, backend, composition=composition, steps=False)
    run_until(loop, lambda: store.job("job").n_responses == 30)
    assert backend.loads == ["b", "a"]


def test_adapters_of_one_base_share_its_load(store: SqlJobStore) -> None:
    backend = FakeBackend()
    submit(store, make_queries(10))
    run(make_loop(store, make_pool("a", experts_per_engine=3), backend), store)
    assert backend.loads == ["a"]
    assert backend.adapters["a"] == ("lora-1", "lora-2")


def test_a_second_job_uses_the_resident_engine(store: SqlJobStore) -> None:
    backend = FakeBackend()
    loop = make_loop(store, make_pool("a"), backend)
    submit(store, make_queries(3))
    run(loop, store)
    submit(store, make_queries(3), job_id="second")
    assert run(loop, store, job_id="second").n_loads == 0
    assert backend.loads == ["a"]


def test_an_interactive_request_joins_the_running_engine_before_the_batch_ends(store: SqlJobStore) -> None:
    backend = FakeBackend(batch=1)
    loop = make_loop(store, make_pool("a"), backend, pace=Pace(look_s=0.0, poll_s=0.0, min_shard=4))
    submit(store, make_queries(100))
    for _ in range(10):
        loop.tick()
    submit(store, make_queries(1, prefix="urgent"), job_id="ask", priority=INTERACTIVE)
    run(loop, store, job_id="ask")
    assert store.job("job").completed < 30


def test_an_interactive_request_for_another_engine_passes_the_batch_at_a_shard_boundary(
    store: SqlJobStore,
) -> None:
    pool = make_pool("a", "b")
    backend = FakeBackend(batch=1)
    composition = {"job": TextMajority(["a/0"]), "ask": TextMajority(["b/0"])}
    loop = make_loop(store, pool, backend, pace=Pace(look_s=0.0, min_shard=4, max_shard=4))
    loop._advancer._compositions = lambda job: composition[job.id]
    submit(store, make_queries(100))
    for _ in range(10):
        loop.tick()
    submit(store, make_queries(1, prefix="urgent"), job_id="ask", priority=INTERACTIVE)
    run(loop, store, job_id="ask")
    assert store.job("job").completed < 40
    assert run(loop, store).completed == 100
    assert backend.loads == ["a", "b", "a"]


def test_an_engine_that_does_not_load_fails_its_work_once_and_the_rest_goes_on(store: SqlJobStore) -> None:
    backend = FakeBackend(broken=["b"])
    submit(store, make_queries(40))
    progress = run(make_loop(store, make_pool("a", "b"), backend), store)
    assert (progress.completed, progress.n_responses) == (40, 80)
    assert sorted(backend.loads) == ["a", "b"]
    assert error_codes(store) == {None, "engine_load_failed"}


def test_a_broken_engine_is_tried_again_after_its_cool_down(store: SqlJobStore) -> None:
    backend, clock = FakeBackend(broken=["a"]), HandClock(step_s=0.001)
    loop = make_loop(store, make_pool("a"), backend, clock=clock)
    submit(store, make_queries(2))
    run(loop, store)
    submit(store, make_queries(2), job_id="at-once")
    run(loop, store, job_id="at-once")
    assert backend.loads == ["a"]
    clock.now += 61
    submit(store, make_queries(2), job_id="later")
    run(loop, store, job_id="later")
    assert backend.loads == ["a", "a"]


def test_a_prompt_that_kills_its_engine_fails_alone(store: SqlJobStore) -> None:
    """It is among a full shard first, then among an eighth of one, then alone."""
    backend = FakeBackend()
    submit(store, [*make_queries(12), Query(id="bad", question="crash"), *make_queries(20, prefix="r")])
    progress = run(make_loop(store, make_pool("a"), backend), store)
    assert (progress.completed, progress.failed) == (32, 1)
    assert answer_codes(store)["bad"] == "no_answer"
    assert error_codes(store) == {None, "engine_crashed"}
    company = [int(line.split()[-1]) for line in backend.journal if line.startswith("crash")]
    assert company[0] > company[1] > company[2] == 1


def test_an_engine_that_always_crashes_is_given_up_in_the_end(store: SqlJobStore) -> None:
    """After 0.05 s; it is loaded a few times only, for each pause is longer than the one before."""
    backend, clock = FakeBackend(), HandClock()
    submit(store, [Query(id=f"bad{i}", question=f"crash {i}") for i in range(40)])
    loop = make_loop(store, make_pool("a"), backend, clock=clock, engine_down_s=0.05)
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").state is not JobState.RUNNING))
    assert store.job("job").failed == 40
    assert len(backend.loads) < 12


def test_an_engine_that_reports_nothing_counts_as_crashed(store: SqlJobStore) -> None:
    clock = HandClock(step_s=0.01)
    backend = FakeBackend(clock=clock)
    submit(store, [Query(id="bad", question="hang"), *make_queries(3)])
    loop = make_loop(store, make_pool("a"), backend, clock=clock, hang_timeout_s=1)
    progress = run(loop, store)
    assert (progress.completed, progress.failed) == (3, 1)
    assert len(backend.loads) == 3


def test_a_request_past_its_deadline_is_aborted_and_abstains(store: SqlJobStore) -> None:
    clock = HandClock()
    backend = FakeBackend(clock=clock)
    submit(store, [Query(id="bad", question="hang")])
    run(make_loop(store, make_pool("a"), backend, clock=clock, pace=Pace(request_timeout_s=2)), store)
    assert error_codes(store) == {"generation_timeout"}
    assert backend.loads == ["a"]


def test_a_refused_prompt_is_an_abstention_of_one_expert(store: SqlJobStore) -> None:
    submit(store, [Query(id="bad", question="refuse"), *make_queries(2)])
    progress = run(make_loop(store, make_pool("a"), FakeBackend()), store)
    assert (progress.completed, progress.failed) == (2, 1)
    assert error_codes(store) == {None, "refused"}


def test_text_that_no_database_takes_is_mended(store: SqlJobStore) -> None:
    submit(store, [Query(id="odd", question="surrogate")])
    run(make_loop(store, make_pool("a"), FakeBackend()), store)
    assert [answer.text for _, answer in store.answers("job")] == ["?"]


def test_a_composition_that_fails_on_a_query_spares_its_neighbours(store: SqlJobStore) -> None:
    submit(store, [*make_queries(3), Query(id="bad", question="misroute")])
    progress = run(make_loop(store, make_pool("a"), FakeBackend()), store)
    assert (progress.completed, progress.failed) == (3, 1)
    assert answer_codes(store)["bad"] == "internal_error"


def test_a_call_to_an_expert_outside_the_pool_fails_the_query(store: SqlJobStore) -> None:
    submit(store, make_queries(2))
    composition = TextMajority(["gone/0"])
    run(make_loop(store, make_pool("a"), FakeBackend(), composition=composition), store)
    assert set(answer_codes(store).values()) == {"expert_unavailable"}


def test_work_queued_for_an_engine_that_left_the_pool_fails_with_the_reason_in_the_end(
    store: SqlJobStore,
) -> None:
    submit(store, make_queries(2))
    make_loop(store, make_pool("a", "b"), FakeBackend(), pace=Pace(max_shard=1))._advance()
    loop = make_loop(store, make_pool("a"), FakeBackend())
    for _ in range(50):
        loop.tick()
    assert store.job("job").n_responses == 2, "a worker that knows it may come yet"
    progress = run(make_loop(store, make_pool("a"), FakeBackend(), engine_down_s=0.05), store)
    assert progress.completed == 2
    assert error_codes(store) == {None, "expert_unavailable"}


def test_cancelling_stops_the_requests_of_the_job(store: SqlJobStore) -> None:
    clock = HandClock()
    loop = make_loop(store, make_pool("a"), FakeBackend(clock=clock), clock=clock)
    submit(store, [Query(id="slow", question="hang")])
    for _ in range(3):
        loop.tick()
    store.cancel("job")
    clock.now += 6
    for _ in range(3):
        loop.tick()
    assert loop.is_idle
    assert answer_codes(store) == {"slow": "cancelled"}


def test_requests_whose_calls_were_deleted_or_run_again_are_stopped_too(store: SqlJobStore) -> None:
    """One job is deleted; the other runs again, with calls of new numbers: the old ones end."""
    clock = HandClock()
    loop = make_loop(store, make_pool("a"), FakeBackend(clock=clock), clock=clock)
    for job_id in ("gone", "again"):
        submit(store, [Query(id=job_id, question=f"hang {job_id}")], job_id=job_id)
    for _ in range(3):
        loop.tick()
    assert len(store.held("loop")) == 2
    first = store.held("loop")
    for job_id in ("gone", "again"):
        store.cancel(job_id)
    number = store.begin_deleting("gone")
    while store.purge(number, limit=9):
        pass
    store.retry("again", failed_only=True, deadline_s=None)
    clock.now += 6
    for _ in range(3):
        loop.tick()
    held = store.held("loop")
    assert len(held) == 1
    assert not held & first
    assert [a.id for lane in loop._lanes for a in lane.seat.running] == list(held)


def test_shutting_down_refunds_attempts_and_keeps_what_is_finished(store: SqlJobStore) -> None:
    loop = make_loop(store, make_pool("a"), FakeBackend(batch=1), pace=Pace(look_s=0.0, commit_s=math.inf))
    submit(store, make_queries(10))
    for _ in range(5):
        loop.tick()
    loop.shut_down()
    assert store.job("job").n_responses == loop.n_generated > 0
    assert store.lease_owners() == []
    claim = store.claim("a", owner="next", limit=99, lease_s=60)
    assert {a.attempt for a in claim.assignments} == {1}
    assert len(claim.assignments) == 10 - loop.n_generated


def test_an_unreachable_store_loses_no_finished_response(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(store, make_queries(4))
    loop = make_loop(store, make_pool("a"), FakeBackend())
    with monkeypatch.context() as patch:
        patch.setattr(store, "complete", _away)
        with pytest.raises(StoreUnavailableError):
            run(loop, store)
    assert run(loop, store).n_responses == 4
    assert loop.n_generated == 4


def test_leases_are_renewed_while_the_engine_works(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, renewed = HandClock(), []
    monkeypatch.setattr(store, "renew", lambda owner, *, lease_s: renewed.append(lease_s) or 1)
    loop = make_loop(store, make_pool("a"), FakeBackend(clock=clock), clock=clock, lease_s=30)
    submit(store, [Query(id="slow", question="hang")])
    for _ in range(250):  # 50 ms each: 12.5 s
        loop.tick()
    assert renewed == [30, 30, 30]


def test_a_tick_that_takes_long_keeps_its_leases_and_its_place_for_a_minute(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat 4.9 s after the last sign of life is not needed yet, one after 60 s comes too late."""
    clock, beats = HandClock(), []
    monkeypatch.setattr(store, "renew", lambda owner, *, lease_s: beats.append((owner, lease_s)) or 0)
    monkeypatch.setattr(store, "touch_devices", beats.append)
    loop = make_loop(store, make_pool("a"), FakeBackend(), clock=clock, lease_s=15)
    loop.beat()
    assert beats == [], "it has not begun"
    loop.tick()
    for seconds, n_beats in ((4.9, 0), (0.1, 1), (54.9, 2), (0.1, 2)):
        clock.now += seconds
        loop.beat()
        assert len(beats) == 2 * n_beats
    assert beats[:2] == [("loop", 15), ["loop"]]
    loop.tick()
    clock.now += 6
    loop.step_aside()
    loop.beat()
    assert len(beats) == 4, "nobody counts on it any more"


def test_a_loop_that_could_not_reach_the_store_lets_the_others_renew_before_it_sweeps(
    store: SqlJobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    loop = make_loop(store, make_pool("a"), FakeBackend(), clock=clock, lease_s=15, sweep_s=5)
    submit(store, make_queries(3))
    loop._advance()
    clock.now += 6
    with monkeypatch.context() as patch:
        patch.setattr(store, "report_device", _away)
        with pytest.raises(StoreUnavailableError):
            loop.tick()
    store.claim("a", owner="elsewhere", limit=3, lease_s=-1)
    held = []
    for _ in range(4):
        loop.tick()
        held.append("elsewhere" in store.lease_owners())
        clock.now += 5
    assert held == [True, True, True, False]


def _away(*_args: object, **_options: object) -> int:
    raise StoreUnavailableError("the database is away.")
