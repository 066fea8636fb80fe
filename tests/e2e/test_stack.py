"""The stack end to end: processes are killed, brokers vanish, and every question is answered once."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
import yaml
from celery import Celery

from orchestrator.ports.dispatch import Piece
from tests.e2e.stack import (
    RABBITMQ_URL,
    ROOT,
    RedisServer,
    Stack,
    open_redis,
    open_stack,
    rabbitmq_is_installed,
    redis_is_installed,
    until,
)
from tests.fakes.databases import postgres_is_reachable
from tests.integration.scripted_pool import EXPERTS, question, write_pool
from workers.pieces import Heard
from workers.stack.news import RedisNews

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL answers"),
]
needs_redis = pytest.mark.skipif(not redis_is_installed(), reason="no redis-server is installed")
needs_rabbitmq = pytest.mark.skipif(not rabbitmq_is_installed(), reason="no RabbitMQ is installed")

N = 300


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with open_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pool in which one answer takes so long that a batch is not over before it is disturbed."""
    write_pool(tmp_path, rules=[{"match": question(0), "delay_s": 1.5}], delay_s=0.02)
    return tmp_path


def questions(n: int) -> bytes:
    lines = (json.dumps({"id": f"q{i}", "question": question(i)}) for i in range(n))
    return "\n".join(lines).encode()


def answered_once(stack: Stack, job_id: object) -> None:
    """All N, by all experts; every response on the books exactly once."""
    job = stack.job_when(job_id, lambda job: job["state"] != "running")
    assert job["counts"] == {"total": N, "completed": N, "failed": 0, "waiting": 0}
    assert job["calls"] == job["responses"] == N * len(EXPERTS)
    rows = [json.loads(line) for line in stack.get(f"/v1/jobs/{job_id}/answers").text.splitlines()]
    assert [row["id"] for row in rows] == [f"q{i}" for i in range(N)]


