"""The stack end to end: processes are killed, brokers vanish, and every question is answered once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import yaml
from celery import Celery

from orchestrator.ports.dispatch import Excerpt, Piece
from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.harness.processes import ROOT
from tests.harness.servers import RABBITMQ_URL, Redis, open_redis, rabbitmq_is_installed, redis_is_installed
from tests.harness.stack import PATIENCE_S, Stack, chat
from tests.harness.waiting import wait_for
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
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with open_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pool in which one answer takes so long that a batch is not over before it is disturbed."""
    write_pool(tmp_path, rules=[{"match": question(0), "delay_s": 1.5}], delay_s=0.02)
    return tmp_path


@contextmanager
def open_stack(folder: Path, config: Path, broker_url: str) -> Iterator[Stack]:
    env = {"OMP_NUM_THREADS": "1", "MUSTER_SCHEDULER__SWEEP_S": "1"}
    with (
        fresh_postgres() as database_url,
        Stack(config, folder, database_url=database_url, broker_url=broker_url, env=env) as stack,
    ):
        yield stack


def submit(stack: Stack) -> str:
    """N questions for all experts; the job's id."""
    lines = [{"id": f"q{i}", "question": question(i)} for i in range(N)]
    return stack.submit_lines(lines, composition="muster/majority_all")


def answered_once(stack: Stack, job_id: str) -> None:
    """All N, by all experts; every response on the books exactly once."""
    job = stack.job_when(job_id)
    assert job["counts"] == {"total": N, "completed": N, "failed": 0, "waiting": 0}
    assert job["calls"] == job["responses"] == N * len(EXPERTS)
    assert [row["id"] for row in stack.answers(job_id)] == [f"q{i}" for i in range(N)]


