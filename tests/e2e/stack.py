"""The stack as users run it: real processes of `muster` over a database and a broker of their own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import redis

from tests.fakes.databases import fresh_postgres

ROOT = Path(__file__).parents[2]
RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:5672//"
PATIENCE_S = 120.0
LOOK_S = 0.1
JSONL = {"content-type": "application/jsonl"}

T = TypeVar("T")


@dataclass
class Stack:
    """Processes over one configuration; each is started when the test says so, and ended with it."""

    folder: Path
    env: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    url: str = ""

    def start(self, name: str, *arguments: str) -> None:
        """`muster <arguments>`; its output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "api.cli.main", *arguments],
                cwd=self.folder,
                env=self.env,
                stdout=log,
                stderr=log,
            )

    def start_api(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("api", "serve", "--port", str(port))
        until(self._is_live)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def terminate(self, name: str) -> int:
        """SIGTERM; the exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)

    def submit(self, content: bytes, composition: str = "muster/majority_all") -> dict[str, object]:
        response = httpx.post(
            f"{self.url}/v1/jobs?composition={composition}", content=content, headers=JSONL, timeout=30
        )
        assert response.status_code == 202, response.text
        job: dict[str, object] = response.json()
        return job

    def ask(self, question: str, model: str) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": question}]}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)

    @contextmanager
    def stream(self, question: str, model: str) -> Iterator[Iterator[str]]:
        """Texts of an answer as they come; the stream must end well."""
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
        url = f"{self.url}/v1/chat/completions"
        with httpx.stream("POST", url, json=body, timeout=PATIENCE_S) as reply:
            yield _texts(reply)

    def job_when(self, job_id: object, ready: Callable[[dict[str, int]], bool]) -> dict[str, object]:
        """The job as soon as its view satisfies `ready`."""
        return until(lambda: found if ready(found := self.get(f"/v1/jobs/{job_id}").json()) else None)

    def end(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def _is_live(self) -> bool:
        assert self.running["api"].poll() is None, self.log("api")
        try:
            return self.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False


def _texts(reply: httpx.Response) -> Iterator[str]:
    assert reply.status_code == 200, reply.read()
    for line in filter(None, reply.iter_lines()):
        if line == "data: [DONE]":
            return
        if not line.startswith(":"):
            chunk = json.loads(line.removeprefix("data: "))
            assert "error" not in chunk, chunk
            yield from (text for choice in chunk["choices"] if (text := choice["delta"].get("content")))
    raise AssertionError("the stream broke off")


@contextmanager
def open_stack(folder: Path, config: Path, broker_url: str) -> Iterator[Stack]:
    with fresh_postgres() as database_url:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MUSTER_CONFIG": str(config),
            "MUSTER_DATABASE_URL": database_url,
            "MUSTER_BROKER_URL": broker_url,
            "MUSTER_SCHEDULER__SWEEP_S": "1",
        }
        stack = Stack(folder, env)
        try:
            yield stack
        finally:
            stack.end()


class RedisServer:
    """A redis-server of the test's own, without persistence: started again, it is empty."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(redis.Redis(port=self.port).ping())
        except redis.RedisError:
            return False


@contextmanager
def open_redis(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def redis_is_installed() -> bool:
    return shutil.which("redis-server") is not None


def rabbitmq_answers() -> bool:
    """A missing server is excused only where none is installed."""
    try:
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
    except OSError:
        return False
    return True


def rabbitmq_is_installed() -> bool:
    return shutil.which("rabbitmq-server") is not None


def until(look: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
    """What `look` returns as soon as that is true; fails when it never is."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(LOOK_S)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
