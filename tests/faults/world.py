"""One live system per fault: database, pool file, API, workers and beat, all real processes."""

import itertools
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg

from tests.faults import checker
from tests.faults.checker import Counters
from tests.faults.pools import LOG, PROVIDER_KEY, Json, questions, write_pool
from tests.faults.prober import Prober
from tests.faults.report import Report
from tests.harness.processes import ROOT, Process
from tests.harness.servers import DATABASE_PASSWORD, Postgres, Redis, rows
from tests.harness.stack import Stack, answers
from tests.harness.waiting import becomes_true, wait_for

N_QUERIES = 240
TEMPLATE = "pristine"
BROKER_PASSWORD = "pw-planted-a07d22"
SECRETS = (PROVIDER_KEY, DATABASE_PASSWORD, BROKER_PASSWORD)
MAJORITY: Mapping[str, Json] = {"vote": {"router": "all", "aggregator": "majority"}}
QUICK: Json = {"lease_s": 3, "sweep_s": 1}
"""Leases and sweeps of the faults that need not wait for the defaults."""

P99_S = 1.0
N_DOWNLOADS = 10
"""Jobs whose answers are also read over HTTP, the last ones of a world."""

T = TypeVar("T")


class Lab:
    """The servers that all worlds share, and the folder of their files.

    Attributes:
        wanted: ids of the faults of this run.

    Args:
        address: of this host, where others reach its servers; None = only this host does.
    """

    def __init__(self, folder: Path, *, wanted: Collection[str] = (), address: str | None = None) -> None:
        self.folder = folder
        self.postgres = Postgres(folder, address=address)
        self.redis = Redis(folder, password=BROKER_PASSWORD, address=address)
        self.wanted = wanted
        self._numbers = itertools.count(1)
        self._done: dict[str, Any] = {}

    def once(self, what: str, make: Callable[[], T]) -> T:
        """What several faults share is made by the first."""
        if what not in self._done:
            self._done[what] = make()
        found: T = self._done[what]
        return found

    def open(self) -> None:
        self.postgres.start()
        self.redis.start()
        self.postgres.create(TEMPLATE)
        migrate = Process(
            "migrate",
            [
                sys.executable,
                "-c",
                f"from orchestrator.store import *; open_database({self.postgres.url(TEMPLATE)!r}).close()",
            ],
            env={"PYTHONPATH": str(ROOT)},
            log=self.folder / "migrate.log",
        ).start()
        wait_for("the migration ends", lambda: not migrate.is_alive, within_s=60)
        assert migrate.returncode == 0, migrate.tail()

    def close(self) -> None:
        self.postgres.close()
        self.redis.close()

    def new_name(self) -> str:
        return f"world{next(self._numbers)}"


