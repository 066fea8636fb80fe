"""Batch jobs through the whole stack: `python -m benchmarks.batch_jobs` (about 4 minutes on 2 cores).

`muster serve`, `beat` and workers run as a user starts them, over PostgreSQL and Redis of their own. The
experts are scripted, so nothing is generated; all else is real: a profiled pool, routing by nearest
neighbours with k = 3, three prompts and three responses stored per query, a vote, every answer stored.
Experts all say the same, or, with `--differ`, each something else: then nothing is read once for all, and
`--composition synthesize` has an answer written. `--jobs 20` posts so many jobs of `--lines`, one after
another: what the last one costs, beside all that the others left in the database, over what the first one
cost is `growth`. `--fill 1000000` copies a job by plain SQL before the last one: growth in minutes.

    accept_s       seconds from the request to 202 for all lines
    qps            queries answered per second, from 202 to the end of the job
    api_rss_mb     peak memory of `muster serve`
    worker_rss_mb  peak memory of all workers together
    db_mb          what the job takes in the database, indices included
    embed_qps      questions embedded per second by MiniLM, one thread, nothing cached: apart, because the
                   job's own embeddings are hashed words

    core_ms_per_query  where processor time went, by process; unlike `qps` it hardly depends on what else
                       the machine does (`load`: its load average). `total` has PostgreSQL's backends and not
                       its background processes (WAL writer, checkpoints, vacuum), which stand beside it
    yardstick_ms       processor time of a fixed piece of Python, taken while the job ran: on a machine whose
                       cores are shared the same work takes longer, and core_ms_per_query / yardstick_ms is
                       what can be compared
    lock_waits         backends that waited for a row's lock, mean of looks a second apart

A line of JSON per job goes to stderr, and to `jobs.jsonl` in the folder of `--logs`, as soon as it has ended.
The last line is one JSON object: the last job's figures, and `growth` where there were several.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.scripted_pool import N_EXPERTS, TOPICS, queries
from benchmarks.stack import MeasuredStack, open_postgres, open_stack
from benchmarks.stored_jobs import copy_job
from tests.harness.processes import cpu_s, lineage_cpu_s
from tests.harness.servers import Postgres
from tests.harness.waiting import wait_for

COMPOSITIONS = ("knn", "auto", "synthesize")
"""Three experts and a vote; waves; three experts and a synthesis."""
AGGREGATOR = "aggregator"
N_PROFILE = 400
KNOWN_TOPICS = 3
REFERENCE = "42"
N_EMBEDDED = 1000

SERVER = "postgresql_all"
JOB_S = 1800.0

LAYOUTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "one": {"worker": ("worker", "--device", "cpu")},
    "split": {"worker": ("worker", "--device", "cpu", "--no-steps"), "steps": ("worker",)},
}
"""Workers by name: one process does everything, or routing and voting have a process of their own."""


def pool_file(folder: Path, *, differ: bool = False) -> Path:
    """Experts that each know three of the eight topics, so that questions of a topic go to three of them; and
    one that synthesizes."""
    profile = list(queries(N_PROFILE))
    default = "answer" if differ else "echo"
    members = [_member(number, [q.question for q in profile], default) for number in range(N_EXPERTS)]
    members.append(_scripted(AGGREGATOR, {"default": "echo"}, roles=["aggregator"]))
    path = folder / "muster.yaml"
    path.write_text(json.dumps({"model_list": members, "muster": {"embedder": {"model": "hash"}}}))
    lines = (q.model_dump_json(include={"id", "question"}) for q in profile)
    labelled = ({**json.loads(line), "answer": REFERENCE} for line in lines)
    (folder / "profile.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labelled))
    return path


def _member(number: int, profile: list[str], default: str) -> dict[str, Any]:
    topics = {(number + i) % len(TOPICS) for i in range(KNOWN_TOPICS)}
    known = {text: REFERENCE for i, text in enumerate(profile) if i % len(TOPICS) in topics}
    return _scripted(f"expert-{number}", {"answers": known, "default": default})


def _scripted(name: str, script: Mapping[str, Any], *, roles: Sequence[str] = ("expert",)) -> dict[str, Any]:
    muster = {"engine": "scripted", "prompt": "plain", "options": script, "roles": list(roles)}
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted-{name}"},
        "model_info": {"muster": muster},
    }


class Meter:
    """Processor seconds by process since it was made; of the database by backends and background."""

    def __init__(self, stack: MeasuredStack, names: tuple[str, ...], server: Postgres) -> None:
        self._stack = stack
        self._names = names
        self._server = server
        self._before = self._now()

    def read(self) -> dict[str, float]:
        now = self._now()
        spent = {name: now[name] - self._before.get(name, 0.0) for name in now}
        backends = sum(spent.pop(name) for name in list(spent) if name.startswith("backend "))
        background = spent.pop(SERVER) - backends
        total = sum(spent.values()) + backends
        return {**spent, "postgresql": backends, "total": total, "postgresql_background": background}

    def _now(self) -> dict[str, float]:
        ours = "datname = current_database() AND backend_type = 'client backend'"
        backends = self._stack.rows(f"SELECT pid FROM pg_stat_activity WHERE {ours}")
        taken = {name: self._stack.named[name].tree_cpu_s() for name in self._names}
        taken[SERVER] = lineage_cpu_s(self._server.pid)
        return taken | {f"backend {pid}": cpu_s(pid) for (pid,) in backends}


def run(
    stack: MeasuredStack, server: Postgres, folder: Path, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yields the figures of each job."""
    workers = {
        name: ("worker", "--processes", str(options.processes)) if words == ("worker",) else words
        for name, words in LAYOUTS[options.layout].items()
    }
    for name, words in workers.items():
        stack.launch(name, *words)
    stack.run("profile", str(folder / "profile.jsonl"))
    stack.wait(stack.submit_lines(_lines(100, start=10_000_000), composition=options.composition))
    names = ("serve", "beat", "redis", *workers)
    job_id = ""
    for number in range(options.jobs):
        if number and number + 1 == options.jobs:
            _fill(stack, job_id, options.fill)
        size_before, n_before = _database_mb(stack), _n_stored(stack)
        meter = Meter(stack, names, server)
        began = time.monotonic()
        lines = _lines(options.lines, start=1_000_000 + number * options.lines)
        job_id = stack.submit_lines(lines, composition=options.composition)
        accepted = time.monotonic()
        looks = Looks([], [])
        job = _job_when_over(stack, job_id, looks)
        spent = meter.read()
        _check(stack, job_id, job, options)
        yield {
            "job": number + 1,
            "stored_before": n_before,
            "lines": options.lines,
            "calls": job["calls"],
            "accept_s": accepted - began,
            "qps": options.lines / max(_ended_after_s(stack, job_id) - (accepted - began), 1e-3),
            "api_rss_mb": stack.named["serve"].peak_mib(),
            "worker_rss_mb": sum(stack.named[name].tree_peak_mib() for name in workers),
            "db_mb": _database_mb(stack) - size_before,
            "core_ms_per_query": {name: 1000 * s / options.lines for name, s in spent.items()},
            "yardstick_ms": statistics.median(looks.yardstick_ms),
            "lock_waits": statistics.mean(looks.n_locked),
            "load": os.getloadavg()[0],
        }


