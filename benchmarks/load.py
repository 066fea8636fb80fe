"""Muster under load: `python -m benchmarks.load [--short]`. Engines are scripted and take one second each.

    embedded_p50_ms, _p99_ms  of a chat completion through a server that works alone, 50 clients at once, over
                              the engine's own second; the question is routed to one expert (no embeddings)
    stack_p50_ms, _p99_ms     the same through the stack: API, worker, PostgreSQL, Redis
    embedded_cpu_ms, stack_…  CPU time of Muster's processes for one of these: what is left on a busy machine
    litellm_p50_ms, _p99_ms   of a LiteLLM call over the same second of an OpenAI-compatible server, side by
                              side (null without a Python that has it: `--litellm`)
    submit_rps, _p99_ms       jobs of one line at 200/s, each from when it was due; a stack without workers
    overload                  ten times what a server takes (places and line) at once: how many were answered
                              and refused, whether all refusals said Retry-After, memory, whether it recovered

Clients begin spread over a second, so that they do not come at once. The last line of output is one JSON
object with these keys.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.reporting import finish, option_parser, progress
from benchmarks.stack import open_stack
from benchmarks.wire_client import Reply, chat, connected
from tests.harness.embedded import serving
from tests.harness.processes import Process, descendants

ROOT = Path(__file__).resolve().parents[1]
ENGINE_S = 1.0
CONCURRENT = 50
MODEL = "muster/routed"
CHAT, JOBS = "/v1/chat/completions", "/v1/jobs?composition=alpha"
RATE = 200
PLACES = 25
"""And as many in line, of the server that is overloaded."""
TIMES = 10


class Extent(NamedTuple):
    """How much is measured: rounds of each client, seconds of submissions."""

    rounds: int
    submit_s: float


class Figures(NamedTuple):
    """Milliseconds: added to the engine's second, and of CPU time."""

    p50_ms: float | None
    p99_ms: float | None
    cpu_ms: float | None = None


WHOLE, SHORT = Extent(20, 20.0), Extent(3, 3.0)


def pool_file(folder: Path, **server: object) -> Path:
    """Two experts whose engines answer after a second; `routed` recruits one of them."""
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {
                "muster": {
                    "engine": "scripted",
                    "options": {"rules": [{"regex": ".", "delay_s": ENGINE_S, "reply": "Fine."}]},
                }
            },
        }
        for name in ("alpha", "beta")
    ]
    routed = {"router": "random", "router_options": {"k": 1}, "aggregator": "first"}
    muster = {
        "data_dir": str(folder / "data"),
        "embedder": {"model": "hash"},
        "compositions": {"routed": routed},
        "scheduler": {"max_resident": 2},
        "server": server,
    }
    path = folder / "pool.yaml"
    path.write_text(json.dumps({"model_list": members, "muster": muster}))  # JSON is YAML
    return path


# ── chat ─────────────────────────────────────────────────────────────────────────────────────────────


async def chat_seconds(url: str, rounds: int) -> list[float]:
    """Seconds of completions, one after the other by each client; the first of each is not counted."""

    async def client(number: int) -> list[float]:
        await asyncio.sleep(number / CONCURRENT)
        took = []
        async with connected(url) as connection:
            for round_ in range(rounds + 1):
                reply = await connection.post(CHAT, chat(MODEL, f"What is {number} plus {round_}?"))
                if reply.status != 200:
                    raise SystemExit(f"{reply.status}: {reply.body.decode()}")
                took.append(reply.seconds)
        return took[1:]

    found = await asyncio.gather(*(client(number) for number in range(CONCURRENT)))
    return [seconds for took in found for seconds in took]


