"""A stack that is measured: the harness over a database of the test server and a Redis of its own."""

import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg

from orchestrator.store import open_database
from tests.fakes.databases import fresh_postgres
from tests.harness.servers import Postgres, open_redis
from tests.harness.stack import Job, Stack

JOB_S = 1800.0


class MeasuredStack(Stack):
    """A stack that also tells what its database holds."""

    def run(self, *words: str) -> None:
        """`muster WORDS` to its end.

        Raises:
            RuntimeError: it failed; says what it wrote last.
        """
        process = self.launch("-".join(words[:1]), *words)
        if process.wait():
            raise RuntimeError(f"muster {' '.join(words)} failed: {process.tail()}")

    def wait(self, job_id: str) -> Job:
        """The job as soon as it has ended; it may take long."""
        return self.job_when(job_id, within_s=JOB_S)

    def plan(self, job_id: str) -> dict[str, Any]:
        return dict(self.get(f"/v1/jobs/{job_id}/plan").raise_for_status().json())

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """By plain SQL."""
        with psycopg.connect(self.database_url.replace("+psycopg", "")) as conn:
            return conn.execute(statement.encode(), values or None).fetchall()


@contextmanager
def open_postgres() -> Iterator[tuple[Postgres, str]]:
    """A PostgreSQL of the benchmark's own, all of whose processes work for it alone; the URL of a database
    that is up to date."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        server = Postgres(Path(folder) / "server")
        server.start()
        try:
            name = f"muster_{secrets.token_hex(4)}"
            server.create(name)
            url = server.url(name).replace("postgresql://", "postgresql+psycopg://")
            open_database(url).close()
            yield server, url
        finally:
            server.close()


@contextmanager
def open_stack(
    config: Path, folder: Path, *, env: Mapping[str, str] | None = None, database_url: str | None = None
) -> Iterator[MeasuredStack]:
    """`muster serve` and `muster beat`, which answer; workers are started by its user.

    Args:
        config: pool file. folder: for logs, data and Redis. env: further variables of all processes.
        database_url: of a database that is up to date; None = a new one of the test server.
    """
    with (
        fresh_postgres() if database_url is None else nullcontext(database_url) as database_url,
        open_redis(folder) as redis,
        MeasuredStack(
            config,
            folder,
            database_url=database_url,
            broker_url=redis.url,
            env={"MUSTER_DATA_DIR": str(folder / "data"), **(env or {})},
        ) as stack,
    ):
        stack.named["redis"] = redis.process
        stack.launch("beat", "beat")
        stack.launch_api("serve")
        yield stack
