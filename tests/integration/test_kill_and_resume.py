"""kill -9 at any moment: nothing acknowledged is lost, nothing finished is generated again."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.domain.assignments import Job
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.work import make_queries

N_QUERIES = 2000
ROOT = Path(__file__).parents[2]


class Kill(NamedTuple):
    """What stood in the database and where the engines' log ended when the process was dead."""

    committed: set[int]
    log_lines: int


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1])
def test_a_batch_killed_three_times_is_answered_once_and_repeats_no_finished_response(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    url, log = fresh_sqlite(tmp_path), tmp_path / "engines.jsonl"
    store = SqlJobStore(open_database(url))
    store.submit(Job(id="job", composition="any"), make_queries(N_QUERIES))
    kills = [
        _run_and_kill(url, log, store, at_responses=rng.randint(low, low + 700)) for low in (300, 1300, 2300)
    ]
    subprocess.run(_command(url, log), cwd=ROOT, check=True)

    progress = store.job("job")
    assert (progress.completed, progress.failed) == (N_QUERIES, 0)
    assert progress.n_responses == progress.n_assignments == 2 * N_QUERIES
    assert progress.n_regenerated == 0
    assert len({query.id for query, _ in store.answers("job")}) == N_QUERIES
    generated = _generated(log)
    for kill in kills:
        assert not kill.committed & set(generated[kill.log_lines :])
    # What a kill loses is at most what was under lease.
    assert len(generated) - len(set(generated)) <= 3 * 2 * 256
    store.close()


def _run_and_kill(url: str, log: Path, store: SqlJobStore, *, at_responses: int) -> Kill:
    process = subprocess.Popen(_command(url, log), cwd=ROOT)
    while store.job("job").n_responses < at_responses:
        assert process.poll() is None, "the process ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.job("job").n_responses < 2 * N_QUERIES, "killed too late"
    with sqlite3.connect(url.removeprefix("sqlite:///")) as conn:
        committed = {pk for (pk,) in conn.execute("SELECT pk FROM assignment WHERE response IS NOT NULL")}
    conn.close()
    return Kill(committed, len(_generated(log)))


def _command(url: str, log: Path) -> list[str]:
    return [sys.executable, "-m", "tests.fakes.run_batch", url, str(log), "job"]


def _generated(log: Path) -> list[int]:
    """Assignment ids in the order of their generations, over all processes."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [int(e["request"].partition(".")[0]) for e in events if e["event"] == "generation"]