class Looks(NamedTuple):
    """Of each look at a job that runs: the yardstick, and how many backends waited for a lock."""

    yardstick_ms: list[float]
    n_locked: list[int]


def _job_when_over(stack: MeasuredStack, job_id: str, looks: Looks) -> Mapping[str, Any]:
    """The job as soon as it has ended."""
    locked = "datname = current_database() AND wait_event_type = 'Lock'"

    def ended() -> Mapping[str, Any] | None:
        looks.yardstick_ms.append(yardstick_ms())
        [(n_locked,)] = stack.rows(f"SELECT count(*) FROM pg_stat_activity WHERE {locked}")
        looks.n_locked.append(n_locked)
        job = stack.job(job_id)
        return job if job["state"] != "running" else None

    return wait_for(f"job {job_id}", ended, within_s=JOB_S, every_s=1.0)


def yardstick_ms() -> float:
    """Milliseconds of this thread's processor time for a fixed piece of Python: JSON there and back, as most
    of the stack's own work is, over more memory than a core's nearest cache holds."""
    began = time.thread_time()
    for number in range(20):
        row = {"id": number, "texts": [f"text {number} {i}" for i in range(200)]}
        assert json.loads(json.dumps(row)) == row
    return 1000 * (time.thread_time() - began)


def _lines(n: int, *, start: int = 1_000_000) -> list[dict[str, str]]:
    return [{"id": q.id, "question": q.question} for q in queries(n, start=start)]


