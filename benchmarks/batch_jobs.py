"""A batch job through the whole stack: `python -m benchmarks.batch_jobs` (about 4 minutes on 2 cores).

`muster serve`, `beat` and workers run as a user starts them, over PostgreSQL and Redis. The experts are
scripted, so nothing is generated; all else is real: a profiled pool, routing by nearest neighbours with
k = 3, three prompts and three responses stored per query, a vote, every answer stored.

    accept_s       seconds from the request to 202 for all lines
    qps            queries answered per second, from 202 to the end of the job
    api_rss_mb     peak memory of `muster serve`
    worker_rss_mb  peak memory of all workers together
    db_mb          what the job takes in the database, indices included
    embed_qps      questions embedded per second by MiniLM, one thread, nothing cached: apart, because the
                   job's own embeddings are hashed words

    core_ms_per_query  where processor time went, by process; unlike `qps` it hardly depends on what else
                       the machine does (`load`: its load average)

The last line is one JSON object with these keys and `lines`.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.scripted_pool import N_EXPERTS, TOPICS, queries
from benchmarks.stack import MeasuredStack, open_stack
from tests.harness.processes import cpu_s

COMPOSITION = "knn"
N_PROFILE = 400
KNOWN_TOPICS = 3
REFERENCE = "42"
N_EMBEDDED = 1000

LAYOUTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "one": {"worker": ("worker", "--device", "cpu")},
    "split": {"worker": ("worker", "--device", "cpu", "--no-steps"), "steps": ("worker",)},
}
"""Workers by name: one process does everything, or routing and voting have a process of their own."""


def pool_file(folder: Path) -> Path:
    """Experts that each know three of the eight topics, so that questions of a topic go to three of them."""
    profile = list(queries(N_PROFILE))
    members = [_member(number, [q.question for q in profile]) for number in range(N_EXPERTS)]
    path = folder / "muster.yaml"
    path.write_text(json.dumps({"model_list": members, "muster": {"embedder": {"model": "hash"}}}))
    lines = (q.model_dump_json(include={"id", "question"}) for q in profile)
    labelled = ({**json.loads(line), "answer": REFERENCE} for line in lines)
    (folder / "profile.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labelled))
    return path


def _member(number: int, profile: list[str]) -> dict[str, Any]:
    topics = {(number + i) % len(TOPICS) for i in range(KNOWN_TOPICS)}
    known = {text: REFERENCE for i, text in enumerate(profile) if i % len(TOPICS) in topics}
    script = {"answers": known, "default": "echo"}
    return {
        "model_name": f"expert-{number}",
        "litellm_params": {"model": f"scripted-{number}"},
        "model_info": {"muster": {"engine": "scripted", "prompt": "plain", "options": script}},
    }


class Meter:
    """Processor seconds by process since it was made, and of the database's backends."""

    def __init__(self, stack: MeasuredStack, names: tuple[str, ...]) -> None:
        self._stack = stack
        self._names = names
        self._before = self._now()

    def read(self) -> dict[str, float]:
        now = self._now()
        spent = {name: now[name] - self._before.get(name, 0.0) for name in now}
        backends = sum(spent.pop(name) for name in list(spent) if name.startswith("backend"))
        return {**spent, "postgresql": backends}

    def _now(self) -> dict[str, float]:
        backends = self._stack.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        taken = {name: self._stack.named[name].tree_cpu_s() for name in self._names}
        return taken | {f"backend {pid}": cpu_s(pid) for (pid,) in backends}


def run(stack: MeasuredStack, folder: Path, n_lines: int, layout: str) -> Iterator[dict[str, float]]:
    """Yields the processor time by process, then the figures."""
    workers = LAYOUTS[layout]
    for name, words in workers.items():
        stack.launch(name, *words)
    stack.run("profile", str(folder / "profile.jsonl"))
    stack.wait(stack.submit_lines(_lines(100, start=10_000_000), composition=COMPOSITION))
    size_before = _database_mb(stack)
    meter = Meter(stack, ("serve", "beat", "redis", *workers))
    began = time.monotonic()
    job_id = stack.submit_lines(_lines(n_lines), composition=COMPOSITION)
    accepted = time.monotonic()
    job = stack.wait(job_id)
    done = time.monotonic()
    spent = {name: 1000 * seconds / n_lines for name, seconds in meter.read().items()}
    _check(stack, job_id, job, n_lines)
    yield {**spent, "total": sum(spent.values())}
    yield {
        "lines": n_lines,
        "accept_s": accepted - began,
        "qps": n_lines / (done - accepted),
        "api_rss_mb": stack.named["serve"].peak_mib(),
        "worker_rss_mb": sum(stack.named[name].tree_peak_mib() for name in workers),
        "db_mb": _database_mb(stack) - size_before,
    }


def _lines(n: int, *, start: int = 1_000_000) -> list[dict[str, str]]:
    return [{"id": q.id, "question": q.question} for q in queries(n, start=start)]


def _check(stack: MeasuredStack, job_id: str, job: Mapping[str, Any], n: int) -> None:
    """Every response and every answer is there, and all eight experts had work."""
    assert (job["state"], job["counts"]["completed"]) == ("done", n), job
    of_job = "FROM assignment a JOIN job j ON j.pk = a.job_pk WHERE j.id = %s AND a.response IS NOT NULL"
    assert stack.rows(f"SELECT count(*), count(DISTINCT expert_id) {of_job}", job_id) == [(3 * n, N_EXPERTS)]
    answers = "FROM answer w JOIN query q ON q.pk = w.query_pk JOIN job j ON j.pk = q.job_pk WHERE j.id = %s"
    assert stack.rows(f"SELECT count(*) {answers}", job_id) == [(n,)]


def _database_mb(stack: MeasuredStack) -> float:
    return float(stack.rows("SELECT pg_database_size(current_database())")[0][0]) / 2**20


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
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--layout", choices=LAYOUTS, default="split", help="one worker process, or two")
    parser.add_argument("--logs", type=Path, help="folder for logs; default: a temporary one")
    parser.add_argument("--no-embed", action="store_true", help="leave embed_qps out")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with open_stack(pool_file(folder), folder, env=env) as stack:
            spent, report = run(stack, folder, options.lines, options.layout)
    load = os.getloadavg()[0]
    progress(_rounded(report))
    if not options.no_embed:
        report["embed_qps"] = embed_qps()
    finish({**_rounded(report), "core_ms_per_query": _rounded(spent), "load": load})


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figure, 3) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
