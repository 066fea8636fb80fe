"""A fault makes work wait: nobody else's work fails, and nothing fails that a wait heals."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Job, JobState
from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.domain.queries import Query
from orchestrator.ports.engines import Engine, EngineEvent, Failed
from orchestrator.store import SqlJobStore
from tests.fakes.loops import EAGER, FAR, make_loop, passing, run_until, submit
from tests.fakes.work import FakeBackend, HandClock, TextMajority, make_pool, make_queries
from workers.device.loop import DeviceLoop
from workers.device.pace import Pace

SMALL = EAGER._replace(min_shard=4, max_shard=16)


def drive(loop: DeviceLoop, clock: HandClock, store: SqlJobStore, *, every_s: float = 0.3) -> None:
    """Until all jobs have ended."""
    run_until(
        loop,
        passing(clock, every_s, lambda: all(p.state is not JobState.RUNNING for p in store.jobs())),
        limit=20_000,
    )


def failed(store: SqlJobStore, job_id: str) -> list[str]:
    return sorted(query.id for query, answer in store.answers(job_id) if answer.error_code is not None)


def codes(store: SqlJobStore, job_id: str = "job") -> Counter[str | None]:
    return Counter(r.error_code for _, responses in store.responses(job_id) for r in responses)


def poison(n: int, *, prefix: str = "bad") -> list[Query]:
    return [Query(id=f"{prefix}{i}", question=f"crash {prefix}{i}") for i in range(n)]


class Ailing(FakeBackend):
    """Engines whose calls fail while `is_ill` says so of the clock, with this blame."""

    def __init__(
        self, clock: HandClock, *, is_ill: Callable[[float], bool], blame: str, batch: int = 4
    ) -> None:
        super().__init__(batch=batch, clock=clock)
        self.is_ill, self.blame = is_ill, blame
        self.n_refused = 0

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = super().load(spec, adapters)
        poll = engine.poll

        def ailing(timeout_s: float) -> list[EngineEvent]:
            events = poll(timeout_s)
            assert self._clock is not None
            if not self.is_ill(self._clock.now):
                return events
            self.n_refused += len(events)
            return [Failed(e.id, "expert_unavailable", "HTTP 500", self.blame) for e in events]  # type: ignore[arg-type]

        engine.poll = ailing  # type: ignore[method-assign]
        return engine


# ── crashes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n_bad", [1, 3, 10])
@pytest.mark.parametrize("max_attempts", [1, 2, 3])
def test_poison_prompts_of_one_job_fail_alone_beside_another_job(
    store: SqlJobStore, clock: HandClock, n_bad: int, max_attempts: int
) -> None:
    submit(store, make_queries(100, prefix="i"), job_id="innocent")
    submit(store, [*make_queries(5), *poison(n_bad), *make_queries(5, prefix="r")])
    loop = make_loop(store, make_pool("a"), FakeBackend(), clock=clock, pace=SMALL, max_attempts=max_attempts)
    drive(loop, clock, store)
    assert failed(store, "innocent") == []
    assert failed(store, "job") == sorted(query.id for query in poison(n_bad))
    assert codes(store)["engine_crashed"] == n_bad


def test_crashes_spread_over_two_jobs_fail_nothing_else(store: SqlJobStore, clock: HandClock) -> None:
    for job_id in ("one", "two"):
        bad = poison(3, prefix=job_id)
        mixed = [q for i, b in enumerate(bad) for q in (*make_queries(12, prefix=f"{job_id}{i}-"), b)]
        submit(store, mixed, job_id=job_id)
    drive(make_loop(store, make_pool("a"), FakeBackend(), clock=clock, pace=SMALL), clock, store)
    for job_id in ("one", "two"):
        assert failed(store, job_id) == sorted(query.id for query in poison(3, prefix=job_id))


def test_what_crashed_comes_after_all_that_did_not(store: SqlJobStore, clock: HandClock) -> None:
    backend = FakeBackend(batch=1)
    submit(store, [*poison(2), *make_queries(60)])
    drive(make_loop(store, make_pool("a"), backend, clock=clock, pace=SMALL), clock, store)
    crashes = [n for n, line in enumerate(backend.journal) if line.startswith("crash")]
    last = max(n for n, line in enumerate(backend.journal) if "question q59" in line)
    assert [n < last for n in crashes] == [True, *[False] * (len(crashes) - 1)]


def test_an_engine_that_breaks_for_a_while_costs_no_answer(store: SqlJobStore, clock: HandClock) -> None:
    """Its device is full for two minutes: whatever it runs kills it."""
    backend = FakeBackend(clock=clock)
    load = backend.load

    def full(spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = load(spec, adapters)
        poll = engine.poll

        def polled(timeout_s: float) -> list[EngineEvent]:
            if clock.now < 1120:
                raise MemoryError("CUDA out of memory")
            return poll(timeout_s)

        engine.poll = polled  # type: ignore[method-assign]
        return engine

    backend.load = full  # type: ignore[method-assign]
    submit(store, make_queries(100))
    drive(make_loop(store, make_pool("a"), backend, clock=clock, pace=SMALL), clock, store)
    assert failed(store, "job") == []
    assert len(backend.loads) < 20


# ── outages ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("away_s", [3, 30, 600])
@pytest.mark.parametrize("backend_name", ["fake", FAR])
def test_an_engine_that_does_not_load_for_a_while_is_waited_for(
    store: SqlJobStore, clock: HandClock, away_s: float, backend_name: str
) -> None:
    backend = FakeBackend(ailing=["a"], clock=clock)
    submit(store, make_queries(50))
    loop = make_loop(store, make_pool("a", backend=backend_name), backend, clock=clock)

    def heals() -> bool:
        if clock.now >= 1000 + away_s:
            backend.ailing.clear()
        return store.job("job").state is JobState.DONE

    run_until(loop, passing(clock, max(0.5, away_s / 150), heals), limit=20_000)
    assert failed(store, "job") == []
    assert len(backend.loads) <= 2 + math.log2(away_s) + away_s / 60, "each pause is longer than the last"


@pytest.mark.parametrize("blame", ["engine", "unclear"])
@pytest.mark.parametrize("n", [1, 40])
@pytest.mark.parametrize(("from_s", "for_s"), [(0, 3), (0.5, 40), (0.5, 400)])
def test_an_engine_that_fails_its_calls_for_a_while_is_waited_for(
    store: SqlJobStore, clock: HandClock, blame: str, n: int, from_s: float, for_s: float
) -> None:
    backend = Ailing(clock, is_ill=lambda now: from_s <= now - 1000 < from_s + for_s, blame=blame)
    submit(store, make_queries(n))
    loop = make_loop(store, make_pool("a", backend=FAR), backend, clock=clock)
    drive(loop, clock, store, every_s=max(0.1, for_s / 100))
    assert failed(store, "job") == []
    assert backend.n_refused <= 45 + for_s / 30, "few are asked while it is away"


def test_a_prompt_that_alone_makes_its_server_fail_ends_after_its_attempts(
    store: SqlJobStore, clock: HandClock
) -> None:
    backend = Ailing(clock, is_ill=lambda _now: False, blame="unclear", batch=1)
    load = backend.load

    def picky(spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = load(spec, adapters)
        poll = engine.poll

        def polled(timeout_s: float) -> list[EngineEvent]:
            return [
                Failed(e.id, "expert_unavailable", "HTTP 500", "unclear")
                if "odd" in getattr(e, "text", "")
                else e
                for e in poll(timeout_s)
            ]

        engine.poll = polled  # type: ignore[method-assign]
        return engine

    backend.load = picky  # type: ignore[method-assign]
    odd = [Query(id=f"odd{i}", question=f"odd {i}") for i in range(2)]
    submit(store, [*odd, *make_queries(30)])
    drive(make_loop(store, make_pool("a", backend=FAR), backend, clock=clock), clock, store, every_s=0.1)
    assert failed(store, "job") == ["odd0", "odd1"]
    assert clock.now < 1000 + 600


def test_what_no_wait_heals_fails_at_once_and_says_what_would(store: SqlJobStore, clock: HandClock) -> None:
    backend = Ailing(clock, is_ill=lambda _now: True, blame="setup")
    submit(store, make_queries(50))
    loop = make_loop(store, make_pool("a", backend=FAR), backend, clock=clock)
    drive(loop, clock, store)
    assert codes(store) == {"expert_unavailable": 50}
    assert clock.now < 1100


def test_a_batch_waits_longer_for_an_engine_than_a_question(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(20))
    submit(store, make_queries(2, prefix="i"), job_id="ask", priority=INTERACTIVE)
    backend = FakeBackend(ailing=["a"])
    loop = make_loop(
        store, make_pool("a"), backend, clock=clock, engine_down_s=3600, engine_down_interactive_s=10
    )
    run_until(loop, passing(clock, 0.5, lambda: store.job("ask").state is JobState.DONE))
    assert 1010 < clock.now < 1020
    assert codes(store, "ask") == {"engine_load_failed": 2}
    assert store.job("job").n_responses == 0
    submit(store, make_queries(1, prefix="j"), job_id="later", priority=INTERACTIVE)
    asked_at = clock.now
    run_until(loop, passing(clock, 0.5, lambda: store.job("later").state is JobState.DONE))
    assert clock.now - asked_at < 5, "that it is away is known by now"
    [fault] = store.faults(30)
    assert (fault.engine_id, fault.state, fault.heal) == ("a", "cooling", "Wait for it.")
    backend.ailing.clear()
    drive(loop, clock, store)
    assert failed(store, "job") == []


# ── other pool files ──────────────────────────────────────────────────────────────────────────────


def test_a_worker_leaves_engines_that_it_does_not_know_to_those_who_do(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(30))
    pool = make_pool("a", "b")
    fresh = make_loop(store, pool, FakeBackend(), owner="fresh", clock=clock)
    fresh._advance()
    fresh._keep_alive()
    stale = make_loop(store, make_pool("a"), FakeBackend(), owner="stale", clock=clock, steps=False)
    for _ in range(300):
        clock.now += 1
        stale.tick()
    assert store.job("job").n_responses == 30
    drive(fresh, clock, store)
    assert codes(store) == {None: 60}


def test_a_worker_leaves_experts_that_it_does_not_know_to_those_who_do(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(30))
    fresh = make_loop(store, make_pool("a", experts_per_engine=2), FakeBackend(), owner="fresh", clock=clock)
    fresh._advance()
    stale = make_loop(store, make_pool("a"), FakeBackend(), owner="stale", clock=clock, steps=False)
    for _ in range(100):
        clock.now += 1
        stale.tick()
    assert codes(store)[None] == store.job("job").n_responses == 30
    stale.shut_down()
    drive(fresh, clock, store)
    assert codes(store) == {None: 60}


def test_an_expert_that_nobody_knows_fails_in_the_end(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(5))
    make_loop(store, make_pool("a", experts_per_engine=2), FakeBackend())._advance()
    drive(make_loop(store, make_pool("a"), FakeBackend(), clock=clock, engine_down_s=60), clock, store)
    assert codes(store) == {None: 5, "expert_unavailable": 5}


def test_devices_tell_their_configuration_and_their_engines(store: SqlJobStore) -> None:
    make_loop(store, make_pool("a", "b"), FakeBackend()).tick()
    [report] = store.devices(30)
    assert (report.config_hash, report.serves) == ("", ("a", "b"))


# ── questions ─────────────────────────────────────────────────────────────────────────────────────


def two_jobs(store: SqlJobStore, loop: DeviceLoop, batch: list[Query], *, asked: str) -> None:
    """A batch on `a`, in the middle of a shard, and then a question for `asked`."""
    compositions = {"job": TextMajority(["a/0"]), "ask": TextMajority([f"{asked}/0"])}
    assert loop._advancer is not None
    loop._advancer._compositions = lambda job: compositions[job.id]
    submit(store, batch)
    run_until(loop, lambda: any(lane.n_running for lane in loop._lanes))
    store.submit(Job(id="ask", composition="any", priority=INTERACTIVE), [Query(id="i", question="urgent")])


@pytest.mark.parametrize("text", ["hang", "slow"])
def test_a_question_for_another_engine_waits_no_longer_than_it_may_for_a_long_batch(
    store: SqlJobStore, clock: HandClock, text: str
) -> None:
    backend = FakeBackend(clock=clock)
    loop = make_loop(store, make_pool("a", "b"), backend, clock=clock, interactive_wait_s=5)
    two_jobs(store, loop, [Query(id=f"{text}{i}", question=f"hang {i}") for i in range(4)], asked="b")
    asked_at = clock.now
    run_until(loop, passing(clock, 0.2, lambda: store.job("ask").state is JobState.DONE))
    assert 5 <= clock.now - asked_at < 8
    assert failed(store, "ask") == []
    back = store.claim("a", owner="me", limit=9, lease_s=9).assignments
    assert [a.attempt for a in back] == [1] * 4, "uncounted"


def test_a_batch_that_ends_in_time_is_not_put_back(store: SqlJobStore, clock: HandClock) -> None:
    backend = FakeBackend(clock=clock, batch=1)
    loop = make_loop(
        store, make_pool("a", "b"), backend, clock=clock, pace=Pace(look_s=0.0), interactive_wait_s=60
    )
    two_jobs(store, loop, make_queries(40), asked="b")
    drive(loop, clock, store, every_s=0.01)
    assert store.job("job").n_regenerated == 0
    assert len(backend.journal) == len(set(backend.journal)) + backend.loads.count("a") - 1


def test_a_question_for_the_same_engine_does_not_wait_for_a_suspect_that_hangs_alone(
    store: SqlJobStore, clock: HandClock
) -> None:
    backend = FakeBackend(clock=clock)
    loop = make_loop(store, make_pool("a"), backend, clock=clock, hang_timeout_s=1000, interactive_wait_s=5)
    submit(store, [Query(id="bad", question="hang")])
    loop._advance()
    [a] = store.claim("a", owner="dead", limit=1, lease_s=9).assignments
    store.release("dead", [a.id], refund_attempt=False)
    run_until(loop, lambda: any(lane.n_running for lane in loop._lanes))
    assert loop._advancer is not None
    submit(store, [Query(id="i", question="urgent")], job_id="ask", priority=INTERACTIVE)
    asked_at = clock.now
    run_until(loop, passing(clock, 0.2, lambda: store.job("ask").state is JobState.DONE))
    assert clock.now - asked_at < 8


def test_devices_of_steps_and_of_other_engines_are_not_waited_for(
    store: SqlJobStore, clock: HandClock
) -> None:
    """Neither could serve what fails here for good."""
    for owner, serves in (("steps", ()), ("other", ("b",))):
        store.report_device(DeviceReport(owner=owner, device="cpu", serves=serves))
    submit(store, make_queries(3))
    drive(make_loop(store, make_pool("a"), FakeBackend(broken=["a"]), clock=clock), clock, store)
    assert codes(store) == {"engine_load_failed": 3}


def test_a_pool_with_one_engine_away_answers_all_that_needs_it_not(
    store: SqlJobStore, clock: HandClock
) -> None:
    pool = Pool(experts=make_pool("a").experts + make_pool("x", backend=FAR).experts)
    backend = FakeBackend(ailing=["x"])
    submit(store, make_queries(20))
    loop = make_loop(store, pool, backend, clock=clock)
    run_until(loop, passing(clock, 0.5, lambda: store.job("job").n_responses == 20))
    assert codes(store) == {None: 20}


def test_a_suspect_runs_with_no_other_engine_of_its_device_at_work(
    store: SqlJobStore, clock: HandClock
) -> None:
    """Else a worker that dies would not tell which of them killed it."""
    backend, seen = FakeBackend(batch=1), set()
    loop = make_loop(store, make_pool("a", "b"), backend, clock=clock, pace=SMALL, max_resident=2)
    load = backend.load

    def watched(spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        engine = load(spec, adapters)
        poll = engine.poll

        def polled(timeout_s: float) -> list[EngineEvent]:
            seen.add(tuple(sorted(lane.engine_id for lane in loop._lanes if lane.n_running)))
            return poll(timeout_s)

        engine.poll = polled  # type: ignore[method-assign]
        return engine

    backend.load = watched  # type: ignore[method-assign]
    submit(store, make_queries(12))
    loop._advance()
    suspects = store.claim("a", owner="dead", limit=12, lease_s=9).assignments
    store.release("dead", [a.id for a in suspects], refund_attempt=False)
    drive(loop, clock, store, every_s=0.2)
    assert seen == {("a",), ("b",)}
    assert failed(store, "job") == []