def over_the_engine(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 of what was added to the engine's second, ms."""
    added = 1000 * (np.array(seconds) - ENGINE_S)
    return float(np.percentile(added, 50)), float(np.percentile(added, 99))


def embedded(extent: Extent) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        pool_file(Path(name))
        with serving(Path(name)) as (server, url):
            return figures(url, [server], extent)


def stack(extent: Extent) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_stack(pool_file(folder), folder) as running:
            worker = running.launch("worker", "worker", "--device", "cpu")
            worker.await_ready()
            return figures(running.url, [running.named["serve"], worker], extent)


def figures(url: str, processes: Sequence[Process], extent: Extent) -> Figures:
    asyncio.run(chat_seconds(url, 1))  # engines are loaded, connections made
    before_s = sum(map(_cpu_s, processes))
    took = asyncio.run(chat_seconds(url, extent.rounds))
    used_s = sum(map(_cpu_s, processes)) - before_s
    return Figures(*over_the_engine(took), 1000 * used_s / (CONCURRENT * (extent.rounds + 1)))


def _cpu_s(process: Process) -> float:
    """CPU seconds of a process and its children so far."""
    total = 0.0
    for pid in [process.pid, *descendants(process.pid)]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


# ── LiteLLM ──────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def slow_server() -> Iterator[str]:
    """An OpenAI-compatible server that answers everything after the engine's second."""
    message = {"role": "assistant", "content": "Fine."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "alpha", "choices": [choice]}
    body = json.dumps({**answer, "usage": usage}).encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(int(asked.split("content-length:")[1].split("\r\n")[0]))
                await asyncio.sleep(ENGINE_S)
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(talk, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def litellm(python: Path | None, extent: Extent) -> Figures:
    if python is None:
        return Figures(None, None)
    with slow_server() as url:
        arguments = [url, str(CONCURRENT), str(extent.rounds)]
        command = [str(python), "-m", "benchmarks.load_litellm", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} has no litellm that works: {done.stderr[-500:]}")
    return Figures(*over_the_engine(json.loads(done.stdout.splitlines()[-1])["seconds"]))


def with_litellm() -> Path | None:
    """A Python of this folder that has it."""
    made = (ROOT / name / "bin" / "python" for name in (".venv-remote", ".venv-clients-litellm"))
    return next((python for python in made if python.exists()), None)


# ── submissions ──────────────────────────────────────────────────────────────────────────────────────


async def submit_seconds(url: str, seconds: float) -> tuple[list[float], float]:
    """Seconds of submissions, each from when it was due; and how many there were in a second."""
    n, n_connections = int(RATE * seconds), RATE // 4
    due = iter(range(n))
    took: list[float] = []
    began = time.perf_counter()

    async def client() -> None:
        async with connected(url) as connection:
            for number in due:
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                line = json.dumps({"id": "q", "question": f"What is {number} plus 1?"}).encode()
                reply = await connection.post(JOBS, line, content_type="application/jsonl")
                if reply.status != 202:
                    raise SystemExit(f"{reply.status}: {reply.body.decode()}")
                took.append(time.perf_counter() - began - number / RATE)

    await asyncio.gather(*(client() for _ in range(n_connections)))
    return took, n / (time.perf_counter() - began)


def submissions(extent: Extent) -> tuple[float, float]:
    """Submissions in a second, and their p99 in ms."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_stack(pool_file(folder), folder) as running:
            asyncio.run(submit_seconds(running.url, 1.0))
            took, rate = asyncio.run(submit_seconds(running.url, extent.submit_s))
    return rate, 1000 * float(np.percentile(took, 99))


# ── overload ─────────────────────────────────────────────────────────────────────────────────────────


async def all_at_once(url: str, n: int) -> list[Reply]:
    async def client(number: int) -> Reply:
        async with connected(url) as connection:
            return await connection.post(CHAT, chat(MODEL, f"What is {number} plus 2?"))

    return list(await asyncio.gather(*(client(number) for number in range(n))))


def overload() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        pool_file(Path(name), max_in_flight=PLACES, max_queued=PLACES)
        with serving(Path(name)) as (server, url):
            asyncio.run(all_at_once(url, PLACES))
            before_mb = _memory_mb(server)
            replies = asyncio.run(all_at_once(url, 2 * PLACES * TIMES))
            peak_mb = _memory_mb(server)
            after = asyncio.run(all_at_once(url, PLACES))
    refused = [reply for reply in replies if reply.status in (429, 503)]
    return {
        "sent": len(replies),
        "statuses": dict(sorted(Counter(str(reply.status) for reply in replies).items())),
        "all_say_retry_after": all("retry-after" in reply.headers for reply in refused),
        "longest_retry_after_s": max((int(reply.headers["retry-after"]) for reply in refused), default=None),
        "rss_growth_mb": round(peak_mb - before_mb, 1),
        "recovers": {reply.status for reply in after} == {200},
        "recovered_p50_ms": round(over_the_engine([reply.seconds for reply in after])[0], 1),
    }


def _memory_mb(process: Process) -> float:
    """Peak memory of a process so far."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--short", action="store_true", help="for its shape: too few for a p99")
    parser.add_argument("--litellm", type=Path, default=with_litellm(), help="a Python that has litellm")
    parser.add_argument(
        "--only", choices=("embedded", "stack", "litellm", "submit", "overload"), help=argparse.SUPPRESS
    )
    options = parser.parse_args(argv)
    extent = SHORT if options.short else WHOLE
    parts = {
        "embedded": lambda: _named("embedded", embedded(extent)),
        "litellm": lambda: _named("litellm", litellm(options.litellm, extent)),
        "stack": lambda: _named("stack", stack(extent)),
        "submit": lambda: dict(zip(("submit_rps", "submit_p99_ms"), submissions(extent), strict=True)),
        "overload": lambda: {"overload": overload()},
    }
    report: dict[str, object] = {}
    for name, measure in parts.items():
        if options.only in (None, name):
            report |= measure()
            progress(report)
    finish({name: round(value, 1) if isinstance(value, float) else value for name, value in report.items()})


def _named(what: str, found: Figures) -> dict[str, object]:
    return {f"{what}_{name}": value for name, value in found._asdict().items() if name != "cpu_ms" or value}


if __name__ == "__main__":
    main()
