"""The books: jobs, queries, leases, devices, as protocols by reader.

One database is behind all of them. Times are database time; every method is one transaction, and raises
StoreUnavailableError when the database cannot be reached. Rules: a claim is a lease (owner, expiry,
attempt + 1); writes with an outdated attempt are ignored; a response per assignment and an answer per query
are unique; a query advances only from the stage its step was computed for.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from orchestrator.domain.answers import Answer, Decision
from orchestrator.domain.assignments import (
    BACKGROUND,
    Assignment,
    Call,
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
from orchestrator.domain.stages import CallProgress


class Claim(NamedTuple):
    """A shard under lease; `owner` and each assignment's `attempt` fence later writes."""

    owner: str
    assignments: tuple[Assignment, ...]


class Completion(NamedTuple):
    assignment_id: int
    attempt: int
    response: Response


class Lessee(NamedTuple):
    """A loop that begins calls as they are put on the books: its name, the seconds of its leases, and how
    many more calls each of its engines may be given now."""

    owner: str
    lease_s: float
    room: Mapping[str, int]


class SweepReport(NamedTuple):
    """Assignments whose lease ran out, assignments given up, jobs past their deadline."""

    n_released: int = 0
    n_poisoned: int = 0
    n_expired: int = 0


class LeaseTimes(NamedTuple):
    """The database's clock at one moment, and when the last lease of each owner ends by it."""

    now_s: float
    until_s: Mapping[str, float]


class Bell(NamedTuple):
    """A row of the outbox: `job_id` was submitted and nobody was told yet."""

    id: int
    job_id: str


class AnsweredQuery(NamedTuple):
    query: Query
    answer: Answer


class QueryRecord(NamedTuple):
    """A query of a job as far as it got; `answer` None = not answered yet, `decision` None = nobody was
    recruited yet."""

    query: Query
    answer: Answer | None
    responses: tuple[Response, ...]
    decision: Decision | None = None


class AnsweredCall(NamedTuple):
    """A call as it was made, and what came back for it."""

    call: Call
    response: Response


class JobReader(Protocol):
    """Progress of jobs."""

    def job(self, job_id: str) -> JobProgress:
        """Progress of one job.

        Raises:
            NotFoundError: no such job.
        """

    def jobs(self, *, limit: int = 100, owner: str | None = None) -> list[JobProgress]:
        """Progress of jobs: running ones first, then the others; newest first within both. `owner`: whose;
        None = everybody's."""


class JobWatcher(JobReader, Protocol):
    """Jobs as those who wait for them see them: many in one look. Unknown ones are left out."""

    def states_of(self, job_ids: Collection[str]) -> dict[str, JobState]:
        """States by job id."""

    def progress_of(self, job_ids: Collection[str]) -> dict[str, JobProgress]:
        """Progress by job id."""


class StoreHealth(Protocol):
    """Health of the books."""

    def n_under_way(self, *, limit: int) -> int:
        """Jobs that have not ended; of more than `limit`, no more are counted."""


class ResultReader(Protocol):
    """Outcomes of jobs.

    What is streamed raises NotFoundError at once for an unknown job, and later where it is deleted before
    all of it was read.
    """

    def answers(self, job_id: str) -> Iterator[AnsweredQuery]:
        """Answered and failed queries in submission order, streamed."""

    def answer(self, job_id: str) -> Answer | None:
        """The answer of a job's first query, for which an interactive ask waits; None = there is none yet."""

    def query_record(self, job_id: str, query_id: str | None) -> QueryRecord:
        """One query of a job by its id; None = the only one.

        Raises:
            NotFoundError: no such job or query.
            InputError: None, and the job has several.
        """

    def responses(self, job_id: str) -> Iterator[tuple[Query, tuple[Response, ...]]]:
        """Queries with their responses, streamed in submission order."""

    def calls(self, job_id: str) -> Iterator[tuple[Query, tuple[AnsweredCall, ...]]]:
        """Queries with the calls that were answered, streamed in submission order."""


class StageReader(Protocol):
    """Calls of questions that are being answered."""

    def call_progress(self, job_id: str) -> Sequence[CallProgress]:
        """Calls of a job so far, the first hundred, in the order in which they were asked for.

        Raises:
            NotFoundError: no such job.
        """


