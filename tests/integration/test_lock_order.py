"""No two statements of the store wait for each other: each pair of them on the same rows, again and again."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    BATCH,
    INTERACTIVE,
    Ask,
    Assignment,
    Done,
    Job,
    QueryState,
    Step,
)
from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.keys import ApiKey, KeyBudget, KeyTerms
from orchestrator.errors import JobRunningError, NotFoundError
from orchestrator.ports.jobs import Lessee
from orchestrator.ports.questions import Carried
from orchestrator.store import SqlJobStore, SqlKeyStore, open_database
from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.fakes.work import answered, make_call, make_queries

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL server"),
]

ENGINE_OF = {"a/0": "a", "b/0": "b"}
OWNERS = ("ann", "bob")
KEYS = ("", "rich", "poor")
"""Owners of jobs: nobody, a key that can ask for everything, and one that soon can ask for nothing more."""
ROUNDS = 8
DEADLOCK = "40P01"


class Mill:
    """Statements over a handful of jobs, each drawn from what is there at the moment."""

    def __init__(self, store: SqlJobStore) -> None:
        self.store = store
        self.deadlocks: list[str] = []
        self._numbers = itertools.count()
        self._rng = random.Random(7)
        self._seen: list[tuple[str, int, int]] = []
        self._begun: list[Assignment] = []
        self.work: Mapping[str, Callable[[], object]] = {
            "submit": self.submit,
            "step": self.step,
            "carry": self.carry,
            "claim": self.claim,
            "renew": lambda: store.renew(self.owner(), lease_s=0.05),
            "complete": self.complete,
            "release": lambda: store.release_owner(self.owner(), refund_attempt=False),
            "sweep": lambda: store.sweep(max_attempts=3, max_lease_s=0.05, for_s=0.01),
            "bury": lambda: store.bury(self.owner(), max_attempts=3),
            "give up": self.give_up,
            "cancel": lambda: store.cancel(self.job()),
            "retry": lambda: store.retry(self.job(), failed_only=True, deadline_s=None),
            "delete": lambda: store.purge(store.begin_deleting(self.job()), limit=5),
            "audit": self.audit,
            "devices": self.devices,
        }

    def owner(self) -> str:
        return self._rng.choice(OWNERS)

    def job(self) -> str:
        jobs = [progress.job.id for progress in self.store.jobs(limit=6)]
        return self._rng.choice(jobs) if jobs else "none"

    def submit(self) -> None:
        key_id = self._rng.choice(KEYS)
        job = Job(id=f"job{next(self._numbers)}", composition="any", deadline_s=60, owner=key_id)
        priority = self._rng.choice((BATCH, INTERACTIVE))
        self.store.submit(job.model_copy(update={"priority": priority}), make_queries(12))
        self.store.rung([bell.id for bell in self.store.outbox(50)])

    def step(self) -> None:
        states = self.store.take_ready(limit=24, for_s=0.01)
        self._rng.shuffle(states)
        self.store.advance([(state, self._next(state)) for state in states], ENGINE_OF)

    def carry(self) -> None:
        """Begin calls of questions, and settle those that were begun before with their next step."""
        lessee = Lessee(self.owner(), 0.05, dict.fromkeys("ab", 8))
        states = self.store.take_ready(limit=12, for_s=0.01)
        self._rng.shuffle(states)
        begun = self.store.begin([(state, self._next(state)) for state in states], ENGINE_OF, lessee)
        mine, self._begun = self._begun, list(begun.assignments)
        self._rng.shuffle(mine)
        needs: dict[tuple[str, int, int], set[int]] = {}
        for a in mine:
            needs.setdefault((a.job_id, a.query_id, a.stage), set()).add(a.id)
        query = make_queries(1)[0]
        states = [QueryState(id=pk, job_id=job, query=query, stage=n + 1) for job, pk, n in needs]
        steps = [
            Carried(state, self._next(state), frozenset(ids))
            for state, ids in zip(states, needs.values(), strict=True)
        ]
        self.store.settle(answered([(a.id, a.attempt) for a in mine]), steps, ENGINE_OF, lessee)

    def claim(self) -> None:
        owner = self.owner()
        for engine in "ab":
            claimed = self.store.claim(engine, owner=owner, limit=16, lease_s=0.05).assignments
            self._seen += [(owner, a.id, a.attempt) for a in claimed]

    def complete(self) -> None:
        owner = self.owner()
        mine = [(pk, attempt) for whose, pk, attempt in self._seen[-64:] if whose == owner]
        self._rng.shuffle(mine)
        self.store.complete(owner, answered(mine[:24]))

    def give_up(self) -> None:
        self.store.give_up("b", code="down", error="away", min_priority=0, waited_s=0, limit=4)

    def audit(self) -> None:
        self.store._audit_at = 0.0
        self.store.sweep(max_attempts=3, for_s=0)

    def devices(self) -> None:
        owners = list(OWNERS)
        self._rng.shuffle(owners)
        for owner in owners:
            self.store.report_device(DeviceReport(owner=owner, device="cpu"))
        self.store.touch_devices(owners)
        self.store.announce(owners[0], "a", n_elsewhere=9)

    def _next(self, state: QueryState) -> Step:
        if state.stage < 2:
            return Ask(calls=tuple(make_call(e, state.query) for e in ENGINE_OF))
        return Done(answer=Answer(text="yes", error_code=self._rng.choice([None, "no_answer"])))

    def run(self, name: str, meet: threading.Barrier) -> None:
        for _ in range(ROUNDS):
            meet.wait(timeout=60)
            with suppress(NotFoundError, JobRunningError):
                self.work[name]()


@pytest.fixture(scope="module")
def mill() -> Iterator[Mill]:
    with fresh_postgres() as url:
        database = open_database(f"{url}?options=-c%20deadlock_timeout%3D20ms")
        for key_id, tokens in (("rich", 10**12), ("poor", 10_000)):
            terms = KeyTerms(budget=KeyBudget(tokens=tokens))
            SqlKeyStore(database).add(ApiKey(id=key_id, shown="", terms=terms, created_at=1.0), key_id)
        mill = Mill(SqlJobStore(database))

        def note(context: object) -> None:
            if getattr(context.original_exception, "sqlstate", None) == DEADLOCK:  # type: ignore[attr-defined]
                mill.deadlocks.append(str(context.statement))  # type: ignore[attr-defined]

        event.listen(Engine, "handle_error", note)
        yield mill
        event.remove(Engine, "handle_error", note)
        mill.store.close()


NAMES = tuple(Mill(SqlJobStore.__new__(SqlJobStore)).work)


@pytest.mark.parametrize("first", NAMES)
def test_nothing_waits_for_what_waits_for_it(mill: Mill, first: str) -> None:
    """Beside each of the others in turn, both many times on the same jobs, with work from the others."""
    for second in NAMES[NAMES.index(first) :]:
        for name in ("submit", "step", "claim", "complete", "carry", "step", "claim"):
            mill.work[name]()
        meet = threading.Barrier(2)
        errors: list[BaseException] = []

        def guarded(name: str) -> None:
            try:
                mill.run(name, meet)  # noqa: B023
            except BaseException as error:
                meet.abort()  # noqa: B023
                errors.append(error)  # noqa: B023

        threads = [threading.Thread(target=guarded, args=(name,)) for name in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (errors, mill.deadlocks) == ([], []), f"{first} beside {second}"


def test_renewing_and_answering_a_large_shard_wait_for_each_other_in_order(mill: Mill) -> None:
    """Rows lie in the table in another order than they are locked in: each was written at another time."""
    store, owner, n = mill.store, "worker", 240
    store.submit(Job(id="shard", composition="any", priority=50), make_queries(n))
    states = store.ready(limit=n)
    store.advance([(s, Ask(calls=(make_call("a/0", s.query),))) for s in states], ENGINE_OF)
    while claimed := store.claim("a", owner="first", limit=n, lease_s=60, min_priority=50).assignments:
        pks = [a.id for a in claimed]
        random.Random(3).shuffle(pks)
        for pk in pks:
            store.release("first", [pk], refund_attempt=True)
        if len(pks) == n:
            break
    held = store.claim("a", owner=owner, limit=n, lease_s=60, min_priority=50).assignments
    assert len(held) == n
    completions = answered([(a.id, a.attempt) for a in held])
    stopping = threading.Event()

    def renew() -> None:
        while not stopping.is_set():
            store.renew(owner, lease_s=60)

    renewing = [threading.Thread(target=renew) for _ in range(2)]
    for thread in renewing:
        thread.start()
    random.Random(5).shuffle(completions)
    for start in range(0, n, 20):
        store.complete(owner, completions[start : start + 20])
    stopping.set()
    for thread in renewing:
        thread.join()
    assert mill.deadlocks == []
    assert store.job("shard").n_responses == n
