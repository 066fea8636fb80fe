"""Clients that go away, and come again with a key, at a server that works alone and at the stack's."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.harness.embedded import serving
from tests.harness.servers import open_redis, redis_is_installed
from tests.harness.stack import PATIENCE_S, Stack, chat
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
needs_servers = pytest.mark.skipif(
    not (postgres_is_reachable() and redis_is_installed()), reason="no PostgreSQL or no redis-server"
)

LONG, SOON = question(0), question(1)
RULES = [{"match": LONG, "delay_s": 3600.0}, {"match": SOON, "delay_s": 2.0}]
"""One answer never comes, the other takes as long as a client may need to go away."""


class Server:
    """An API that can be ended and started again over the same database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._stack = ExitStack()

    def start(self) -> None:
        _, self.url = self._stack.enter_context(serving(self.folder))

    def end(self) -> None:
        self._stack.close()


class StackServer(Server):
    """The same where a worker of its own does the work."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        super().__init__(folder)
        self._processes = stack
        stack.launch("worker", "worker", "--device", "cpu")

    def start(self) -> None:
        self._processes.launch_api()
        self.url = self._processes.url

    def end(self) -> None:
        self._processes.kill("api")


@contextmanager
def open_server(kind: str, folder: Path) -> Iterator[Server]:
    write_pool(folder, rules=RULES)
    with ExitStack() as stack:
        if kind == "alone":
            server = Server(folder)
        else:
            broker = stack.enter_context(open_redis(folder))
            database_url = stack.enter_context(fresh_postgres())
            config = folder / "pool.yaml"
            made = Stack(config, folder, database_url=database_url, broker_url=broker.url)
            server = StackServer(folder, stack.enter_context(made))
        server.start()
        stack.callback(server.end)
        yield server


@pytest.fixture(scope="module", params=["alone", pytest.param("stack", marks=needs_servers)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


def newest(server: Server) -> dict[str, Any] | None:
    jobs = httpx.get(f"{server.url}/v1/jobs", params={"limit": 1}, timeout=PATIENCE_S).json()["data"]
    return dict(jobs[0]) if jobs else None


def job_of(server: Server, job_id: str) -> dict[str, Any]:
    return dict(httpx.get(f"{server.url}/v1/jobs/{job_id}", timeout=PATIENCE_S).json())


def ask_and_leave(server: Server, text: str, *, stream: bool, key: str | None = None) -> str:
    """Ask, wait until the question is on the books and its call is made, hang up; the id of its job."""
    before = newest(server)
    body = json.dumps(chat(text, "alpha") | {"stream": stream}).encode()
    url = httpx.URL(server.url)
    head = ["POST /v1/chat/completions HTTP/1.1", "host: localhost", "content-type: application/json"]
    head += [f"content-length: {len(body)}", *([f"idempotency-key: {key}"] if key else [])]

    def is_asked() -> str | None:
        job = newest(server)
        is_new = job is not None and (before is None or job["id"] != before["id"])
        return str(job["id"]) if is_new and job and job["calls"] else None

    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        return wait_for("the question is asked", is_asked, within_s=PATIENCE_S)


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_whose_client_went_away_is_cancelled(server: Server, stream: bool) -> None:
    job_id = ask_and_leave(server, LONG, stream=stream)
    wait_for(
        "the job is cancelled",
        lambda: job_of(server, job_id)["state"] == "cancelled",
        within_s=PATIENCE_S,
        every_s=0.1,
    )


@pytest.mark.parametrize("stream", [False, True])
def test_with_a_key_it_is_answered_also_over_a_restart_and_told_to_whoever_comes_again(
    server: Server, stream: bool
) -> None:
    key = {"idempotency-key": f"again-{stream}"}
    job_id = ask_and_leave(server, SOON, stream=stream, key=key["idempotency-key"])
    server.end()
    server.start()
    body = chat(SOON, "alpha") | {"stream": stream}

    def ask() -> httpx.Response:
        path = f"{server.url}/v1/chat/completions"
        return httpx.post(path, json=body, headers=key, timeout=PATIENCE_S)

    told, again = ask(), ask()
    assert (told.status_code, told.headers["x-muster-decision-id"]) == (200, job_id), told.text
    assert "The answer is (A)." in told.text
    assert (again.content, again.headers["idempotency-replayed"]) == (told.content, "true")
    assert job_of(server, job_id)["state"] == "done"
