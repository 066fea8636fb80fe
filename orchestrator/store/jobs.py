"""The job store: all of `ports.jobs` over SQLite or PostgreSQL. Each method is one transaction, but for those
that end much at once."""

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import (
    BACKGROUND,
    EngineBacklog,
    Job,
    JobProgress,
    JobState,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.devices import DeviceReport, EngineLoad, LoadKind, Rate
from orchestrator.domain.queries import Query
from orchestrator.domain.spending import NO_COSTS, Costs
from orchestrator.domain.stages import CallProgress
from orchestrator.ports.device_stores import DeviceStores
from orchestrator.ports.jobs import (
    AnsweredCall,
    AnsweredQuery,
    Bell,
    Claim,
    Completion,
    LeaseTimes,
    Lessee,
    QueryRecord,
    SweepReport,
)
from orchestrator.ports.questions import Begun, Carried, Settled
from orchestrator.store import (
    backlog,
    carrying,
    claims,
    deleting,
    devices,
    ending,
    reading,
    retrying,
    stages,
    submission,
    sweeping,
)
from orchestrator.store.database import Database
from orchestrator.store.ready import Wanted, free_ready, is_ready, is_routing, ready, take_ready
from orchestrator.store.revision import RevisionWatch
from orchestrator.store.steps import advance, postpone

AUDIT_S = 60.0
"""Between two looks of one process at whether the counters are right."""


class SqlJobStore:
    """Jobs, queries, assignments, responses and answers; safe for many threads and processes.

    While the database is of another revision than this program, nothing is claimed, stepped or swept, and
    what changes a job raises SchemaChangedError. Every method raises StoreUnavailableError when the database
    cannot be reached (nothing was written then, unless the reply to COMMIT was lost: see `Database`),
    StoreError when it refuses, NotFoundError for an unknown job.
    """

    def __init__(
        self, database: Database, *, revision: RevisionWatch | None = None, costs: Costs = NO_COSTS
    ) -> None:
        """
        Args:
            costs: of the pool, for the budgets of keys.
        """
        self._db = database
        self._costs = costs
        self._revision = revision or RevisionWatch(database)
        self._audit_at = time.monotonic() + AUDIT_S

    @property
    def device_stores(self) -> DeviceStores:
        """This store, as the loop of a device asks for it."""
        return DeviceStores(
            jobs=self, waiting=self, steps=self, leases=self, devices=self, costs=self, questions=self
        )

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        self._revision.require()
        with self._db.write() as conn:  # `queries` can be read once only: nothing to try again with
            return submission.submit(conn, job, queries)

    def outbox(self, limit: int) -> list[Bell]:
        return self._db.fetch(lambda conn: submission.outbox(conn, limit))

    def rung(self, ids: Sequence[int]) -> None:
        self._db.transact(lambda conn: submission.rung(conn, ids))

    def job(self, job_id: str) -> JobProgress:
        return self._db.fetch(lambda conn: reading.progress(conn, job_id))

    def states_of(self, job_ids: Collection[str]) -> dict[str, JobState]:
        return self._db.fetch(lambda conn: reading.states_of(conn, job_ids))

    def progress_of(self, job_ids: Collection[str]) -> dict[str, JobProgress]:
        return self._db.fetch(lambda conn: reading.progress_of(conn, job_ids))

    def jobs(self, *, limit: int = 100, owner: str | None = None) -> list[JobProgress]:
        return self._db.fetch(lambda conn: reading.newest(conn, limit=limit, owner=owner))

    def n_under_way(self, *, limit: int) -> int:
        return self._db.fetch(lambda conn: reading.n_under_way(conn, limit=limit))

    def cancel(self, job_id: str) -> None:
        self._revision.require()
        job_pk = self._db.fetch(lambda conn: submission.job_pk_of(conn, job_id))
        if self._db.transact(lambda conn: ending.cancel(conn, job_pk)):
            self._db.transact(lambda conn: ending.end_some(conn, job_pk, patient=True))

    def end_some(self, job_id: str) -> bool:
        job_pk = self._db.fetch(lambda conn: submission.job_pk_of(conn, job_id))
        return self._db.transact(lambda conn: ending.end_some(conn, job_pk, patient=True)) is not None

    def retry(self, job_id: str, *, failed_only: bool, deadline_s: float | None) -> int:
        self._revision.require()
        self._end_fully(job_id)
        return self._db.transact(
            lambda conn: retrying.retry(conn, job_id, failed_only=failed_only, deadline_s=deadline_s)
        )

    def begin_deleting(self, job_id: str) -> int:
        self._revision.require()
        self._end_fully(job_id)
        return self._db.transact(lambda conn: deleting.begin(conn, job_id))

    def begin_deleting_old(self, days: Mapping[str, float], *, limit: int) -> int:
        if not self._revision.fits():
            return 0
        return self._db.transact(lambda conn: deleting.begin_old(conn, days, limit=limit))

    def purge(self, number: int | None = None, *, limit: int) -> bool:
        if number is not None:  # somebody waits for it
            self._revision.require()
        elif not self._revision.fits():
            return False
        return self._db.transact(lambda conn: deleting.purge(conn, number, limit=limit))

    def vacuum(self) -> None:
        self._revision.require()
        self._db.transact(deleting.drop_derived)
        self._db.vacuum()

    def ready(self, *, limit: int, job_id: str | None = None) -> list[QueryState]:
        return self._db.fetch(lambda conn: ready(conn, limit=limit, job_id=job_id))

    def take_ready(
        self,
        *,
        limit: int,
        for_s: float,
        job_id: str | None = None,
        without: Collection[str] = (),
        min_priority: int = BACKGROUND,
    ) -> list[QueryState]:
        if not self._revision.fits():
            return []
        wanted = Wanted(job_id, frozenset(without), min_priority)
        if for_s <= 0:
            return self._db.fetch(lambda conn: free_ready(conn, limit=limit, wanted=wanted))
        if not self._db.fetch(lambda conn: is_ready(conn, wanted)):
            return []
        return self._db.transact(lambda conn: take_ready(conn, limit=limit, for_s=for_s, wanted=wanted))

    def postpone(self, states: Sequence[QueryState], *, for_s: float, counted: bool) -> int:
        return self._db.transact(lambda conn: postpone(conn, states, for_s=for_s, counted=counted))

    def engines_of(self, job_id: str) -> frozenset[str]:
        """Engines of all calls that a job has asked for so far."""
        return self._db.fetch(lambda conn: reading.engines_of(conn, job_id))

    def is_routing(self) -> bool:
        return self._db.fetch(is_routing)

    def advance(self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str]) -> int:
        return self._db.transact(lambda conn: advance(conn, steps, engine_of, self._costs))

    def begin(
        self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str], lessee: Lessee
    ) -> Begun:
        if not self._revision.fits():
            lessee = lessee._replace(room={})
        return self._db.transact(lambda conn: carrying.begin(conn, steps, engine_of, lessee, self._costs))

    def settle(
        self,
        completions: Sequence[Completion],
        carried: Sequence[Carried],
        engine_of: Mapping[str, str],
        lessee: Lessee,
    ) -> Settled:
        if not self._revision.fits():
            carried = ()
        return self._db.transact(
            lambda conn: carrying.settle(conn, completions, carried, engine_of, lessee, self._costs)
        )

    def backlog(self, *, owner: str) -> list[EngineBacklog]:
        return self._db.fetch(lambda conn: backlog.backlog(conn, owner=owner))

    def claim(
        self, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int = BACKGROUND
    ) -> Claim:
        if limit < 1 or not self._revision.fits():
            return Claim(owner, ())
        if not self._db.fetch(lambda conn: claims.is_waiting(conn, engine_id, min_priority=min_priority)):
            return Claim(owner, ())
        claimed = self._db.transact(
            lambda conn: claims.claim(
                conn, engine_id, owner=owner, limit=limit, lease_s=lease_s, min_priority=min_priority
            )
        )
        return Claim(owner, claimed)

    def renew(self, owner: str, *, lease_s: float) -> int:
        return self._db.transact(lambda conn: claims.renew(conn, owner, lease_s=lease_s))

    def held(self, owner: str) -> frozenset[int]:
        return self._db.fetch(lambda conn: claims.held(conn, owner))

    def complete(self, owner: str, completions: Sequence[Completion]) -> int:
        return self._db.transact(lambda conn: claims.complete(conn, owner, completions))

    def release(self, owner: str, assignment_ids: Sequence[int], *, refund_attempt: bool) -> None:
        self._db.transact(lambda conn: claims.release(conn, owner, assignment_ids, refund=refund_attempt))

    def release_owner(self, owner: str, *, refund_attempt: bool) -> int:
        return self._db.transact(lambda conn: claims.release(conn, owner, None, refund=refund_attempt))

    def lease_owners(self) -> list[str]:
        """Owners of leases, run out or not; sorted."""
        return sorted(self.lease_times().until_s)

    def lease_times(self) -> LeaseTimes:
        return self._db.fetch(sweeping.lease_times)

    def bury(self, owner: str, *, max_attempts: int, harmless: Collection[str] = ()) -> SweepReport:
        if not self._revision.fits():
            return SweepReport()
        return sweeping.bury(self._db, owner, sweeping.Limits(max_attempts, frozenset(harmless)))

    def sweep(
        self,
        *,
        max_attempts: int,
        harmless: Collection[str] = (),
        spared: Collection[str] = (),
        max_lease_s: float = math.inf,
        for_s: float = 1.0,
    ) -> SweepReport:
        if not self._revision.fits():
            return SweepReport()
        limits = sweeping.Limits(max_attempts, frozenset(harmless), frozenset(spared), max_lease_s)
        report = sweeping.sweep(self._db, limits, audited=self._is_audit_due())
        return report._replace(n_expired=sweeping.end_jobs(self._db, for_s=for_s, deadlines=not spared))

    def give_up(
        self, engine_id: str, *, code: str, error: str, min_priority: int, waited_s: float, limit: int
    ) -> int:
        if not self._revision.fits():
            return 0
        return self._db.transact(
            lambda conn: sweeping.give_up(
                conn,
                engine_id,
                code=code,
                error=error,
                min_priority=min_priority,
                waited_s=waited_s,
                limit=limit,
            )
        )

    def _end_fully(self, job_id: str) -> None:
        """A job that is on its way to an early end is brought there; any other stays as it is."""
        while self.end_some(job_id):
            pass

    def _is_audit_due(self) -> bool:
        now = time.monotonic()
        if now < self._audit_at:
            return False
        self._audit_at = now + AUDIT_S
        return True

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        self.job(job_id)
        return reading.answers(self._db, job_id)

    def answer(self, job_id: str) -> Answer | None:
        return self._db.fetch(lambda conn: reading.first_answer(conn, job_id))

    def last_decision(self, owner: str, session: str) -> Decision | None:
        return self._db.fetch(lambda conn: reading.last_decision(conn, owner, session))

    def n_shadows(self, *, limit: int) -> int:
        return self._db.fetch(lambda conn: reading.n_shadows(conn, limit=limit))

    def ended_shadows(self, *, limit: int) -> list[str]:
        return self._db.fetch(lambda conn: reading.ended_shadows(conn, limit=limit))

    def query_record(self, job_id: str, query_id: str | None) -> QueryRecord:
        return self._db.fetch(lambda conn: reading.query_record(conn, job_id, query_id))

    def responses(self, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
        self.job(job_id)
        return reading.responses(self._db, job_id)

    def calls(self, job_id: str) -> Iterator[tuple[Query, tuple[AnsweredCall, ...]]]:
        self.job(job_id)
        return reading.calls(self._db, job_id)

    def call_progress(self, job_id: str) -> list[CallProgress]:
        return self._db.fetch(lambda conn: stages.call_progress(conn, job_id))

    def record_load(
        self, *, engine_id: str, device: str, owner: str, seconds: float, kind: LoadKind = LoadKind.COLD
    ) -> None:
        self._db.transact(
            lambda conn: devices.record_load(
                conn, engine_id=engine_id, device=device, owner=owner, seconds=seconds, kind=kind
            )
        )

    def record_leave(self, owner: str) -> None:
        self._db.transact(lambda conn: devices.record_leave(conn, owner))

    def loads(self, *, job_id: str | None = None) -> int:
        return self._db.fetch(lambda conn: reading.n_loads(conn, job_id))

    def engine_loads(self, *, job_id: str) -> list[EngineLoad]:
        return self._db.fetch(lambda conn: reading.engine_loads(conn, job_id))

    def report_device(self, report: DeviceReport) -> None:
        told = self._revision.marked(report)
        self._db.transact(lambda conn: devices.report(conn, told))

    def touch_devices(self, owners: Sequence[str]) -> None:
        self._db.transact(lambda conn: devices.touch(conn, owners))

    def devices(self, max_age_s: float) -> list[DeviceReport]:
        return self._db.fetch(lambda conn: devices.seen(conn, max_age_s))

    def faults(self, max_age_s: float) -> list[DeviceReport]:
        return self._db.fetch(lambda conn: devices.seen(conn, max_age_s, faulty=True))

    def forget_device(self, owner: str) -> None:
        self._db.transact(lambda conn: devices.forget(conn, owner))

    def announce(self, owner: str, engine_id: str, *, n_elsewhere: int) -> bool:
        return self._db.transact(lambda conn: devices.announce(conn, owner, engine_id, n_others=n_elsewhere))

    def rates(self) -> dict[tuple[str, str], Rate]:
        return self._db.fetch(devices.rates)

    def record_rate(
        self, engine_id: str, device: str, *, load_s: float | None = None, tokens_per_s: float | None = None
    ) -> None:
        self.record_costs(engine_id, device, Rate(load_s, tokens_per_s))

    def record_costs(self, engine_id: str, device: str, rate: Rate) -> None:
        self._db.transact(lambda conn: devices.record_rate(conn, engine_id, device, rate))

    def require_revision(self) -> None:
        """Refuse to go on where the database is of another revision than this program.

        Raises:
            SchemaChangedError: somebody migrated the database since this process began.
        """
        self._revision.require()

    def close(self) -> None:
        self._db.close()
