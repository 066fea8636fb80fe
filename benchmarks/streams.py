"""Questions beside event streams and waiting questions: `python -m benchmarks.streams [--stack]`.

    alone_p95_ms   of a question, beside running jobs that nobody follows
    p95_ms         beside `--streams` event streams of these jobs and `--waiting` questions that wait
    ratio          of the two, in one run
    lost           streams and waiting questions that the server dropped meanwhile
    api_rss_mb     memory of `muster serve` at its peak

A real server over scripted experts; with `--stack` beside a worker and a beat, over PostgreSQL and Redis. The
last line of output is one JSON object.
"""

import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.stack import open_stack
from tests.harness.embedded import serving
from tests.harness.processes import Process
from tests.integration.scripted_pool import question, write_pool

N_JOBS = 10
LINES = 30
EXPERT = "alpha"
HELD_S = 600.0
JSONL = {"content-type": "application/jsonl"}
RULES = [
    {"regex": "wait for ever", "delay_s": HELD_S},
    *({"regex": f"wait {n} seconds", "delay_s": float(n)} for n in range(LINES, 0, -1)),
]


class Served(NamedTuple):
    """A server and its process."""

    url: str
    process: Process


@contextmanager
def embedded(folder: Path, server: dict[str, object]) -> Iterator[Served]:
    write_pool(folder, rules=RULES, server=server)
    with serving(folder) as (process, url):
        yield Served(url, process)


@contextmanager
def stacked(folder: Path, server: dict[str, object]) -> Iterator[Served]:
    with open_stack(write_pool(folder, rules=RULES, server=server), folder) as stack:
        stack.launch("worker", "worker", "--device", "cpu").await_ready()
        yield Served(stack.url, stack.named["serve"])


def submit_jobs(url: str) -> list[str]:
    """Jobs that run throughout: each has a line that ends every second for a while, and one that does not."""
    lines = [f"Please wait {n} seconds." for n in range(1, LINES + 1)]
    ids = []
    for number in range(N_JOBS):
        texts = [*lines, "Please wait for ever."]
        content = "\n".join(
            json.dumps({"id": f"{number}-{n}", "question": text}) for n, text in enumerate(texts)
        )
        reply = httpx.post(f"{url}/v1/jobs?composition={EXPERT}", content=content, headers=JSONL, timeout=60)
        ids.append(str(reply.raise_for_status().json()["id"]))
    return ids


async def asked_ms(url: str, n: int) -> list[float]:
    """Milliseconds of questions that are asked one after another."""
    taken = []
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for number in range(n):
            body = {"model": EXPERT, "messages": [{"role": "user", "content": question(number % 100)}]}
            began = time.perf_counter()
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
            taken.append(1000 * (time.perf_counter() - began))
    return taken


class Crowd:
    """Event streams that are read, and questions that wait.

    Attributes:
        n_lost: of them, how many the server dropped or refused. n_events: that came.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.n_lost = self.n_events = 0

    async def follow(self, job_id: str) -> None:
        """One more stream; returns when it has begun."""
        reader = await self._said(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        self.n_lost += b" 200 " not in head.partition(b"\r\n")[0]
        self._tasks.append(asyncio.create_task(self._read(reader)))

    async def wait(self) -> None:
        """One more question that is not answered."""
        body = json.dumps(
            {"model": EXPERT, "messages": [{"role": "user", "content": "Please wait for ever."}]}
        )
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        reader = await self._said(f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}")
        self._tasks.append(asyncio.create_task(self._read(reader)))

    def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()

    async def _said(self, request: str) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._writers.append(writer)
        writer.write(request.encode())
        await writer.drain()
        return reader

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Whatever comes; the end is not to come."""
        while chunk := await reader.read(65_536):
            self.n_events += chunk.count(b"event: ")
        self.n_lost += 1


async def measured(served: Served, *, n_streams: int, n_waiting: int, n_asked: int) -> dict[str, object]:
    url = served.url
    await asked_ms(url, 20)
    jobs = submit_jobs(url)
    alone = await asked_ms(url, n_asked)
    progress(f"alone: median {statistics.median(alone):.1f} ms")
    crowd = Crowd(url)
    began = time.perf_counter()
    for number in range(n_streams):
        await crowd.follow(jobs[number % len(jobs)])
    for _ in range(n_waiting):
        await crowd.wait()
    progress(f"{n_streams} streams and {n_waiting} questions came within {time.perf_counter() - began:.1f} s")
    beside = await asked_ms(url, n_asked)
    report = {
        "streams": n_streams,
        "waiting": n_waiting,
        "asked": n_asked,
        "alone_ms": round(statistics.median(alone), 1),
        "alone_p95_ms": round(p95(alone), 1),
        "median_ms": round(statistics.median(beside), 1),
        "p95_ms": round(p95(beside), 1),
        "ratio": round(p95(beside) / p95(alone), 2),
        "events": crowd.n_events,
        "lost": crowd.n_lost,
        "api_rss_mb": round(served.process.peak_mib()),
    }
    crowd.leave()
    return report


def p95(taken: Sequence[float]) -> float:
    return statistics.quantiles(taken, n=20)[-1]


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--waiting", type=int, default=300)
    parser.add_argument("--asked", type=int, default=200)
    parser.add_argument("--stack", action="store_true")
    options = parser.parse_args(argv)
    server: dict[str, object] = {"max_in_flight": options.waiting + 100, "request_timeout_s": HELD_S}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    serve = stacked if options.stack else embedded
    with tempfile.TemporaryDirectory() as name, serve(Path(name), server) as served:
        report = asyncio.run(
            measured(served, n_streams=options.streams, n_waiting=options.waiting, n_asked=options.asked)
        )
    finish({"mode": "stack" if options.stack else "embedded", **report})


if __name__ == "__main__":
    main()
