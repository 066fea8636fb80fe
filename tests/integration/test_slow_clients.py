"""The real server beside clients that never finish what they say: others are served, and they are let go."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.harness.embedded import serving
from tests.harness.processes import Process
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

N = 1000
JSON = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
SIZED = JSON + b"Content-Length: 900\r\n\r\n"
SLOW = {
    "nothing": b"",
    "half a head": b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
    "a line of a head": b"POST /v1/chat/completions HTTP/1.1\r\n",
    "no body": b"POST /v1/route" + SIZED,
    "half a body": b"POST /v1/chat/completions" + SIZED + b'{"model": ',
    "half a chunk": b"POST /v1/feedback" + JSON + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"job',
}
UPLOAD = b"POST /v1/jobs" + SIZED.replace(b"/json", b"/jsonl") + b"{"
JSONL = {"content-type": "application/jsonl"}
QUESTION = {"model": "alpha", "messages": [{"role": "user", "content": question(1)}]}


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Process, str]]:
    settings = {"max_in_flight": 8, **getattr(request, "param", {})}
    write_pool(tmp_path, server=settings)
    with serving(tmp_path) as served:
        yield served


def connected(stack: ExitStack, url: str, said: bytes) -> socket.socket:
    address = httpx.URL(url)
    client = stack.enter_context(socket.create_connection((address.host, address.port or 0), timeout=60))
    client.sendall(said)
    return client


def is_closed(client: socket.socket) -> bool:
    """Waits for its end."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def asks(url: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=QUESTION, timeout=60)


def test_a_thousand_half_open_connections_keep_nobody_waiting(server: tuple[Process, str]) -> None:
    """Of all kinds at once; 8 requests may be in flight."""
    _, url = server
    with ExitStack() as stack:
        kinds = list(SLOW.values())
        for n in range(N):
            connected(stack, url, kinds[n % len(kinds)])
        for _ in range(10):
            assert asks(url).status_code == 200
            assert httpx.get(f"{url}/v1/models", timeout=60).status_code == 200
            assert httpx.get(f"{url}/health/ready", timeout=60).status_code in (200, 503)
        content = json.dumps({"question": question(1)})
        job = httpx.post(f"{url}/v1/jobs", content=content, headers=JSONL, timeout=60)
        assert job.status_code == 202


@pytest.mark.parametrize(
    "server", [{"header_timeout_s": 0.5, "body_timeout_s": 0.5}], indirect=True, ids=["short deadlines"]
)
def test_who_never_finishes_is_let_go(server: tuple[Process, str]) -> None:
    process, url = server
    with ExitStack() as stack:
        clients = [connected(stack, url, said) for said in (*SLOW.values(), UPLOAD)]
        second = connected(stack, url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert second.recv(12) == b"HTTP/1.1 200"
        second.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        assert all(is_closed(client) for client in [*clients, second])
    assert n_connections(process) == 0
    assert asks(url).status_code == 200


@pytest.mark.parametrize(
    "server", [{"header_timeout_s": 0.5, "body_timeout_s": 0.5}], indirect=True, ids=["short deadlines"]
)
def test_a_slow_body_is_told_so(server: tuple[Process, str]) -> None:
    _, url = server
    with ExitStack() as stack:
        client = connected(stack, url, SLOW["half a body"])
        reply = b""
        while chunk := client.recv(65_536):
            reply += chunk
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["error"]["code"] == "request_timeout"


@pytest.mark.parametrize("server", [{"max_connections": 16}], indirect=True, ids=["16 connections"])
def test_the_longest_idle_connection_makes_room_for_another(server: tuple[Process, str]) -> None:
    process, url = server
    with ExitStack() as stack:
        clients = [connected(stack, url, SLOW["half a head"]) for _ in range(16)]
        wait_for("all are there", lambda: n_connections(process) == 16, within_s=30)
        assert asks(url).status_code == 200
        assert is_closed(clients[0])
        for client in clients[1:8]:  # and again and again
            assert httpx.get(f"{url}/health/live", timeout=60).status_code == 200
            assert is_closed(client)


def n_connections(process: Process) -> int:
    """Sockets of the server with a client at their other end."""
    links = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(os.readlink(link))  # noqa: PTH115 -- text
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[9] in inodes and row[3] == "01" for row in rows)


def test_a_path_cannot_write_lines_of_the_log(server: tuple[Process, str]) -> None:
    process, url = server
    forged = "2026-01-01 00:00:00,000 INFO api: all is well"
    said = quote(f"a\n{forged}\x1b[2J\u2028{forged}\u202e")
    for path in ("/v1/jobs/", "/nowhere/"):
        httpx.get(f"{url}{path}{said}", timeout=60)
    httpx.post(f"{url}/v1/route", content=b'{"a\\n' + forged.encode() + b'": 1}', timeout=60)
    lines = process.output().splitlines()
    assert not any(line.startswith(forged) for line in lines)
    assert any("all is well" in line for line in lines)
    assert all(line.isprintable() for line in lines)
