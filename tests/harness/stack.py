"""The stack as users run it: processes of `muster` over one pool file, a database and a broker; a client."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.harness.processes import ROOT, Process, free_port
from tests.harness.waiting import wait_for

PATIENCE_S = 120.0
JSONL = {"content-type": "application/jsonl"}
READY: Mapping[str, str] = {"serve": "Muster listens", "worker": " ready."}
"""What a command's log says as soon as it works."""

Job = dict[str, Any]


class Stack:
    """Processes over one configuration; each is started when its user says so, and all end with the stack.

    Args:
        config: pool file. folder: working directory, and where logs go to.
        env: further variables of all processes. timeout_s: of the client's requests.

    Attributes:
        url: address of the API. named: the latest process of each name.
    """

    def __init__(
        self,
        config: Path,
        folder: Path,
        *,
        database_url: str,
        broker_url: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            "PYTHONPATH": str(ROOT),
            "MUSTER_CONFIG": str(config),
            "MUSTER_DATABASE_URL": database_url,
            "MUSTER_BROKER_URL": broker_url,
            **(env or {}),
        }
        self.named: dict[str, Process] = {}
        self.http = httpx.Client(base_url=self.url, timeout=timeout_s)
        self._all: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── processes ─────────────────────────────────────────────────────────────────────────────────

    def process(
        self,
        name: str,
        *words: str,
        limits: Mapping[int, tuple[int, int]] | None = None,
        env: Mapping[str, str] | None = None,
        core: int | None = None,
    ) -> Process:
        """`muster WORDS`, not yet started; its output goes to `NAME.log`."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        made = Process(
            name,
            [*pinned, sys.executable, "-m", "api.cli.main", *words],
            env={**self.env, **(env or {})},
            log=self.folder / f"{name}.log",
            cwd=self.folder,
            ready=READY.get(words[0]),
            limits=limits,
        )
        self.named[name] = made
        self._all.append(made)
        return made

    def launch(self, name: str, *words: str, core: int | None = None) -> Process:
        """`muster WORDS`, started; it need not be ready yet. `core`: the only processor that it may use."""
        return self.process(name, *words, core=core).start()

    def launch_api(self, name: str = "api") -> Process:
        """The API, as soon as it answers."""
        api = self.launch(name, "serve", "--port", str(self.port))

        def is_live() -> bool:
            if not api.is_alive:
                raise RuntimeError(f"{name} ended with {api.returncode}: {api.tail()}")
            return answers(self.url)

        wait_for(f"{name} answers", is_live, within_s=PATIENCE_S, every_s=0.1)
        return api

    def kill(self, name: str) -> None:
        """-9 for the process itself; its children are left to notice."""
        self.named[name].kill_alone()

    def terminate(self, name: str) -> int | None:
        """SIGTERM; the exit code."""
        return self.named[name].stop(within_s=PATIENCE_S)

    def log(self, name: str) -> str:
        return self.named[name].log.read_text()

    def close(self) -> None:
        """Idempotent."""
        for process in reversed(self._all):
            process.kill()
        self.http.close()

    # ── clients ───────────────────────────────────────────────────────────────────────────────────

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def post(
        self, path: str, body: object, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        return self.http.post(path, json=body, headers=dict(headers or {}), **more)

    def post_job(
        self,
        lines: Sequence[Mapping[str, object]],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
        **query: str,
    ) -> httpx.Response:
        """`POST /v1/jobs` over a connection of its own: for any thread."""
        body = "".join(json.dumps(line) + "\n" for line in lines)
        return httpx.post(
            f"{self.url}/v1/jobs",
            params=query,
            content=body.encode(),
            headers={**JSONL, **(headers or {})},
            timeout=timeout_s,
        )

    def submit_lines(self, lines: Sequence[Mapping[str, object]], *, composition: str) -> str:
        """Post a job that must be accepted; its id."""
        reply = self.post_job(lines, composition=composition)
        if reply.status_code != 202:
            raise AssertionError(f"submitting was answered with {reply.status_code}: {reply.text[:300]}")
        return str(reply.json()["id"])

    def job(self, job_id: str) -> Job:
        return dict(self.get(f"/v1/jobs/{job_id}").raise_for_status().json())

    def job_when(
        self,
        job_id: str,
        ready: Callable[[Job], bool] = lambda job: job["state"] != "running",
        *,
        within_s: float = PATIENCE_S,
    ) -> Job:
        """The job as soon as its view satisfies `ready`; without one, as soon as it has ended."""
        return wait_for(
            f"job {job_id}",
            lambda: found if ready(found := self.job(job_id)) else None,
            within_s=within_s,
            every_s=0.05,
        )

    def answers(self, job_id: str) -> list[dict[str, Any]]:
        """Lines of the job's answers."""
        reply = self.get(f"/v1/jobs/{job_id}/answers")
        return [json.loads(line) for line in reply.text.splitlines() if line]

    def ask(self, question: str, model: str) -> httpx.Response:
        return self.post("/v1/chat/completions", chat(question, model))

    @contextmanager
    def stream(self, question: str, model: str) -> Iterator[Iterator[str]]:
        """Texts of an answer as they come; the stream must end well."""
        body = chat(question, model) | {"stream": True}
        with self.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            yield _texts(reply)


def chat(question: str, model: str) -> dict[str, object]:
    """Body of a question with nothing before it."""
    return {"model": model, "messages": [{"role": "user", "content": question}]}


def answers(url: str) -> bool:
    """Whether an API lives there."""
    try:
        return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx.HTTPError:
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