class JobStore(JobReader, ResultReader, Protocol):
    """Jobs as those who submit them know them."""

    def submit(self, job: Job, queries: Iterable[Query]) -> int:
        """Store a job, its queries (streamed) and its bell, in one transaction; returns the number of
        queries. A job id that exists with equal content is a no-op."""

    def cancel(self, job_id: str) -> None:
        """End a job: nothing of it is claimed any more, and its open queries fail as `cancelled`, those of a
        large one after this returns. One that has ended stays as it is."""


class EndingStore(Protocol):
    """Jobs on their way to an early end."""

    def end_some(self, job_id: str) -> bool:
        """End some of the open queries of a job that was cancelled or is past its deadline, in a transaction
        of bounded size; whether there are more. Of any other job there are none."""


class EndedJobStore(Protocol):
    """Jobs that have ended: run again, or deleted."""

    def retry(self, job_id: str, *, failed_only: bool, deadline_s: float | None) -> int:
        """Open the failed queries of a job again, and without `failed_only` the degraded ones; returns how
        many. What is answered stays; with none the job stays as it is. `deadline_s`: from now, None = none.

        Raises:
            JobRunningError: it has not ended.
        """

    def begin_deleting(self, job_id: str) -> int:
        """Take a job from everybody's eyes, and free its id; returns a number for `purge`.

        Raises:
            JobRunningError: it has not ended.
        """

    def begin_deleting_old(self, days: Mapping[str, float], *, limit: int) -> int:
        """Begin to delete up to `limit` jobs that ended longer ago than their kind is kept; returns how many.

        Args:
            days: for which jobs are kept, by kind; those of other kinds stay.
        """

    def purge(self, number: int | None = None, *, limit: int) -> bool:
        """Delete what up to `limit` queries of a deleted job left; whether there may be more.

        Args:
            number: from `begin_deleting`; None = of the first deleted job there is.
        """

    def vacuum(self) -> None:
        """Drop what is derived and no longer asked for, and give free space back."""


class Outbox(Protocol):
    """Bells that are owed for submitted jobs."""

    def outbox(self, limit: int) -> list[Bell]:
        """Bells that nobody was seen to ring, oldest first. Ring, then `rung`: a bell may ring twice."""

    def rung(self, ids: Sequence[int]) -> None:
        """These bells were rung: they are owed no more. Those that somebody else takes away just now are
        left to them."""


class WaitingReader(Protocol):
    """Work that waits: calls for their engine, queries for their next step."""

    def backlog(self, *, owner: str) -> list[EngineBacklog]:
        """Open calls by engine; to `owner`, all devices but its own are others."""

    def held(self, owner: str) -> frozenset[int]:
        """Assignments under an owner's lease."""

    def is_routing(self) -> bool:
        """True while queries wait for their first step."""

    def ready(self, *, limit: int, job_id: str | None = None) -> list[QueryState]:
        """Unfinished queries none of whose calls is outstanding: those of the highest priority only."""


class StepStore(Protocol):
    """Steps of queries: taken from here, computed, stored."""

    def take_ready(
        self,
        *,
        limit: int,
        for_s: float,
        job_id: str | None = None,
        without: Collection[str] = (),
        min_priority: int = BACKGROUND,
    ) -> list[QueryState]:
        """Ready queries that nobody took and that are not postponed, of all jobs but `without`; nobody else
        is given these for `for_s` seconds or until `advance`. With `for_s` 0 nothing is marked: for a
        database that one process uses."""

    def postpone(self, states: Sequence[QueryState], *, for_s: float, counted: bool) -> int:
        """The present step of these is tried again, in `for_s` seconds at the earliest; `counted`: their
        `attempt` grows. Skips queries no longer at that stage; returns the number of the others."""

    def advance(self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str]) -> int:
        """Store steps: Ask inserts assignments (`engine_of`: expert id to engine id) and moves the
        stage; Done stores the answer. Skips queries no longer at that stage; returns those applied."""


