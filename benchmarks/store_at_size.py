"""Books in which much waits: the store's part of `python -m benchmarks.store --rows N`.

Rows are made by SQL in a database of their own: `N` waiting calls in 100 running jobs on 18 engines, two
calls a query, and 100,000 jobs that have ended. Each figure is the median of several rounds, on the books as
they stand; what else is worth knowing goes to stderr.

    look_ms    all that a device asks once a second: backlog, jobs, routing, devices
    claim_ms   256 assignments of one engine, divided among 100 jobs
    cancel_ms  the largest job, until the call returns; the rest is ended by sweeps
    ready_ms   `GET /health/ready` of an API over these books
    delete_s   a job of 50,000 queries that has ended, while two others claim, answer and submit
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from sqlalchemy import Connection, Index, text

from benchmarks.reporting import progress
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, Response
from orchestrator.domain.devices import LIVE_S
from orchestrator.domain.queries import Message, Query
from orchestrator.ports.jobs import Completion
from orchestrator.store import Database, SqlJobStore, open_database
from orchestrator.store.tables import METADATA
from tests.faults.pools import scripted, write_pool
from tests.harness.servers import Postgres, open_redis
from tests.harness.stack import Stack

N_JOBS, N_ENGINES, CALLS_PER_QUERY = 100, 18, 2
N_PAST_JOBS = 100_000
SHARD, ROUNDS = 256, 15
DELETED_LINES, PURGE = 50_000, 1000
BULK = ("query", "prompt", "assignment")
"""Tables that are filled without their indices."""

T = TypeVar("T")


def measure(url: str | None, n_rows: int) -> dict[str, object]:
    """The report; without a `url`, on a PostgreSQL server of its own."""
    with tempfile.TemporaryDirectory(prefix="muster-books-") as name:
        folder = Path(name)
        with _database(url, folder) as found:
            database = open_database(found)
            with _told(f"{n_rows:,} waiting calls in {N_JOBS} jobs, {N_PAST_JOBS:,} past jobs are written"):
                fill(database, n_rows)
            store = SqlJobStore(database)
            figures: dict[str, object] = {"rows": n_rows}
            figures["look_ms"] = _median_ms(lambda: look(store))
            figures["claim_ms"] = _claims_ms(store)
            figures["cancel_ms"] = _cancel_ms(store)
            figures["ready_ms"] = _ready_ms(found, folder)
            figures["delete_s"] = _delete_s(store)
            store.close()
    return figures


def fill(database: Database, n_rows: int) -> None:
    per_job = max(1, n_rows // N_JOBS // CALLS_PER_QUERY)
    with database.write() as conn:
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        indices = [index for table in BULK for index in METADATA.tables[table].indexes]
        for index in indices:
            index.drop(conn)
        _fill_jobs(conn, per_job)
        _fill_work(conn, per_job)
        _build(conn, indices)
    database.vacuum()  # else the server does it while we measure


def _build(conn: Connection, indices: list[Index]) -> None:
    for index in indices:
        index.create(conn)


def _fill_jobs(conn: Connection, per_job: int) -> None:
    columns = (
        "id, payload, content_hash, state, kind, n_total, n_completed, n_failed, n_assignments, n_responses,"
        " n_regenerated, created_at, finished_at"
    )
    now = "extract(epoch FROM now())"
    for prefix, n, values in (
        ("past", N_PAST_JOBS, f"'h', 'done', 'ask', 1, 1, 0, 1, 1, 0, {now} - 10, {now}"),
        (
            "job",
            N_JOBS,
            f"'h', 'running', 'batch', {per_job}, 0, 0, {per_job * CALLS_PER_QUERY}, 0, 0, {now}, NULL",
        ),
    ):
        payload = f"""'{{"id": "{prefix}' || j || '", "composition": "any"}}'"""
        conn.exec_driver_sql(
            f"INSERT INTO job ({columns}) SELECT '{prefix}' || j, {payload}, {values}"
            f" FROM generate_series(1, {n}) AS j"
        )


def _fill_work(conn: Connection, per_job: int) -> None:
    statements = (
        "INSERT INTO query (job_pk, ix, custom_id, payload, priority, stage, state, n_outstanding)"
        " SELECT job.pk, i, 'q' || i, '{\"id\": \"q' || i || '\", \"question\": \"why?\"}', 0, 1, 'open',"
        f" {CALLS_PER_QUERY} FROM job, generate_series(0, {per_job - 1}) AS i WHERE job.state = 'running'",
        'INSERT INTO prompt (query_pk, stage, ix, messages) SELECT pk, 0, 0, \'[{"role": "user",'
        ' "content": "why?"}]\' FROM query',
        "INSERT INTO assignment (query_pk, job_pk, stage, expert_id, sample_ix, engine_id, role, prompt_ix,"
        " sampling, est_tokens, priority, state, attempt, created_at)"
        f" SELECT q.pk, q.job_pk, 0, 'x' || (q.pk * {CALLS_PER_QUERY} + k) % {N_ENGINES}, 0,"
        f" 'e' || (q.pk * {CALLS_PER_QUERY} + k) % {N_ENGINES}, 'expert', 0, '{{}}', 520, 0, 'waiting', 0,"
        f" extract(epoch FROM now()) FROM query AS q, generate_series(0, {CALLS_PER_QUERY - 1}) AS k",
        "INSERT INTO job_engine SELECT DISTINCT job_pk, engine_id FROM assignment",
        "INSERT INTO share SELECT job_pk, engine_id, 0, 0, count(*), 0, sum(est_tokens), 0, min(created_at)"
        " FROM assignment GROUP BY job_pk, engine_id",
        "INSERT INTO engine_work SELECT engine_id, 0, job_pk % 8, sum(n_waiting), sum(waiting_tokens), 0, 0"
        " FROM share GROUP BY engine_id, job_pk % 8",
    )
    for statement in statements:
        conn.exec_driver_sql(statement.replace("%", "%%"))


def look(store: SqlJobStore) -> None:
    """All that a device's loop asks of the books once a second."""
    store.jobs(limit=32)
    store.devices(LIVE_S)
    store.backlog(owner="bench")
    store.is_routing()