class World(Stack):
    """A system over a pool of scripted or served experts. Use `living` to have it started, audited and
    ended.

    Attributes:
        acknowledged: custom ids by job id, of what the API accepted.
        doomed: custom ids by job id, of what no wait heals; None = all of the job.
    """

    def __init__(
        self,
        lab: Lab,
        members: Sequence[Json],
        *,
        compositions: Mapping[str, Json] = MAJORITY,
        scheduler: Json = QUICK,
        server: Json | None = None,
        router_settings: Json | None = None,
        workers: int = 2,
        light: int = 0,
        beats: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.lab = lab
        self.name = lab.new_name()
        self.acknowledged: dict[str, list[str]] = {}
        self.doomed: dict[str, set[str] | None] = {}
        folder = lab.folder / self.name
        (folder / "tmp").mkdir(parents=True)
        super().__init__(
            folder / "pool.yaml",
            folder,
            database_url=lab.postgres.url(self.name),
            broker_url=lab.redis.url,
            env={"OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp"), **(env or {})},
            timeout_s=30,
        )
        self._muster = {
            "data_dir": str(self.folder / "data"),
            "embedder": {"model": "hash"},
            "compositions": {name: dict(spec) for name, spec in compositions.items()},
            "scheduler": dict(scheduler),
            "server": dict(server or {}),
        }
        self._router_settings = router_settings
        self.configure(members)
        self.api = self.process("api", "serve", "--port", str(self.port))
        self.workers = [self.device_worker(f"worker{n}") for n in range(1, workers + 1)]
        self.light = [self.process(f"light{n}", "worker") for n in range(1, light + 1)]
        self.beats = [self.process(f"beat{n}", "beat") for n in range(1, beats + 1)]
        self.prober = Prober(self.port, is_up=lambda: self.api.is_alive)

    # ── processes ─────────────────────────────────────────────────────────────────────────────────

    @property
    def processes(self) -> list[Process]:
        return [self.api, *self.workers, *self.light, *self.beats]

    @property
    def muster_section(self) -> Json:
        """`muster:` of its pool file."""
        return dict(self._muster)

    @property
    def engine_log(self) -> Path:
        return self.folder / LOG

    def configure(self, members: Sequence[Json], *, compositions: Mapping[str, Json] | None = None) -> None:
        """Write the pool file; processes started from now on read it."""
        other = {} if compositions is None else {"compositions": dict(compositions)}
        muster = {**self._muster, **other}
        write_pool(self.folder / "pool.yaml", members, muster=muster, router_settings=self._router_settings)

    def device_worker(self, name: str, **more: Any) -> Process:
        return self.process(name, "worker", "--device", "cpu", **more)

    def start(self, *processes: Process) -> None:
        for process in processes or self.processes:
            process.start()
        for process in processes or self.processes:
            process.await_ready()

    def keep_alive(self) -> None:
        """Restart what died by itself, as `restart: always` does."""
        for process in self.processes:
            if not process.is_alive:
                process.kill()
                process.start()

    # ── clients ───────────────────────────────────────────────────────────────────────────────────

    def submit(
        self,
        n: int = N_QUERIES,
        *,
        start: int = 0,
        model: str = "muster/vote",
        queries: Sequence[Json] | None = None,
        key: str | None = None,
        deadline_s: float | None = None,
    ) -> str:
        """Submit a batch; its queries count as acknowledged from here on."""
        asked = list(queries or questions(n, start=start))
        reply = self.try_submit(asked, model=model, key=key, deadline_s=deadline_s)
        if reply.status_code != 202:
            raise AssertionError(f"submitting was answered with {reply.status_code}: {reply.text[:300]}")
        return self.acknowledge(reply, asked)

    def try_submit(
        self,
        asked: Sequence[Json],
        *,
        model: str = "muster/vote",
        key: str | None = None,
        deadline_s: float | None = None,
        timeout_s: float = 60,
    ) -> httpx.Response:
        """Over a connection of its own: for any thread."""
        headers = {} if key is None else {"idempotency-key": key}
        query = {} if deadline_s is None else {"deadline_s": str(deadline_s)}
        return self.post_job(asked, headers=headers, timeout_s=timeout_s, composition=model, **query)

    def acknowledge(self, reply: httpx.Response, asked: Sequence[Json]) -> str:
        job_id = str(reply.json()["id"])
        self.acknowledged[job_id] = [str(query["id"]) for query in asked]
        return job_id

    # ── the books ─────────────────────────────────────────────────────────────────────────────────

    @property
    def db(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of our own; a new one after the server went away."""
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = self.lab.postgres.connect(self.name)
        return self._connection

    _connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def sql(self, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
        return rows(self.db, statement, *values)

    def sql_do(self, statement: str) -> None:
        """A statement without rows."""
        self.db.execute(statement.encode())

    def value(self, statement: str, *values: object) -> Any:
        """The first column of the only row."""
        [(found, *_)] = self.sql(statement, *values)
        return found

    def counters(self, job_id: str) -> Counters:
        found = checker.counters(self.db, job_id)
        assert found is not None, f"job {job_id} is not there"
        return found

    def n_leased(self, process: Process | None = None) -> int:
        return checker.n_leased(self.db, pid=None if process is None else process.pid)

    def await_holder(self) -> Process:
        """A worker in the middle of a shard; of several, the one that holds most."""
        self.await_lease()
        return max(self.workers, key=self.n_leased)

    def await_lease(self, process: Process | None = None, *, at_least: int = 1, within_s: float = 30) -> None:
        """Until a process is in the middle of a shard."""
        wait_for(
            f"{process or 'somebody'} holds a lease",
            lambda: self.n_leased(process) >= at_least,
            within_s=within_s,
            every_s=0.01,
        )

    def await_responses(self, job_id: str, at_least: int, *, within_s: float = 60) -> None:
        wait_for(
            f"{at_least} responses of {job_id}",
            lambda: self.counters(job_id).responses >= at_least,
            within_s=within_s,
        )

    def ends(self, job_id: str, *, within_s: float, keep_alive: bool = False) -> bool:
        """I4: whether the job reaches a terminal state within the bound."""

        def look() -> bool:
            if keep_alive:
                self.keep_alive()
            with suppress(psycopg.OperationalError):
                return checker.is_over(self.db, job_id)
            return False

        return becomes_true(look, within_s=within_s, every_s=0.05)

    def stored_answers(self, job_id: str) -> list[dict[str, Any]]:
        """Answers as stored."""
        found = self.sql(
            "SELECT a.payload::json FROM answer a JOIN query q ON q.pk = a.query_pk"
            " JOIN job j ON j.pk = q.job_pk WHERE j.id = %s",
            job_id,
        )
        return [payload for (payload,) in found]

    def responses(self, job_id: str, expert_id: str) -> list[dict[str, Any]]:
        """Responses as stored."""
        found = self.sql(
            "SELECT a.response::json FROM assignment a JOIN job j ON j.pk = a.job_pk"
            " WHERE j.id = %s AND a.expert_id = %s AND a.response IS NOT NULL",
            job_id,
            expert_id,
        )
        return [payload for (payload,) in found]

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    def audit(self, report: Report) -> None:
        """I1 to I3, I5 and I6; and that nothing failed that a wait would have healed."""
        books = checker.audit(self.db, self.acknowledged)
        report.n_lost += books.lost
        report.n_duplicated += books.duplicated
        needless = checker.failed_needlessly(self.db, self.acknowledged, self.doomed)
        report.n_failed_needlessly += len(needless)
        report.expect("nothing failed that a wait would have healed", not needless, seen=needless[:5])
        report.expect(
            "I1 I2 I3 nothing lost, nothing twice, counters add up", not books.problems, seen=books.problems
        )
        strange = self._strange_downloads()
        report.expect("I2 a client downloads every answer once", not strange, seen=strange)
        logs = [*self.folder.glob("*.log"), self.lab.folder / "redis.log"]
        leaks = checker.leaks(logs, SECRETS)
        report.expect("I5 no secret in a log", not leaks, seen=leaks)
        if self.prober.latencies:
            p99 = round(self.prober.p99_s, 3)
            report.expect(f"I6 p99 of /health/live below {P99_S:g} s", p99 < P99_S, seen=p99)

    def _strange_downloads(self) -> list[str]:
        """Jobs whose answers over HTTP are not one a query."""
        if not becomes_true(lambda: answers(self.url), within_s=30, every_s=0.1):
            return []  # it may have been restarted just now
        sent = {job: sorted(ids) for job, ids in list(self.acknowledged.items())[-N_DOWNLOADS:]}
        return [job for job, ids in sent.items() if sorted(map(str, self.downloaded(job))) != ids]

    def downloaded(self, job_id: str) -> list[object]:
        """Ids of the lines of a job's answers."""
        return [line["id"] for line in self.answers(job_id)]

    def close(self) -> None:
        super().close()
        if self._connection is not None:
            self._connection.close()
        with suppress(psycopg.OperationalError):
            self.lab.postgres.drop(self.name)


@contextmanager
def living(
    lab: Lab,
    report: Report,
    members: Sequence[Json],
    *,
    start: bool = True,
    template: bool = True,
    **options: Any,
) -> Iterator[World]:
    """A world whose processes run; audited when the block ends, and ended whatever happens.

    Args:
        start: False = the block starts the processes.
        template: False = its database is empty, without tables.
    """
    world = World(lab, members, **options)
    lab.postgres.create(world.name, template=TEMPLATE if template else None)
    with lab.redis.client() as client:
        client.flushall()
    try:
        if start:
            world.start()
            world.prober.start()
        yield world
        world.prober.stop()
        world.audit(report)
    finally:
        world.prober.stop()
        world.close()
