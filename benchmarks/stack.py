"""A stack as a user starts it, for benchmarks: a fresh database, a Redis of its own, `muster` processes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import psycopg

POSTGRES = os.environ.get("MUSTER_BENCH_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
START_S, STOP_S, POLL_S = 120.0, 20.0, 0.05


class Stack:
    """`muster serve`, `muster beat` and workers over one pool file; everything is ended at the exit.

    Args:
        config: pool file. folder: for logs and Redis. env: further variables of all processes.

    Attributes:
        url: address of the API. database_url: of the database, dropped at the exit.
    """

    def __init__(self, config: Path, folder: Path, *, env: Mapping[str, str] | None = None) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.database_url = POSTGRES.rpartition("/")[0] + f"/muster_bench_{uuid4().hex[:12]}"
        self._config = config
        self._folder = folder
        self._redis_port = free_port()
        self._env = {
            **os.environ,
            **(env or {}),
            "MUSTER_DATABASE_URL": self.database_url,
            "MUSTER_BROKER_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "MUSTER_DATA_DIR": str(folder / "data"),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with psycopg.connect(POSTGRES, autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{self._database}"')
        redis = shutil.which("redis-server") or shutil.which("valkey-server")
        if redis is None:
            raise SystemExit("benchmarks of the stack need redis-server on the path.")
        self._spawn("redis", [redis, "--port", str(self._redis_port), "--save", "", "--bind", "127.0.0.1"])
        port = self.url.rpartition(":")[2]
        self.start("serve", "serve", "--port", port)
        self.start("beat", "beat")
        try:
            self._await_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._processes)):
            self.stop(name)
        with psycopg.connect(POSTGRES, autocommit=True) as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')

    def start(
        self, name: str, *words: str, env: Mapping[str, str] | None = None, core: int | None = None
    ) -> None:
        """Start `muster WORDS`; `core`: the only processor that it may use."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        command = [*pinned, sys.executable, "-m", "api.cli.main", "--config", str(self._config), *words]
        self._spawn(name, command, env=env)

    def run(self, *words: str, timeout_s: float = 600) -> None:
        """`muster WORDS` to its end.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        command = [sys.executable, "-m", "api.cli.main", "--config", str(self._config), *words]
        subprocess.run(command, env=self._env, check=True, stdout=subprocess.DEVNULL, timeout=timeout_s)

    def stop(self, name: str) -> None:
        """Ask a process to end, and make sure that it does."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        process.kill()
        process.wait()

    def submit(self, lines: Sequence[Mapping[str, Any]], *, composition: str) -> str:
        """Post a job; returns its id."""
        body = "".join(json.dumps(line) + "\n" for line in lines)
        headers = {"content-type": "application/x-ndjson"}
        reply = httpx.post(
            f"{self.url}/v1/jobs",
            params={"composition": composition},
            content=body,
            headers=headers,
            timeout=120,
        )
        reply.raise_for_status()
        return str(reply.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return self._get(f"/v1/jobs/{job_id}")

    def plan(self, job_id: str) -> dict[str, Any]:
        return self._get(f"/v1/jobs/{job_id}/plan")

    def wait(self, job_id: str, *, timeout_s: float = 1800) -> dict[str, Any]:
        """Poll until the job has ended; returns it."""
        deadline = time.monotonic() + timeout_s
        while (job := self.job(job_id))["state"] == "running":
            if time.monotonic() > deadline:
                raise SystemExit(f"job {job_id} did not end within {timeout_s:g} s: {job}")
            time.sleep(POLL_S)
        return job

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database holds, by plain SQL."""
        with psycopg.connect(self.database_url) as conn:
            return conn.execute(statement, values).fetchall()

    def memory_mb(self, name: str) -> float:
        """Peak resident memory of a process so far."""
        return _peak_mb(self._processes[name].pid)

    def cpu_s(self, name: str) -> float:
        """Processor time that a process and its children have taken."""
        return sum(cpu_s(pid) for pid in self._tree(name))

    def tree_memory_mb(self, name: str) -> float:
        """Peak resident memory of a process and its children, summed: pages that they share count twice."""
        return sum(_peak_mb(pid) for pid in self._tree(name))

    def _tree(self, name: str) -> list[int]:
        pids = [self._processes[name].pid]
        for pid in pids:  # grows while it is walked
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    pids += map(int, (task / "children").read_text().split())
        return pids

    @property
    def _database(self) -> str:
        return self.database_url.rpartition("/")[2]

    def _get(self, path: str) -> dict[str, Any]:
        reply = httpx.get(self.url + path, timeout=30)
        reply.raise_for_status()
        return dict(reply.json())

    def _spawn(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env={**self._env, **(env or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_up(self) -> None:
        """Until it answers; it is ready once its pool is profiled."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health/live", timeout=5).status_code == 200:
                    return
            time.sleep(POLL_S)
        raise SystemExit(f"the stack did not come up; see {self._folder}/*.log")


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken; 0 for one that is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