class LeaseStore(Protocol):
    """Leases of assignments, and their end."""

    def claim(
        self, engine_id: str, *, owner: str, limit: int, lease_s: float, min_priority: int = BACKGROUND
    ) -> Claim:
        """Lease up to `limit` assignments of one priority and attempt; retried ones in smaller shards."""

    def renew(self, owner: str, *, lease_s: float) -> int:
        """Extend everything an owner holds; returns how many assignments."""

    def complete(self, owner: str, completions: Sequence[Completion]) -> int:
        """Store responses whose lease is still current; returns how many were accepted. Responses
        that already exist are counted as regenerated and ignored."""

    def release(self, owner: str, assignment_ids: Sequence[int], *, refund_attempt: bool) -> None:
        """Give assignments back unfinished; those that are not the owner's stay.

        Args:
            refund_attempt: the claim that ends here does not count among their attempts.
        """

    def release_owner(self, owner: str, *, refund_attempt: bool) -> int:
        """Give back everything an owner holds, as `release` does; returns how many assignments."""

    def lease_times(self) -> LeaseTimes:
        """Ends of the leases of each owner."""

    def bury(self, owner: str, *, max_attempts: int, harmless: Collection[str] = ()) -> SweepReport:
        """An owner is dead: its leases return to the queue. After `max_attempts` claims the assignment fails
        as poison, if its owner held nothing else that could have been the cause; work of `harmless` engines
        could not, and its attempt is refunded."""

    def sweep(
        self,
        *,
        max_attempts: int,
        harmless: Collection[str] = (),
        spared: Collection[str] = (),
        max_lease_s: float = math.inf,
        for_s: float = 1.0,
    ) -> SweepReport:
        """Return expired leases to the queue, as `bury` does. The open queries of a job past its deadline end
        as `batch_expired`, and those of a job that was cancelled, for about `for_s` seconds; the rest next
        time. One sweeps at a time, the others do nothing.

        Args:
            spared: owners whose leases stay; with any, no deadline passes either.
            max_lease_s: leases that end later than so many seconds from now end by then.
        """

    def give_up(
        self, engine_id: str, *, code: str, error: str, min_priority: int, waited_s: float, limit: int
    ) -> int:
        """Fail up to `limit` assignments that wait for an engine: those of at least that priority, on the
        books for so long; returns how many.

        Args:
            code, error: of their responses, as of an error of ours.
        """


class DeviceReader(Protocol):
    """Devices as they report themselves."""

    def devices(self, max_age_s: float) -> list[DeviceReport]:
        """Devices heard of in the last `max_age_s` seconds, by owner; their faults are left out."""

    def faults(self, max_age_s: float) -> list[DeviceReport]:
        """Engines that devices cannot serve now, as told in the last `max_age_s` seconds, by owner."""


class DeviceStore(DeviceReader, Protocol):
    """Reports of devices."""

    def report_device(self, report: DeviceReport) -> None:
        """A device is alive and serves this; replaces its owner's last report."""

    def touch_devices(self, owners: Sequence[str]) -> None:
        """These live: as if each repeated its last report. One that is forgotten stays so."""

    def forget_device(self, owner: str) -> None:
        """Nothing is reported under this owner any more; harmless if nothing was."""

    def announce(self, owner: str, engine_id: str, *, n_elsewhere: int) -> bool:
        """Report that `owner`'s device loads an engine, unless more than `n_elsewhere` other live devices
        have it by now: then nothing changes and False says to choose again. One announces at a time.

        Raises:
            NotFoundError: the owner reported no device.
        """


class CostReader(Protocol):
    """Costs of engines: loads that took place, measured rates."""

    def loads(self, *, job_id: str | None = None) -> int:
        """Loads so far; of a job: those of its engines while it ran."""

    def engine_loads(self, *, job_id: str) -> list[EngineLoad]:
        """The loads that `loads` counts for a job, in the order they ended."""

    def rates(self) -> dict[tuple[str, str], Rate]:
        """Measured costs by (engine id, device)."""


class CostStore(CostReader, Protocol):
    """Loads and rates, written down."""

    def record_load(
        self, *, engine_id: str, device: str, owner: str, seconds: float, kind: LoadKind = LoadKind.COLD
    ) -> None:
        """A load ended just now.

        Args:
            owner: of the place that the engine took.
            seconds: that it took.
        """

    def record_leave(self, owner: str) -> None:
        """The engine that `owner` loaded last is no longer resident."""

    def record_rate(
        self,
        engine_id: str,
        device: str,
        *,
        load_s: float | None = None,
        tokens_per_s: float | None = None,
    ) -> None:
        """Measure again: the mean of the new value and the stored one replaces it."""

    def record_costs(self, engine_id: str, device: str, rate: Rate) -> None:
        """`record_rate` of all that a rate tells; of memory, a new value that is larger replaces the old."""


class WorkReader(WaitingReader, DeviceReader, CostReader, Protocol):
    """Grounds of plans: the work that waits, the devices that live, what loads and work cost."""
