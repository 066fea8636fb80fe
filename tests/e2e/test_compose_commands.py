"""The stack of docker-compose.yml: exactly its commands, environment and order, as processes.

PostgreSQL is real and asks for passwords, Redis has the broker's options, and the pool is the zoo.
`tests/harness/containers.py` says what differs.
"""

import json
import os
import random
import shlex
import string
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness.compose import read_compose
from tests.harness.containers import Containers
from tests.harness.processes import ROOT, Process
from tests.harness.servers import postgres_is_installed, redis_is_installed
from tests.harness.waiting import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.zoo,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (postgres_is_installed() and redis_is_installed()), reason="no server programs are installed"
    ),
]
PATIENCE_S = 120.0
FIRST_KEY = ("muster", "keys", "create", "--scope", "admin")
LOOPBACK = "127.0.0.1"
N_LINES = 240
PSQL = ("psql", "-U", "muster", "-d", "muster")
AT_ONCE = Retry(NoBackoff(), 0)
WRONG = "not-the-password-7c1e"


class Used(Containers):
    """The stack, and its client with the first key.

    Attributes:
        keyless: the API as it ended before there was a key.
    """

    key: str = ""
    keyless: Process | None = None

    def call(self, method: str, path: str, *, key: str | None = None, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key if key is None else key}", **more.pop("headers", {})}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=PATIENCE_S, **more)

    def submit(self, lines: list[dict[str, Any]], composition: str) -> str:
        body = "".join(json.dumps(line) + "\n" for line in lines)
        reply = self.call(
            "POST",
            f"/v1/jobs?composition={composition}",
            content=body,
            headers={"content-type": "application/jsonl"},
        )
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def job(self, job: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/v1/jobs/{job}").raise_for_status().json())

    def ended(self, job: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            return found if (found := self.job(job))["state"] != "running" else None

        return wait_for(f"job {job}", look, within_s=PATIENCE_S, every_s=0.1)


@pytest.fixture(scope="module")
def stack() -> Iterator[Used]:
    """What the head of the file says: `stack-secrets.sh`, the first key, `docker compose up`."""
    with tempfile.TemporaryDirectory(prefix="muster-compose-") as folder:
        secrets = Path(folder) / "secrets"
        subprocess.run([ROOT / "scripts" / "stack-secrets.sh", secrets], check=True, capture_output=True)
        services = read_compose(ROOT / "docker-compose.yml", {"SECRETS_DIR": str(secrets)})
        with Used(services, Path(folder)) as containers:
            containers.keyless = containers.run("api", *services["api"].words)
            made = containers.run("worker", *FIRST_KEY)
            assert made.returncode == 0, made.tail()
            containers.key = made.output().split()[0]
            containers.up()
            for name, service in services.items():
                if service.health is not None:
                    containers.await_healthy(name)
            yield containers


def questions(n: int) -> list[dict[str, Any]]:
    """What the expert `reverse` is good at."""
    rng = random.Random(17)
    words = ["".join(rng.choices(string.ascii_lowercase, k=5)) for _ in range(n)]
    return [
        {"id": word[::-1], "question": f"Please spell '{word}' backwards.", "answer_type": "text"}
        for word in words
    ]


def test_every_service_without_a_profile_runs_or_is_done(stack: Used) -> None:
    wanted = {name for name, service in stack.services.items() if not service.is_optional}
    assert wanted == {"postgres", "credentials", "migrate", "valkey", "api", "worker", "beat"}
    running = {name for name in wanted if stack.is_running(name)}
    assert wanted - running == {"credentials", "migrate"}
    assert [stack.processes[name].returncode for name in sorted(wanted - running)] == [0, 0]


def test_without_a_key_the_api_ends_and_says_how_one_is_made(stack: Used) -> None:
    assert stack.keyless is not None
    assert stack.keyless.returncode == 2, stack.keyless.tail()
    assert shlex.join(FIRST_KEY) in stack.keyless.output()


def test_a_question_is_answered_for_who_has_the_key_and_for_nobody_else(stack: Used) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Please spell 'xngoby' backwards."}]}
    assert stack.call("POST", "/v1/chat/completions", key="sk-muster-another", json=body).status_code == 401
    reply = stack.call("POST", "/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"]


def test_a_batch_is_completed_while_its_worker_is_restarted(stack: Used) -> None:
    lines = questions(N_LINES)
    begun = stack.submit(lines, "reverse")
    wait_for("some are answered", lambda: stack.job(begun)["counts"]["completed"], within_s=PATIENCE_S)
    assert stack.stop("worker") == 0
    waiting = stack.submit(lines[:3], "reverse")
    assert stack.job(waiting)["state"] == "running"
    stack.start("worker")
    for job, n in ((begun, N_LINES), (waiting, 3)):
        assert stack.ended(job)["counts"] == {"total": n, "completed": n, "failed": 0, "waiting": 0}
    texts = stack.call("GET", f"/v1/jobs/{begun}/answers").text.splitlines()
    answers = {line["id"]: line["answer"] for line in map(json.loads, texts)}
    assert len(texts) == len(answers) == N_LINES
    assert sum(answer == wanted for wanted, answer in answers.items()) > N_LINES / 2


def test_the_api_is_called_by_its_names_only(stack: Used) -> None:
    port = stack.ports["8321"]
    for host in (f"{LOOPBACK}:{port}", f"localhost:{port}", f"api:{port}"):
        assert stack.call("GET", "/metrics", headers={"host": host}).status_code == 200, host
    assert stack.call("GET", "/metrics", headers={"host": f"elsewhere.example:{port}"}).status_code == 403


@pytest.mark.skipif(os.geteuid() != 0, reason="a file is given to another user")
def test_prometheus_reads_numbers_with_the_key_that_it_is_handed(stack: Used) -> None:
    """docs/observability.md: the secret of an admin's key goes into .secrets/metrics-key."""
    secret = stack.folder / "secrets" / "metrics-key"
    secret.write_text(stack.key)
    handed = stack.run("metrics-key", *stack.services["metrics-key"].words)
    secret.unlink()
    assert handed.returncode == 0, handed.tail()
    key = stack.volume("metrics-key") / "key"
    assert (key.stat().st_mode & 0o777, key.stat().st_uid) == (0o400, 65534)
    assert stack.call("GET", "/metrics", key=key.read_text()).status_code == 200
    assert stack.call("GET", "/metrics", key="sk-muster-another").status_code == 401


def broker(stack: Used, password: str | None) -> redis.Redis:
    """A client of the broker; without a password nobody in particular."""
    user = None if password is None else "muster"
    return redis.Redis(port=stack.ports["valkey:6379"], username=user, password=password, retry=AT_ONCE)


def test_the_broker_knows_nobody_without_a_password_and_keeps_what_it_has(stack: Used) -> None:
    with broker(stack, None) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    with broker(stack, (stack.folder / "secrets" / "broker").read_text()) as client:
        found = client.info("persistence") | client.info("memory")
    assert (found["aof_enabled"], found["maxmemory_policy"]) == (1, "noeviction")


@pytest.mark.parametrize("name", ["migrate", "api", "worker", "beat"])
def test_a_wrong_database_password_ends_a_service_and_is_named(stack: Used, name: str) -> None:
    ended = stack.run(name, *stack.services[name].words, env={"PGPASSWORD": WRONG})
    assert ended.returncode not in (0, None)
    assert "password authentication failed" in ended.output()
    assert "Traceback" not in ended.output()
    assert WRONG not in ended.output()


def test_stopping_and_starting_the_stack_again_keeps_jobs_and_leaves_nothing_elsewhere(stack: Used) -> None:
    job = stack.submit(questions(3), "reverse")
    before = stack.ended(job)
    ended = stack.down()
    assert ended == dict.fromkeys(("beat", "worker", "api", "valkey", "postgres"), 0)
    assert {name: stack.strays(name) for name in stack.services} == {name: [] for name in stack.services}
    logs = stack.logs()
    assert [path.name for path in (stack.folder / "secrets").iterdir() if path.read_text() in logs] == []
    assert "permission denied" not in logs
    stack.up()
    stack.await_healthy("api")
    assert stack.job(job) == before


def test_passwords_are_changed_as_the_docs_tell(stack: Used) -> None:
    """docs/security.md, "A new password"."""
    stack.down()
    secrets = stack.folder / "secrets"
    old = {name: (secrets / name).read_text() for name in ("database", "database-owner", "broker")}
    for name in old:
        (secrets / name).unlink()
    subprocess.run([ROOT / "scripts" / "stack-secrets.sh", secrets], check=True, capture_output=True)
    stack.up("credentials", "postgres")
    stack.await_healthy("postgres")
    roles = stack.execute("postgres", *PSQL, "-f", "/docker-entrypoint-initdb.d/roles.sql")
    assert roles.returncode == 0, roles.stderr
    stack.up()
    stack.await_healthy("api")
    assert stack.ended(stack.submit(questions(3), "reverse"))["counts"]["completed"] == 3
    with broker(stack, old["broker"]) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