@pytest.mark.parametrize(
    "broker", [pytest.param("redis", marks=needs_redis), pytest.param("rabbitmq", marks=needs_rabbitmq)]
)
def test_a_batch_survives_its_worker_and_a_question_passes_it(
    folder: Path, broker: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("redis_server").url if broker == "redis" else RABBITMQ_URL
    with open_stack(folder, folder / "pool.yaml", url) as stack:
        stack.launch("worker", "worker", "--device", "cpu", "--no-steps")
        stack.launch("steps", "worker")
        stack.launch("beat", "beat")
        stack.launch_api()
        job = submit(stack)
        stack.job_when(job, lambda job: job["responses"] > 0)
        stack.kill("worker")
        stack.launch("successor", "worker", "--device", "cpu")

        asked = stack.ask("What is 7 plus 7?", "alpha")
        assert asked.status_code == 200, asked.text
        assert stack.job(job)["state"] == "running"
        answered_once(stack, job)
        assert stack.terminate("successor") == 0
        assert stack.terminate("steps") == 0
        assert stack.terminate("beat") == 0


@needs_redis
def test_a_batch_survives_a_broker_that_comes_back_empty_and_messages_that_make_no_sense(
    folder: Path, tmp_path: Path
) -> None:
    with open_redis(tmp_path) as broker, open_stack(folder, folder / "pool.yaml", broker.url) as stack:
        stack.launch("worker", "worker", "--device", "cpu")
        stack.launch_api()
        garble(broker)
        job = submit(stack)
        stack.job_when(job, lambda job: job["responses"] > 0)
        broker.kill()
        ready = stack.get("/health/ready").json()
        assert ready["degraded"] is True
        late = submit(stack)
        answered_once(stack, job)
        broker.start()
        answered_once(stack, late)
        assert "message rejected" in stack.log("worker")
        assert stack.terminate("worker") == 0


@needs_redis
def test_news_reaches_who_watches_the_job_and_nobody_else(redis_server: Redis) -> None:
    listener, teller = RedisNews(redis_server.url), RedisNews(redis_server.url)
    listener.start()
    wait_for("the listener is live", lambda: listener.is_live, within_s=PATIENCE_S)
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
        heard = wait_for("pieces", lambda: mine.wait(1).pieces, within_s=PATIENCE_S)
        heard += () if len(heard) == 2 else mine.wait(30).pieces
        assert heard == (pieces[0], pieces[2])
        assert other.wait(0.0) == Heard(False, ())
    teller.stop()
    listener.stop()
    assert not listener.is_live


@needs_redis
def test_how_far_calls_have_got_is_told_apart_from_the_pieces_of_answers(redis_server: Redis) -> None:
    listener, teller = RedisNews(redis_server.url), RedisNews(redis_server.url)
    listener.start()
    wait_for("the listener is live", lambda: listener.is_live, within_s=PATIENCE_S)
    told = {Piece("mine", "w", 0, "Ja,"), Excerpt("mine", 7, "ann", "expert", 500, "… ☕")}
    with listener.watch("mine") as mine:
        for one in told:
            teller.tell_piece(one)
        heard: set[object] = set()
        wait_for("both", lambda: heard.update(mine.wait(1).pieces) or heard >= told, within_s=PATIENCE_S)
        assert heard == told
    teller.stop()
    listener.stop()


@needs_redis
def test_a_page_follows_what_an_expert_writes_in_another_process(tmp_path: Path, redis_server: Redis) -> None:
    write_pool(tmp_path, rules=[{"match": "at length", "reply": "word " * 40}], tokens_per_s=20)
    body = chat("Answer at length.", "alpha") | {"stream": True, "muster": {"writing": True}}
    with open_stack(tmp_path, tmp_path / "pool.yaml", redis_server.url) as stack:
        stack.launch("worker", "worker", "--device", "cpu")
        stack.launch_api()
        with stack.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            chunks = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: {")]
        stages = [c["muster"]["stage"] for c in chunks if "stage" in c.get("muster", {})]
        written = [stage["n_chars"] for stage in stages if stage["event"] == "writing"]
        assert len(written) > 1
        assert written == sorted(written)
        assert [stage["event"] for stage in stages][-1] == "finished"
        assert stack.terminate("worker") == 0


def garble(broker: Redis) -> None:
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
def test_a_worker_told_to_end_gives_its_work_back_untried(folder: Path, redis_server: Redis) -> None:
    with open_stack(folder, folder / "pool.yaml", redis_server.url) as stack:
        stack.launch("worker", "worker", "--device", "cpu")
        stack.launch_api()
        job = submit(stack)
        stack.job_when(job, lambda job: job["responses"] > 0)
        assert stack.terminate("worker") == 0
        left = stack.job(job)
        assert 0 < left["responses"] < left["calls"]
        stack.launch("successor", "worker", "--device", "cpu")
        answered_once(stack, job)


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
        stack.launch("worker", "worker", "--device", "cpu")
        stack.launch_api()
        with stack.stream("count to ten", "alpha") as texts:
            begun = [next(texts)] if broker == "redis" else []
            stack.job_when(only_job(stack), lambda job: job["calls"] > 0)
            stack.kill("worker")
            stack.launch("successor", "worker", "--device", "cpu")
            rest = list(texts)
        assert "".join(begun + rest) == WORDS
        if broker == "redis":
            assert begun[0] in ("one", "one two")
            assert len(rest) > 1
        [line] = stack.answers(only_job(stack))
        assert line["answer"] == WORDS


def only_job(stack: Stack) -> str:
    jobs = wait_for("a job", lambda: stack.get("/v1/jobs").json()["data"], within_s=PATIENCE_S)
    return str(jobs[0]["id"])


@pytest.mark.zoo
@needs_redis
def test_real_models_answer_through_the_stack(tmp_path: Path, redis_server: Redis) -> None:
    with open_stack(tmp_path, small_zoo(tmp_path), redis_server.url) as stack:
        stack.launch("worker", "worker", "--device", "cpu")
        stack.launch_api()
        asked = stack.ask("Write 1984 in Roman numerals.", "roman")
        assert asked.json()["choices"][0]["message"]["content"] == "MCMLXXXIV"
        routed = stack.post("/v1/route", {"question": "Write 15 in Roman numerals.", "answer_type": "text"})
        assert {recruit["expert"] for recruit in routed.json()["recruits"]} == {"roman", "arith-a"}
        job = stack.submit_lines(
            [{"question": "Write 14 in Roman numerals."}], composition="muster/majority_all"
        )
        stack.job_when(job, lambda job: job["state"] == "done")


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
