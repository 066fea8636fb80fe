"""What Muster adds to generation: `python -m benchmarks.overhead`.

    engine_ratio            throughput of the in-process engine over a bare transformers batch loop, same
                            prompts, side by side in this run, by CPU seconds; higher is better. Alone, as
                            a check: `python -m benchmarks.engine --at-least 0.5`
    overhead_ms_per_query   all of a batch but generation (scripted engines): submit, route, claim,
                            store every response and answer, k = 3
    route_p95_ms            one question at a time, embedding included
    route_p95_ms_no_embed   the same with the embedding in the cache
    rss_growth_mb_50k       peak memory of a process that answers a 50,000-line batch, over its idle memory

The last line of output is one JSON object with these keys.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks import scripted_pool
from benchmarks.engine import engine_ratio
from benchmarks.reporting import finish, option_parser, progress
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.requests import AskOptions
from orchestrator.questions.files import read_questions

ZOO = Path(__file__).parent.parent / "examples" / "zoo"
COMPOSITION = "auto_k3"
OPTIONS = AskOptions(model=COMPOSITION)


def _profiled(app: App, n: int = 200) -> None:
    app.profiling.run(scripted_pool.labelled(n), exam=False)


def overhead_ms_per_query(n: int) -> float:
    """Milliseconds per query of an n-query batch, median of three runs in one process."""
    with tempfile.TemporaryDirectory() as folder, open_app(scripted_pool.settings(Path(folder))) as app:
        _profiled(app)
        seconds = [_timed_batch(app, n, start=run * n) for run in range(3)]
    return 1000 * float(np.median(seconds)) / n


def _timed_batch(app: App, n: int, *, start: int) -> float:
    began = time.perf_counter()
    job_id = app.jobs.submit(scripted_pool.queries(n, start=start), OPTIONS)
    progress = app.jobs.run(job_id)
    seconds = time.perf_counter() - began
    assert progress.completed + progress.failed == n, progress
    assert progress.n_responses == 3 * n, progress
    return seconds


def route_p95_ms() -> tuple[float, float]:
    """p95 of routing one question, (with embedding, with it cached), MiniLM embeddings, zoo questions."""
    questions = read_questions(ZOO / "test.jsonl")[:400]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_app(scripted_pool.settings(Path(folder), embedder="minilm")) as app,
    ):
        app.profiling.run(read_questions(ZOO / "profile.jsonl"), exam=False)
        app.asking.route(scripted_pool.labelled(3), model=COMPOSITION)
        fresh = [_timed_route(app, q) for q in questions]
        cached = [_timed_route(app, q) for q in questions]
    return float(np.percentile(fresh, 95)), float(np.percentile(cached, 95))


def _timed_route(app: App, question: scripted_pool.Query) -> float:
    began = time.perf_counter()
    app.asking.route([question], model=COMPOSITION)
    return 1000 * (time.perf_counter() - began)


def rss_growth_mb(n: int) -> float:
    """Peak over idle memory, MB, of a fresh process that answers n lines from a file."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--child-rss", str(n)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output.splitlines()[-1])["rss_growth_mb"])


def _rss_child(n: int) -> float:
    from orchestrator.questions.files import check_questions, iter_questions

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "questions.jsonl"
        with path.open("w") as file:
            for query in scripted_pool.queries(n):
                file.write(json.dumps({"id": query.id, "question": query.question}) + "\n")
        with open_app(scripted_pool.settings(Path(folder))) as app:
            _profiled(app)
            _timed_batch(app, 300, start=20_000_000)
            idle = _memory_mb("VmRSS")
            check_questions(path)
            job_id = app.jobs.submit(iter_questions(path), OPTIONS)
            app.jobs.run(job_id)
            answered = sum(1 for _ in app.jobs.answers(job_id))
            assert answered == n, answered
            return _memory_mb("VmHWM") - idle


def _memory_mb(field: str) -> float:
    """This process's memory now (VmRSS) or at its peak (VmHWM).

    Not `ru_maxrss`: a child inherits its parent's high-water mark there.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--child-rss", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child_rss:
        finish({"rss_growth_mb": _rss_child(options.child_rss)})
        return
    report: dict[str, float] = {"overhead_ms_per_query": overhead_ms_per_query(options.queries)}
    progress(report)
    report["route_p95_ms"], report["route_p95_ms_no_embed"] = route_p95_ms()
    progress(report)
    prompts = [q.text for q in read_questions(ZOO / "test.jsonl")]
    report["engine_ratio"] = engine_ratio(ZOO / "models" / "generalist", prompts)["cpu_ratio"]
    progress(report)
    report["rss_growth_mb_50k"] = rss_growth_mb(options.lines)
    finish({key: round(value, 3) for key, value in report.items()})


if __name__ == "__main__":
    main()
