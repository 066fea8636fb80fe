"""A process that works on a job until it is done: `python -m tests.fakes.run_batch URL LOG JOB`."""

import sys
from pathlib import Path

from orchestrator.store import SqlJobStore, open_database
from tests.fakes.loops import make_setup
from tests.fakes.work import make_pool
from workers.backends.registry import get_backend
from workers.dispatch.local import LocalDispatcher


def make_dispatcher(store: SqlJobStore, log: Path) -> LocalDispatcher:
    """Two scripted engines, each reply 50 ms late; every generation is a line of `log`."""
    rules = [{"regex": ".", "delay_s": 0.05}]
    pool = make_pool("a", "b", backend="scripted", log=str(log), rules=rules)
    return LocalDispatcher(make_setup(store, pool, get_backend))


if __name__ == "__main__":
    url, log, job_id = sys.argv[1:]
    make_dispatcher(SqlJobStore(open_database(url)), Path(log)).run(job_id)
