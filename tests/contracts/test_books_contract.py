"""What the books promise where much waits: counters that are right, fair shares, jobs that end bit by bit,
leases that outlive a clock that was set."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, func, select, text, update

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import BATCH, INTERACTIVE, Assignment, Done, Job, JobState
from orchestrator.domain.devices import LIVE_S, DeviceReport
from orchestrator.store import Database, SqlJobStore, ending
from orchestrator.store.sweeping import _SWEEPING
from orchestrator.store.tables import assignment, engine_work, job, share
from tests.contracts.test_store_contract import ENGINE_OF, Chaos, ask, claim, complete, route, submit
from tests.fakes.clocks import SetClock, set_clock
from tests.fakes.work import HandClock, make_queries
from workers.leases.sweeper import Sweeper

LARGE = 2 * ending.CHUNK + 100
HOUR_S = 3600.0


def lines(store: SqlJobStore, n: int, *, job_id: str, priority: int = BATCH) -> None:
    """A job of one call a query for engine `a`, on the books."""
    submit(store, n, job_id=job_id, priority=priority, prefix=f"{job_id}-")
    route(store, ["a/0"])


def by_job(claimed: tuple[Assignment, ...]) -> Counter[str]:
    return Counter(a.job_id for a in claimed)


# ── counters ──────────────────────────────────────────────────────────────────────────────────────


def counted(database: Database) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    """Waiting calls and tokens, leased calls and tokens, by engine and priority: as they are counted."""
    w = engine_work.c
    sums = [func.sum(c) for c in (w.n_waiting, w.waiting_tokens, w.n_leased, w.leased_tokens)]
    with database.read() as conn:
        rows = conn.execute(select(w.engine_id, w.priority, *sums).group_by(w.engine_id, w.priority)).all()
    return {(row[0], row[1]): tuple(map(int, row[2:])) for row in rows if any(row[2:])}


def by_rows(database: Database) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    """The same, from the rows."""
    a = assignment.c
    found: dict[tuple[str, int], list[int]] = {}
    with database.read() as conn:
        rows = conn.execute(
            select(a.engine_id, a.priority, a.state, func.count(), func.sum(a.est_tokens))
            .join(job, job.c.pk == a.job_pk)
            .where((a.state == "leased") | ((a.state == "waiting") & (job.c.state == "running")))
            .group_by(a.engine_id, a.priority, a.state)
        )
        for engine_id, priority, state, n, tokens in rows:
            sums = found.setdefault((engine_id, priority), [0, 0, 0, 0])
            at = 0 if state == "waiting" else 2
            sums[at : at + 2] = [n, int(tokens)]
    return {key: tuple(sums) for key, sums in found.items()}


def shares(database: Database) -> list[tuple[int, str, int, int]]:
    s = share.c
    with database.read() as conn:
        rows = conn.execute(select(s.job_pk, s.engine_id, s.n_waiting, s.n_retried).where(s.n_waiting != 0))
        return sorted(tuple(row) for row in rows)


def shares_by_rows(database: Database) -> list[tuple[int, str, int, int]]:
    a = assignment.c
    n_retried = func.count().filter(a.attempt > 0)
    with database.read() as conn:
        rows = conn.execute(
            select(a.job_pk, a.engine_id, func.count(), n_retried)
            .join(job, job.c.pk == a.job_pk)
            .where(a.state == "waiting", job.c.state == "running")
            .group_by(a.job_pk, a.engine_id)
        )
        return sorted(tuple(row) for row in rows)


@pytest.mark.parametrize("seed", range(3))
def test_counters_are_right_whatever_happens(store: SqlJobStore, database: Database, seed: int) -> None:
    chaos = Chaos(store, seed)
    for n in range(120):
        chaos.step()
        if n % 10 == 0:
            assert counted(database) == by_rows(database)
            assert shares(database) == shares_by_rows(database)
    chaos.drain()
    assert (counted(database), shares(database)) == ({}, [])


def test_a_job_that_runs_again_counts_again(store: SqlJobStore, database: Database) -> None:
    lines(store, 5, job_id="job")
    complete(store, claim(store, limit=2))
    store.cancel("job")
    assert counted(database) == {}
    assert store.retry("job", failed_only=True, deadline_s=None) == 5
    assert counted(database) == by_rows(database) != {}
    assert len(claim(store)) == 3


def test_counters_that_are_wrong_are_put_right(store: SqlJobStore, database: Database) -> None:
    """By a sweep where something waits unknown, by a claim where nothing does."""
    lines(store, 3, job_id="unknown")
    lines(store, 4, job_id="lost")
    with database.write() as conn:
        conn.execute(update(engine_work).values(n_waiting=0, waiting_tokens=0))
        conn.execute(update(share).where(share.c.job_pk == 1).values(n_waiting=0, waiting_tokens=0))
        conn.execute(delete(share).where(share.c.job_pk == 2))
    assert claim(store) == ()
    store._audit_at = 0.0
    store.sweep(max_attempts=3)
    assert counted(database) == by_rows(database)
    assert len(claim(store)) == 7
    with database.write() as conn:
        conn.execute(update(share).where(share.c.job_pk == 1).values(n_waiting=9, waiting_tokens=90))
    assert claim(store) == ()
    assert shares(database) == []


def test_the_oldest_wait_is_that_of_what_still_waits(store: SqlJobStore, database: Database) -> None:
    lines(store, 2, job_id="old")
    with database.write() as conn:
        conn.execute(update(assignment).values(created_at=assignment.c.created_at - 100))
        conn.execute(update(share).values(since=share.c.since - 100))
    lines(store, 2, job_id="new")
    assert store.backlog(owner="me")[0].oldest_wait_s >= 100
    held = store.claim("a", owner="me", limit=3, lease_s=60)
    complete(store, held.assignments)
    claim(store)
    assert store.backlog(owner="me")[0].oldest_wait_s < 100


# ── fair shares ───────────────────────────────────────────────────────────────────────────────────


def test_a_short_job_does_not_wait_behind_a_long_one(store: SqlJobStore) -> None:
    lines(store, 300, job_id="long")
    claim(store, limit=64)
    lines(store, 10, job_id="short")
    assert by_job(claim(store, limit=32)) == {"long": 22, "short": 10}


def test_jobs_take_turns_where_a_claim_is_smaller_than_their_number(store: SqlJobStore) -> None:
    for n in range(5):
        lines(store, 6, job_id=f"job{n}")
    claims = [claim(store, limit=2) for _ in range(5)]
    assert Counter(a.job_id for claimed in claims for a in claimed) == {f"job{n}": 2 for n in range(5)}


def test_who_comes_later_neither_owes_nor_is_owed(store: SqlJobStore) -> None:
    lines(store, 100, job_id="first")
    claim(store, limit=50)
    lines(store, 100, job_id="second")
    assert by_job(claim(store, limit=20)) == {"first": 10, "second": 10}


def test_a_batch_of_priority_two_gets_three_for_one(store: SqlJobStore) -> None:
    lines(store, 60, job_id="plain")
    lines(store, 60, job_id="hurried", priority=2)
    assert by_job(claim(store, limit=40)) == {"hurried": 30, "plain": 10}


def test_questions_come_before_all_batches(store: SqlJobStore) -> None:
    lines(store, 9, job_id="batch", priority=INTERACTIVE - 1)
    lines(store, 2, job_id="question", priority=INTERACTIVE)
    assert by_job(claim(store, limit=9)) == {"question": 2}
    assert by_job(claim(store, limit=9)) == {"batch": 9}


def test_steps_are_shared_too(store: SqlJobStore) -> None:
    submit(store, 50, job_id="long", prefix="l")
    submit(store, 3, job_id="short", prefix="s")
    taken = [s.query.id for s in store.take_ready(limit=8, for_s=60)]
    assert [query_id for query_id in taken if query_id.startswith("s")] == ["s0", "s1", "s2"]
    assert len(taken) >= 7


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_steps_of_more_jobs_than_are_looked_at_together_all_get_their_turn(
    store: SqlJobStore, limit: int
) -> None:
    for n in range(80):
        submit(store, 1, job_id=f"job{n}")
    taken: list[str] = []
    while states := store.take_ready(limit=limit, for_s=60):
        taken += [state.job_id for state in states]
    assert sorted(taken) == sorted(f"job{n}" for n in range(80))


# ── jobs end early ────────────────────────────────────────────────────────────────────────────────


def test_a_large_job_that_is_cancelled_says_so_and_is_left_alone_from_then_on(
    store: SqlJobStore, database: Database
) -> None:
    lines(store, LARGE, job_id="large")
    lines(store, 3, job_id="other")
    held = store.claim("a", owner="worker", limit=20, lease_s=60).assignments
    store.cancel("large")
    progress = store.job("large")
    assert (progress.state, progress.failed, progress.waiting) == (JobState.CANCELLING, 0, LARGE)
    assert store.end_some("large")
    assert 0 < store.job("large").failed < LARGE, "what was claimed first ends first"
    assert store.jobs(limit=1)[0].job.id in ("large", "other")
    assert complete(store, held, owner="worker") == sum(a.job_id == "other" for a in held)
    assert [a.job_id for a in claim(store)] == ["other"] * (3 - by_job(held)["other"])
    assert sum(item.n_waiting for item in store.backlog(owner="me")) == 0
    assert {state.job_id for state in store.ready(limit=9)} <= {"other"}
    while store.job("large").state is not JobState.CANCELLED:
        store.sweep(max_attempts=3, for_s=0)
    progress = store.job("large")
    assert (progress.failed, progress.waiting) == (LARGE, 0)
    assert progress.finished_at is not None
    assert len({query.id for query, _ in store.answers("large")}) == LARGE
    assert counted(database) == by_rows(database)


@pytest.mark.parametrize("again", ["retry", "delete"])
def test_a_large_job_can_be_run_again_or_deleted_as_soon_as_it_was_cancelled(
    store: SqlJobStore, again: str
) -> None:
    lines(store, LARGE, job_id="large")
    store.cancel("large")
    if again == "delete":
        store.begin_deleting("large")
        assert store.jobs() == []
        return
    assert store.retry("large", failed_only=True, deadline_s=None) == LARGE
    assert store.job("large").state is JobState.RUNNING
    assert len(claim(store, limit=LARGE)) == LARGE


def test_what_comes_back_to_a_job_that_is_being_cancelled_is_not_claimed(
    store: SqlJobStore, database: Database
) -> None:
    lines(store, LARGE, job_id="large")
    claim(store, limit=LARGE)
    with database.write() as conn:
        ending.cancel(conn, 1)
    assert store.release_owner("me", refund_attempt=False) == LARGE
    assert (claim(store), store.backlog(owner="me")) == ((), [])
    assert counted(database) == by_rows(database) == {}


def test_a_step_that_was_computed_before_the_cancellation_puts_nothing_on_offer(
    store: SqlJobStore, database: Database
) -> None:
    submit(store, 2, job_id="job")
    first, second = store.ready(limit=2)
    with database.write() as conn:
        ending.cancel(conn, 1)
    store.advance([(first, ask(first, ["a/0"])), (second, Done(answer=Answer(text="yes")))], ENGINE_OF)
    assert (claim(store), store.backlog(owner="me")) == ((), [])
    store.sweep(max_attempts=3)
    progress = store.job("job")
    assert (progress.state, progress.completed, progress.failed) == (JobState.CANCELLED, 1, 1)


def test_deadlines_of_large_jobs_pass_bit_by_bit(store: SqlJobStore, database: Database) -> None:
    for n in range(2):
        store.submit(Job(id=f"job{n}", composition="any", deadline_s=60), make_queries(LARGE))
    with database.write() as conn:
        conn.execute(update(job).values(deadline_at=job.c.deadline_at - 61))
    assert store.sweep(max_attempts=3, for_s=0).n_expired == 2
    assert {store.job(f"job{n}").state for n in range(2)} == {JobState.EXPIRING}
    assert store.ready(limit=9) == []
    n_sweeps = 0
    while any(not store.job(f"job{n}").state.is_over for n in range(2)):
        assert store.sweep(max_attempts=3, for_s=0).n_expired == 0
        n_sweeps += 1
    assert n_sweeps >= 4, "each a transaction of bounded size"
    assert [store.job(f"job{n}").state for n in range(2)] == [JobState.EXPIRED] * 2
    assert {a.error_code for _, a in store.answers("job1")} == {"batch_expired"}


def test_of_two_sweepers_the_second_passes_by(
    store: SqlJobStore, database: Database, database_kind: str
) -> None:
    """On SQLite it waits, and finds nothing to do."""
    lines(store, 2, job_id="job")
    claim(store, lease_s=-1)
    if database_kind == "postgres":
        with database.write() as conn:
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SWEEPING})
            assert store.sweep(max_attempts=3) == (0, 0, 0)
    assert [store.sweep(max_attempts=3) for _ in range(2)] == [(2, 0, 0), (0, 0, 0)]


# ── clocks ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def clock(database_url: str) -> Iterator[SetClock]:
    with set_clock(database_url) as clock:
        yield clock


class Watched:
    """Owners `o0`, `o1`, ... that hold a lease of 15 s each, and a sweeper."""

    def __init__(self, clock: SetClock, n: int) -> None:
        self.store = SqlJobStore(clock.database)
        lines(self.store, n, job_id="job")
        self.owners = [f"o{ix}" for ix in range(n)]
        for owner in self.owners:
            claim(self.store, owner=owner, limit=1, lease_s=15)
        self.ours = HandClock()
        self.clock = clock
        self.sweeper = Sweeper(
            leases=self.store, devices=self.store, clock=self.ours, grace_s=15, max_attempts=3
        )

    def pass_by(self, seconds: float, *, alive: int) -> None:
        """Time passes, by both clocks; the first `alive` owners renew, and the sweeper looks."""
        self.ours.now += seconds
        self.clock.step(seconds)
        for owner in self.owners[:alive]:
            self.store.renew(owner, lease_s=15)
        self.sweeper.sweep()

    @property
    def held(self) -> list[str]:
        return self.store.lease_owners()


@pytest.mark.parametrize("looked", [True, False], ids=["looked before", "starts then"])
def test_a_clock_set_an_hour_forward_ends_no_lease_of_who_lives(clock: SetClock, looked: bool) -> None:
    watched = Watched(clock, 4)
    if looked:
        watched.sweeper.sweep()
    clock.step(HOUR_S)
    watched.sweeper.sweep()
    assert len(watched.held) == 4
    watched.pass_by(5, alive=3)
    assert len(watched.held) == 4
    for _ in range(4):
        watched.pass_by(5, alive=3)
    assert watched.held == ["o0", "o1", "o2"], "and who died is not waited for"
    assert [a.attempt for a in claim(watched.store, owner="new")] == [2]


def test_a_clock_set_an_hour_back_does_not_freeze_what_a_dead_owner_held(clock: SetClock) -> None:
    watched = Watched(clock, 4)
    clock.step(-HOUR_S)
    for _ in range(8):
        watched.pass_by(5, alive=3)
    assert watched.held == ["o0", "o1", "o2"]


def test_no_deadline_passes_while_the_clock_is_doubted(clock: SetClock) -> None:
    watched = Watched(clock, 3)
    watched.store.submit(Job(id="urgent", composition="any", deadline_s=1800), make_queries(2))
    watched.sweeper.sweep()
    clock.step(HOUR_S)
    watched.pass_by(5, alive=3)
    assert watched.store.job("urgent").state is JobState.RUNNING
    clock.step(-HOUR_S)
    watched.pass_by(15, alive=3)
    assert watched.store.job("urgent").state is JobState.RUNNING, "the clock was put right again"


def test_after_the_clock_was_set_back_nobody_counts_as_alive_for_ever(clock: SetClock) -> None:
    store = SqlJobStore(clock.database)
    for owner in ("dead", "alive"):
        store.report_device(DeviceReport(owner=owner, device="cpu"))
    clock.step(-HOUR_S)
    store.report_device(DeviceReport(owner="alive", device="cpu"))
    assert [report.owner for report in store.devices(LIVE_S)] == ["alive"]


def test_a_step_that_somebody_took_before_the_clock_was_set_back_can_be_taken_again(clock: SetClock) -> None:
    store = SqlJobStore(clock.database)
    submit(store, 1)
    assert len(store.take_ready(limit=1, for_s=30)) == 1
    clock.step(-HOUR_S)
    assert len(store.take_ready(limit=1, for_s=30)) == 1