def _claims_ms(store: SqlJobStore) -> float:
    engines = iter(f"e{ix % N_ENGINES}" for ix in range(10**9))
    took = [
        _timed_ms(lambda: store.claim(next(engines), owner="bench", limit=SHARD, lease_s=3600))
        for _ in range(3 * ROUNDS)
    ]
    progress(f"claims of {SHARD}: worst {max(took):.0f} ms")
    return _median(took)


def _cancel_ms(store: SqlJobStore) -> float:
    took = [_timed_ms(lambda n=n: store.cancel(f"job{n}")) for n in (1, 2, 3)]
    progress(f"cancels: worst {max(took):.0f} ms")
    with _told("three cancelled jobs are ended by sweeps"):
        while not all(store.job(f"job{n}").state.is_over for n in (1, 2, 3)):
            store.sweep(max_attempts=3, for_s=2.0)
    return _median(took)


def _ready_ms(url: str, folder: Path) -> float:
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}}
    config = write_pool(folder / "pool.yaml", [scripted("alpha")], muster=muster)
    with (
        open_redis(folder) as redis,
        Stack(config, folder, database_url=url, broker_url=redis.url) as stack,
        httpx.Client() as client,
    ):
        stack.launch_api()
        return _median_ms(lambda: client.get(f"{stack.url}/health/ready", timeout=60))


def _delete_s(store: SqlJobStore) -> float:
    job = Job(id="large", composition="any")
    with _told(f"a job of {DELETED_LINES:,} queries runs to its end"):
        _complete(store, job, DELETED_LINES)
    stopping = threading.Event()
    others = [threading.Thread(target=_work, args=(store, ix, stopping)) for ix in range(2)]
    for other in others:
        other.start()
    began = time.monotonic()
    number, took = store.begin_deleting(job.id), []
    while True:
        at = time.monotonic()
        more = store.purge(number, limit=PURGE)
        took.append(time.monotonic() - at)
        if not more:
            break
    seconds = time.monotonic() - began
    stopping.set()
    for other in others:
        other.join()
    progress(f"deleted in {len(took)} transactions of {max(took):.2f} s at most")
    return round(seconds, 2)


def _complete(store: SqlJobStore, job: Job, n: int) -> None:
    """A job of one call a query, from submission to its answers, on an engine of its own."""
    engine = f"engine of {job.id}"
    store.submit(job, (Query(id=f"q{i}", question=f"why {i}?") for i in range(n)))
    while states := store.take_ready(limit=1000, for_s=60, job_id=job.id):
        calls = [
            Call(expert_id="x", role=CallRole.EXPERT, messages=(Message(role="user", content=s.query.text),))
            for s in states
        ]
        steps = [
            (s, Done(answer=Answer(text="so")) if s.stage else Ask(calls=(call,)))
            for s, call in zip(states, calls, strict=True)
        ]
        store.advance(steps, {"x": engine})
        while claimed := store.claim(engine, owner=job.id, limit=SHARD, lease_s=60).assignments:
            store.complete(job.id, [Completion(a.id, a.attempt, _answered(a.stage)) for a in claimed])


def _answered(stage: int) -> Response:
    return Response(expert_id="x", role=CallRole.EXPERT, stage=stage, text="so " * 100)


def _work(store: SqlJobStore, ix: int, stopping: threading.Event) -> None:
    """Others: small jobs, one after the other."""
    n = 0
    while not stopping.is_set():
        _complete(store, Job(id=f"other-{ix}-{n}", composition="any"), 200)
        n += 1
    progress(f"meanwhile another finished {n} jobs of 200 queries")


@contextmanager
def _database(url: str | None, folder: Path) -> Iterator[str]:
    if url is not None:
        yield url
        return
    server = Postgres(folder)
    server.start()
    try:
        server.create("books")
        yield server.url("books")
    finally:
        server.close()


@contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    progress(f"{what}: {time.monotonic() - began:.0f} s")


def _median_ms(work: Callable[[], object]) -> float:
    work()
    return _median([_timed_ms(work) for _ in range(ROUNDS)])


def _timed_ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)