@pytest.mark.parametrize(
    "broker", [pytest.param("redis", marks=needs_redis), pytest.param("rabbitmq", marks=needs_rabbitmq)]
)
def test_a_batch_survives_its_worker_and_a_question_passes_it(
    folder: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("redis_server").url if broker == "redis" else RABBITMQ_URL
    with open_stack(folder, folder / "pool.yaml", url) as stack:
        stack.start("worker", "worker", "--device", "cpu", "--no-steps")
        stack.start("steps", "worker")
        stack.start("beat", "beat")
        stack.start_api()
        job = stack.submit(questions(N))
        stack.job_when(job["id"], lambda job: job["responses"] > 0)
        stack.kill("worker")
        stack.start("successor", "worker", "--device", "cpu")

        asked = stack.ask("What is 7 plus 7?", "alpha")
        assert asked.status_code == 200, asked.text
        assert stack.get(f"/v1/jobs/{job['id']}").json()["state"] == "running"
        answered_once(stack, job["id"])
        assert stack.terminate("successor") == 0
        assert stack.terminate("steps") == 0
        assert stack.terminate("beat") == 0


@needs_redis
def test_a_batch_survives_a_broker_that_comes_back_empty_and_messages_that_make_no_sense(
    folder: Path, tmp_path: Path
) -> None:
    with open_redis(tmp_path) as broker, open_stack(folder, folder / "pool.yaml", broker.url) as stack:
        stack.start("worker", "worker", "--device", "cpu")
        stack.start_api()
        garble(broker)
        job = stack.submit(questions(N))
        stack.job_when(job["id"], lambda job: job["responses"] > 0)
        broker.kill()
        ready = stack.get("/health/ready").json()
        assert ready["degraded"] is True
        late = stack.submit(questions(N))
        answered_once(stack, job["id"])
        broker.start()
        answered_once(stack, late["id"])
        assert "message rejected" in stack.log("worker")
        assert stack.terminate("worker") == 0


@needs_redis
def test_news_reaches_who_watches_the_job_and_nobody_else(redis_server: RedisServer) -> None:
    listener, teller = RedisNews(redis_server.url), RedisNews(redis_server.url)
    listener.start()
    until(lambda: listener.is_live)
    with listener.watch("mine") as mine, listener.watch("other") as other:
        for channel in ("muster.news.0", "muster.pieces.0"):
            redis.Redis(port=redis_server.port).publish(channel, "garbage")
            redis.Redis(port=redis_server.port).publish(channel, '[["mine", 3]]')
        teller.tell(["mine", "somebody's"])
        assert mine.wait(30) == Heard(True, ())
        pieces = [
            Piece("mine", "w", 0, "Ja,"),
            Piece("somebody's", "v", 0, "x"),
            Piece("mine", "w", 3, " ☕"),
        ]
        for piece in pieces:
            teller.tell_piece(piece)
        heard = until(lambda: mine.wait(1).pieces)
        heard += () if len(heard) == 2 else mine.wait(30).pieces
        assert heard == (pieces[0], pieces[2])
        assert other.wait(0.0) == Heard(False, ())
    teller.stop()
    listener.stop()
    assert not listener.is_live


def garble(broker: RedisServer) -> None:
    """What nobody of this version sends: other versions, other shapes, other tasks, other encodings."""
    sender = Celery(broker=broker.url, set_as_current=False)
    bodies: list[object] = [{"v": 999}, {"v": True}, {}, None, "text", [1, 2]]
    for body in bodies:
        sender.send_task("muster.advance", args=[body], queue="muster.steps")
    sender.send_task("muster.advance", args=[], kwargs={"v": 1}, queue="muster.steps")
    sender.send_task("muster.unheard_of", args=[{"v": 1}], queue="muster.steps")
    sender.conf.update(task_serializer="pickle", accept_content=["pickle"])
    sender.send_task("muster.advance", args=[{"v": 1}], queue="muster.steps", serializer="pickle")
    redis.Redis(port=broker.port).lpush("muster.steps", "no message at all")


@needs_redis
def test_a_worker_told_to_end_gives_its_work_back_untried(folder: Path, redis_server: RedisServer) -> None:
    with open_stack(folder, folder / "pool.yaml", redis_server.url) as stack:
        stack.start("worker", "worker", "--device", "cpu")
        stack.start_api()
        job = stack.submit(questions(N))
        stack.job_when(job["id"], lambda job: job["responses"] > 0)
        assert stack.terminate("worker") == 0
        left = stack.get(f"/v1/jobs/{job['id']}").json()
        assert 0 < left["responses"] < left["calls"]
        stack.start("successor", "worker", "--device", "cpu")
        answered_once(stack, job["id"])


WORDS = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    "broker", [pytest.param("redis", marks=needs_redis), pytest.param("rabbitmq", marks=needs_rabbitmq)]
)
def test_a_stream_outlives_the_worker_that_wrote_its_beginning(
    tmp_path: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    """Ten words, four a second, and a kill after the first; RabbitMQ carries no pieces, so all come at
    the end."""
    url = request.getfixturevalue("redis_server").url if broker == "redis" else RABBITMQ_URL
    write_pool(
        tmp_path, rules=[{"match": "count", "reply": f"<think>how?</think> {WORDS}"}], tokens_per_s=4.0
    )
    with open_stack(tmp_path, tmp_path / "pool.yaml", url) as stack:
        stack.start("worker", "worker", "--device", "cpu")
        stack.start_api()
        with stack.stream("count to ten", "alpha") as texts:
            begun = [next(texts)] if broker == "redis" else []
            stack.job_when(only_job(stack), lambda job: job["calls"] > 0)
            stack.kill("worker")
            stack.start("successor", "worker", "--device", "cpu")
            rest = list(texts)
        assert "".join(begun + rest) == WORDS
        if broker == "redis":
            assert begun[0] in ("one", "one two")
            assert len(rest) > 1
        line = json.loads(stack.get(f"/v1/jobs/{only_job(stack)}/answers").text)
        assert line["answer"] == WORDS


def only_job(stack: Stack) -> str:
    jobs = until(lambda: stack.get("/v1/jobs").json()["data"])
    return str(jobs[0]["id"])


@pytest.mark.zoo
@needs_redis
def test_real_models_answer_through_the_stack(tmp_path: Path, redis_server: RedisServer) -> None:
    with open_stack(tmp_path, small_zoo(tmp_path), redis_server.url) as stack:
        stack.start("worker", "worker", "--device", "cpu")
        stack.start_api()
        asked = stack.ask("Write 1984 in Roman numerals.", "roman")
        assert asked.json()["choices"][0]["message"]["content"] == "MCMLXXXIV"
        routed = httpx.post(
            f"{stack.url}/v1/route", json={"question": "Write 15 in Roman numerals."}, timeout=60
        )
        assert {recruit["expert"] for recruit in routed.json()["recruits"]} == {"roman", "arith-a"}
        job = stack.submit(b'{"question": "Write 14 in Roman numerals."}')
        until(lambda: stack.get(f"/v1/jobs/{job['id']}").json()["state"] == "done")


def small_zoo(folder: Path) -> Path:
    """Two members of the zoo."""
    zoo = ROOT / "examples" / "zoo"
    members = [
        member
        for member in yaml.safe_load((zoo / "pool.yaml").read_text())["model_list"]
        if member["model_name"] in ("roman", "arith-a")
    ]
    for member in members:
        member["litellm_params"]["model"] = str(zoo / member["litellm_params"]["model"])
    path = folder / "pool.yaml"
    path.write_text(
        yaml.safe_dump({"model_list": members, "muster": {"data_dir": "data", "embedder": {"model": "hash"}}})
    )
    return path
