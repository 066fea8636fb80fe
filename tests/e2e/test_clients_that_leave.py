"""Clients that go away, and come again with a key, and ends that others bring about while a client waits: at
a server that works alone and at the stack's."""

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
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

HOURS = {"request_timeout_s": 36_000}
"""Nobody is told that it took too long."""
LONG, SOON = question(0), question(1)
N_MANY = 150
RULES = [{"match": LONG, "delay_s": 3600.0}, {"match": SOON, "delay_s": 2.0}]
"""One answer never comes, the other takes as long as a client may need to go away."""


class Server:
    """An API that can be ended and started again over the same database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._stack = ExitStack()

    def start(self) -> None:
        self._process, self.url = self._stack.enter_context(serving(self.folder))

    def terminate(self) -> int | None:
        """SIGTERM; the exit code, None = it did not end."""
        return self._process.stop(within_s=PATIENCE_S)

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

    def terminate(self) -> int | None:
        return self._processes.terminate("api")

    def end(self) -> None:
        self._processes.kill("api")


@contextmanager
def open_server(kind: str, folder: Path) -> Iterator[Server]:
    write_pool(folder, rules=RULES, server=HOURS)
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


FORMS: Mapping[str, Mapping[str, object]] = {
    "one": {},
    "three runs": {"n": 3},
    "stream": {"stream": True},
    "stream of three runs": {"stream": True, "n": 3},
}


class Waiting:
    """Clients that wait for answers that do not come."""

    def __init__(self, server: Server, threads: ThreadPoolExecutor) -> None:
        self._server = server
        self._threads = threads

    def ask(self, form: Mapping[str, object], *, key: str | None = None) -> Future[httpx.Response]:
        """A question; its call is made when this returns."""
        n_before = len(self.calling())
        reply = self._threads.submit(self._post, form, key)
        wait_for(
            "the question is asked",
            lambda: reply.done() or len(self.calling()) > n_before,
            within_s=PATIENCE_S,
        )
        return reply

    def again(self, *, key: str) -> Future[httpx.Response]:
        return self._threads.submit(self._post, {}, key)

    def calling(self) -> list[str]:
        """Ids of questions that run and whose calls are made."""
        url = f"{self._server.url}/v1/jobs"
        jobs = httpx.get(url, params={"limit": 100}, timeout=PATIENCE_S).json()["data"]
        return [str(job["id"]) for job in jobs if job["state"] == "running" and job["calls"]]

    def post(self, path: str) -> None:
        httpx.post(f"{self._server.url}/v1/jobs/{path}", timeout=PATIENCE_S).raise_for_status()

    def delete(self, job_id: str) -> int:
        return httpx.delete(f"{self._server.url}/v1/jobs/{job_id}", timeout=PATIENCE_S).status_code

    def _post(self, form: Mapping[str, object], key: str | None) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        body = chat(LONG, "alpha") | form
        url = f"{self._server.url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)


@pytest.fixture
def waiting(server: Server) -> Iterator[Waiting]:
    with ThreadPoolExecutor(32) as threads:
        waiting = Waiting(server, threads)
        yield waiting
        for job_id in waiting.calling():  # who still waits would keep the threads
            waiting.post(f"{job_id}/cancel")


@pytest.mark.parametrize("form", FORMS)
def test_a_question_that_somebody_else_cancels_ends_for_who_waits(waiting: Waiting, form: str) -> None:
    reply = waiting.ask(FORMS[form])
    [job_id] = waiting.calling()
    waiting.post(f"{job_id}/cancel")
    assert error_code(reply.result(PATIENCE_S)) == "cancelled"


def test_all_who_wait_under_one_key_are_told_that_it_was_cancelled(waiting: Waiting) -> None:
    replies = [waiting.ask({}, key="cancelled"), waiting.again(key="cancelled")]
    [job_id] = waiting.calling()
    waiting.post(f"{job_id}/cancel")
    replies.append(waiting.again(key="cancelled"))
    assert [error_code(reply.result(PATIENCE_S)) for reply in replies] == ["cancelled"] * 3


@pytest.mark.parametrize("form", FORMS)
def test_a_question_that_somebody_deletes_ends_for_who_waits(waiting: Waiting, form: str) -> None:
    reply = waiting.ask(FORMS[form])
    [job_id] = waiting.calling()
    assert waiting.delete(job_id) == 409
    waiting.post(f"{job_id}/cancel")
    assert waiting.delete(job_id) == 200
    assert error_code(reply.result(PATIENCE_S)) in ("not_found", "cancelled")


def test_whatever_many_leave_at_once_is_cancelled(server: Server, waiting: Waiting) -> None:
    """More than the database has connections for."""
    url = httpx.URL(server.url)
    body = json.dumps(chat(LONG, "alpha")).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}"
    with ExitStack() as stack:
        for _ in range(N_MANY):
            client = stack.enter_context(socket.create_connection((url.host, url.port)))
            client.sendall(f"{head}\r\ncontent-type: application/json\r\n\r\n".encode() + body)
        wait_for("most are asked", lambda: len(waiting.calling()) >= 64, within_s=PATIENCE_S, every_s=0.5)
    wait_for("none runs", lambda: not waiting.calling(), within_s=PATIENCE_S, every_s=0.5)


def test_a_server_that_is_told_to_end_tells_those_who_wait(server: Server, waiting: Waiting) -> None:
    replies = [waiting.ask(form) for form in FORMS.values()]
    kept = waiting.ask({}, key="kept")
    assert server.terminate() is not None
    told = [error_code(reply.result(PATIENCE_S)) for reply in (*replies, kept)]
    assert told == ["server_stopping"] * 5
    assert kept.result().headers["retry-after"]
    server.end()
    server.start()
    [job_id] = wait_for("the kept one goes on", waiting.calling, within_s=PATIENCE_S)
    again = waiting.again(key="kept")
    waiting.post(f"{job_id}/cancel")
    assert error_code(again.result(PATIENCE_S)) == "cancelled"


def error_code(reply: httpx.Response) -> str:
    """Of a reply, or of the event that ends a stream."""
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if "error" in line]
    return str(json.loads(events[-1])["error"]["code"])
