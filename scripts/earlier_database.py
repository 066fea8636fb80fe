"""Make a database as an earlier version leaves it: tests/upgrades/ holds one, from which tests upgrade.

    python -m scripts.earlier_database COMMIT

The version of COMMIT is checked out beside this one and run with the packages of this environment: it
profiles, makes keys, answers questions, a job, a batch and a response, takes feedback, pauses an expert, and
is killed in the middle of a job. REVISION.sql is what SQLite then dumps; names of this machine are replaced.
log.jsonl is what the experts of pool.yaml remember, made.json what the test has to know.
"""

import argparse
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tests" / "upgrades"
WITHIN_S = 60
KNOWN = [
    {"id": f"k{n}", "question": f"What is {a} plus {b}?", "answer": str(a + b), "answer_type": "number"}
    for n, (a, b) in enumerate([(2, 2), (2, 2.0), (3, 2), (4, 1), (2, 3), (1, 4)])
]
HANGS = "What hangs, and is 2 plus 2?"


class Earlier:
    """An earlier version in a folder of its own."""

    def __init__(self, code: Path, folder: Path) -> None:
        self._folder = folder
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(code)}
        self._base = [sys.executable, "-P", "-m", "api.cli.main", "--config", "pool.yaml"]
        self._server: subprocess.Popen[bytes] | None = None
        self._url = ""
        self.key = ""

    def muster(self, *words: str) -> Any:
        """The JSON document of a command."""
        done = subprocess.run(
            [*self._base, *words, "--json"], cwd=self._folder, env=self._env, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def serve(self) -> None:
        log = self._folder / "serve.log"
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                [*self._base, "serve", "--port", "0"],
                cwd=self._folder,
                env=self._env,
                stdout=file,
                stderr=file,
            )
        found = until(lambda: re.search(r"Muster listens\D*(http://[\w.:]+)", log.read_text()))
        self._url = found[1]

    def kill(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "application/json", **headers: str
    ) -> Any:
        """The JSON document of a route: POST where there is a body."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": kind, **headers}
        request = urllib.request.Request(f"{self._url}{path}", data=body, headers=sent)
        with urllib.request.urlopen(request, timeout=WITHIN_S) as reply:
            text = reply.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text


def until(found: Callable[[], Any]) -> Any:
    """The first result that is true."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.1)
    raise TimeoutError("nothing came of it")


def lived(version: Earlier, folder: Path) -> dict[str, Any]:
    """What a service goes through, up to its sudden end."""
    (folder / "known.jsonl").write_text(lines(KNOWN))
    version.muster("profile", "known.jsonl")
    keys = {"admin": ("admin",), "ask": ("ask", "--tokens", "1000000")}
    made = {
        name: version.muster("keys", "create", "--name", name, "--scope", *words)
        for name, words in keys.items()
    }
    admin, asker = (made[name]["secret"] for name in ("admin", "ask"))
    version.serve()
    version.key = asker
    chat = {"model": "auto", "messages": [{"role": "user", "content": "What is 2 plus 2?"}]}
    session = {"muster": {"session": "one", "answer_type": "number"}}
    question = version.ask("/v1/chat/completions", dump({**chat, **session}), **{"Idempotency-Key": "first"})
    response = version.ask("/v1/responses", dump({"model": "ada", "input": "What is 2 plus 2?"}))
    version.key = admin
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    file = version.ask("/v1/files", *form("requests.jsonl", lines([line]), purpose="batch"))
    batch = version.ask(
        "/v1/batches",
        dump({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
    )
    batch = until(lambda: ended(version.ask(f"/v1/batches/{batch['id']}"), "status", "completed"))
    job = version.ask(
        "/v1/jobs?composition=auto", lines([unlabelled(one) for one in KNOWN]).encode(), "application/jsonl"
    )
    until(lambda: ended(version.ask(f"/v1/jobs/{job['id']}"), "state", "done"))
    profile = version.ask("/v1/profiles", lines(KNOWN).encode(), "application/jsonl")
    until(lambda: ended(version.ask(f"/v1/profiles/{profile['id']}"), "state", "completed"))
    version.ask("/v1/feedback", dump({"job": job["id"], "query": "k0", "right": True}))
    version.ask("/v1/experts/eve/pause", dump({"reason": "on leave"}))
    hanging = [{"id": f"h{n}", "question": HANGS, "answer_type": "number", "model": "ada"} for n in range(2)]
    others = [{**unlabelled(one), "model": "bob"} for one in KNOWN[:2]]
    unfinished = version.ask("/v1/jobs", lines([*hanging, *others]).encode(), "application/jsonl")
    until(lambda: version.ask(f"/v1/jobs/{unfinished['id']}")["counts"]["completed"] == 2)
    until(lambda: (folder / "log.jsonl").read_text().count('"rule"') >= 2)
    return {
        "keys": {"admin": admin, "ask": asker},
        "question": question["muster"]["job_id"],
        "response": response["id"],
        "batch": batch["id"],
        "output_file": batch["output_file_id"],
        "job": job["id"],
        "unfinished": unfinished["id"],
    }


def ended(document: Any, field: str, state: str) -> Any:
    """The document, once it is in that state."""
    if document[field] in ("failed", "cancelled", "expired"):
        raise RuntimeError(json.dumps(document))
    return document if document[field] == state else None


def unlabelled(line: dict[str, Any]) -> dict[str, Any]:
    """A question without its answer."""
    return {name: value for name, value in line.items() if name != "answer"}


def dump(document: dict[str, Any]) -> bytes:
    """JSON to be sent."""
    return json.dumps(document).encode()


def lines(documents: list[dict[str, Any]]) -> str:
    """JSON lines."""
    return "".join(f"{json.dumps(one)}\n" for one in documents)


def form(name: str, content: str, **fields: str) -> tuple[bytes, str]:
    """A form with a file, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [f'name="{field}"\r\n\r\n{value}' for field, value in fields.items()]
    parts.append(f'name="file"; filename="{name}"\r\n\r\n{content}')
    body = "".join(f"--{boundary}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    return f"{body}--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def dumped(database: Path, folder: Path) -> tuple[str, str]:
    """The revision of a database, and all of it as SQL, with names of this machine replaced."""
    with sqlite3.connect(database) as conn:
        (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
        text = "\n".join(conn.iterdump()) + "\n"
    host = re.escape(socket.gethostname())
    text = re.sub(rf"{host}\|[0-9a-f-]{{36}}", f"old-host|{uuid.UUID(int=0)}", text)
    return revision, text.replace(str(folder), "/old")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("commit")
    commit = parser.parse_args().commit
    with tempfile.TemporaryDirectory(prefix="muster-earlier-") as name:
        code, folder = Path(name, "code"), Path(name, "old")
        folder.mkdir()
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", code, commit], cwd=ROOT, check=True)
        shutil.copy(TARGET / "pool.yaml", folder)
        version = Earlier(code, folder)
        try:
            made = lived(version, folder)
        finally:
            version.kill()
            subprocess.run(["git", "worktree", "remove", "--force", code], cwd=ROOT, check=True)
        revision, text = dumped(folder / "data" / "muster.sqlite3", folder)
        (TARGET / f"{revision}.sql").write_text(text)
        (TARGET / "made.json").write_text(
            json.dumps({"commit": commit, "made_at": int(time.time()), **made}, indent=2) + "\n"
        )
        rules = [line for line in (folder / "log.jsonl").read_text().splitlines() if '"rule": 0' in line]
        (TARGET / "log.jsonl").write_text("".join(f"{line}\n" for line in rules))
    print(f"{revision}: {len(text)} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