def _check(stack: MeasuredStack, job_id: str, job: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Every response and every answer is there; with three experts each, all eight had work."""
    n = options.lines
    assert (job["state"], job["counts"]["completed"]) == ("done", n), job
    of_job = "FROM assignment a JOIN job j ON j.pk = a.job_pk WHERE j.id = %s AND a.response IS NOT NULL"
    [(n_calls, n_experts)] = stack.rows(f"SELECT count(*), count(DISTINCT expert_id) {of_job}", job_id)
    if options.composition != "auto":  # which asks as many as it needs
        n_written = n if options.composition == "synthesize" and options.differ else 0
        assert n_calls == 3 * n + n_written, (n_calls, n)
        assert n_experts >= N_EXPERTS, n_experts
    answers = "FROM answer w JOIN query q ON q.pk = w.query_pk JOIN job j ON j.pk = q.job_pk WHERE j.id = %s"
    assert stack.rows(f"SELECT count(*) {answers}", job_id) == [(n,)]


def _ended_after_s(stack: MeasuredStack, job_id: str) -> float:
    """Seconds from a job's first line to its last answer, by the database's clock."""
    [(seconds,)] = stack.rows("SELECT finished_at - created_at FROM job WHERE id = %s", job_id)
    return float(seconds)


def _fill(stack: MeasuredStack, job_id: str, n_wanted: int) -> None:
    """Copies of a job, by plain SQL, until so many queries are stored."""
    url = stack.database_url.replace("+psycopg", "")
    [(job_pk,)] = stack.rows("SELECT pk FROM job WHERE id = %s", job_id)
    with psycopg.connect(url, autocommit=True) as conn:
        for number in itertools.count():
            if (n_stored := _n_stored(stack)) >= n_wanted:
                break
            progress(f"{n_stored} queries are stored; copying")
            copy_job(conn, job_pk, f"copy-{number}")


def _n_stored(stack: MeasuredStack) -> int:
    """Queries of all jobs."""
    return int(stack.rows("SELECT sum(n_total) FROM job")[0][0])


def _database_mb(stack: MeasuredStack) -> float:
    return float(stack.rows("SELECT pg_database_size(current_database())")[0][0]) / 2**20


def growth(first: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, float]:
    """Cost of the last job over the first one's, by process, each in units of its yardstick. Processes that
    took less than a hundredth of it all are left out: of those only noise is seen."""
    before, after = first["core_ms_per_query"], last["core_ms_per_query"]
    slower = last["yardstick_ms"] / first["yardstick_ms"]
    seen = [name for name in before if before[name] >= 0.01 * before["total"]]
    return {name: round(after[name] / before[name] / slower, 3) for name in seen}


def embed_qps(n: int = N_EMBEDDED) -> float:
    """MiniLM on one thread, questions never seen before."""
    import torch

    from skills.embedding import MINILM, embedder_of

    torch.set_num_threads(1)
    embedder = embedder_of(MINILM)
    embedder.encode(["Load the model."])
    texts = [q.text for q in queries(n)]
    began = time.perf_counter()
    embedder.encode(texts)
    return n / (time.perf_counter() - began)


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--lines", type=int, default=50_000, help="queries of a job")
    parser.add_argument("--jobs", type=int, default=1, help="so many of them, one after another")
    parser.add_argument(
        "--fill",
        type=int,
        default=0,
        help="before the last job, copy the one before it in the database until so many queries are stored",
    )
    parser.add_argument("--composition", choices=COMPOSITIONS, default=COMPOSITIONS[0])
    parser.add_argument("--differ", action="store_true", help="each expert answers in its own words")
    parser.add_argument("--layout", choices=LAYOUTS, default="split", help="one worker process, or two")
    parser.add_argument("--processes", type=int, default=1, help="that take steps, where they are apart")
    parser.add_argument("--logs", type=Path, help="folder for logs; default: a temporary one")
    parser.add_argument("--no-embed", action="store_true", help="leave embed_qps out")
    options = parser.parse_args(argv)
    reports: list[dict[str, Any]] = []
    with ExitStack() as held:
        folder = options.logs or Path(held.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        server, url = held.enter_context(open_postgres())
        env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pool = pool_file(folder, differ=options.differ)
        stack = held.enter_context(open_stack(pool, folder, env=env, database_url=url))
        for report in run(stack, server, folder, options):
            reports.append(_rounded(report))
            progress(json.dumps(reports[-1]))
            with (folder / "jobs.jsonl").open("a") as kept:
                kept.write(json.dumps(reports[-1]) + "\n")
    last = reports[-1]
    if len(reports) > 1:
        last["growth"] = growth(reports[0], last)
    if not options.no_embed:
        last["embed_qps"] = round(embed_qps(), 3)
    finish(last)


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(figure) if isinstance(figure, Mapping) else round(figure, 3)
        for name, figure in figures.items()
    }


if __name__ == "__main__":
    main()
