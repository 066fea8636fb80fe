"""A broker that strangers reach: they neither read with a wrong password, nor are heard."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from orchestrator.ports.dispatch import Piece
from orchestrator.store import open_database, shared_key
from tests.fakes.databases import fresh_postgres, postgres_is_reachable
from tests.harness.processes import ROOT
from tests.harness.servers import Redis, open_redis, redis_is_installed
from tests.harness.stack import PATIENCE_S, Stack
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool
from workers.pieces import Heard
from workers.stack.news import RedisNews

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not redis_is_installed(), reason="no redis-server is installed"),
]
KEY = b"k" * 32
PASSWORD = "broker-pw-5d1e7c"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with open_redis(tmp_path) as opened:
        yield opened


def test_forged_and_replayed_pieces_and_news_are_ignored_and_counted(server: Redis) -> None:
    listener, teller = RedisNews(server.url, key=KEY), RedisNews(server.url, key=KEY)
    stranger = RedisNews(server.url, key=b"x" * 32)
    tap = server.client().pubsub()
    tap.subscribe("muster.news.0", "muster.pieces.0")
    listener.start()
    wait_for("the listener is live", lambda: listener.is_live, within_s=PATIENCE_S)
    with listener.watch("mine") as mine:
        mine.wait(0.0)
        stranger.tell_piece(Piece("mine", "w", 0, "forged"))
        stranger.tell(["mine"])
        for channel in ("muster.news.0", "muster.pieces.0"):
            server.client().publish(channel, json.dumps(["mine"]))
            server.client().publish(channel, json.dumps([["mine", "w", 0, "forged"]]))
        wait_for("six were refused", lambda: listener.seals.n_refused == 6, within_s=PATIENCE_S)
        assert mine.wait(0.0) == Heard(False, ())

        teller.tell_piece(Piece("mine", "w", 0, "Ja,"))
        assert wait_for("the piece", lambda: mine.wait(1).pieces, within_s=PATIENCE_S)
        teller.tell(["mine"])
        assert wait_for("the news", lambda: mine.wait(1).moved, within_s=PATIENCE_S)
        recorded = [
            message
            for message in iter(lambda: tap.get_message(timeout=1.0), None)
            if message["type"] == "message"
        ]
        for message in recorded:  # all that a tap has heard, again, on both channels
            for channel in ("muster.news.0", "muster.pieces.0"):
                server.client().publish(channel, message["data"])
        n = 6 + 2 * len(recorded)
        wait_for("they were refused", lambda: listener.seals.n_refused == n, within_s=PATIENCE_S)
        assert mine.wait(0.0) == Heard(False, ())
    for news in (teller, stranger, listener):
        news.stop()


def test_all_who_open_a_database_share_its_key_and_nobody_else(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / name}" for name in ("a.sqlite3", "a.sqlite3", "b.sqlite3")]
    databases = [open_database(url) for url in urls]
    keys = [shared_key(database, "news") for database in databases]
    assert keys[0] == keys[1] != keys[2]
    assert shared_key(databases[0], "other") != keys[0]
    assert {len(key) for key in keys} == {32}
    for database in databases:
        database.close()


@pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL answers")
def test_the_stack_works_with_the_rights_that_compose_gives_it_at_the_broker(tmp_path: Path) -> None:
    """A job and a streamed answer, with the one user of the access list, and its password from a file."""
    write_pool(tmp_path)
    password = tmp_path / "broker-password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    server = Redis(tmp_path, user="muster", password=PASSWORD, rules=broker_rules(PASSWORD))
    server.start()
    env = {"MUSTER_BROKER_PASSWORD_FILE": str(password), "MUSTER_SCHEDULER__SWEEP_S": "1"}
    url = f"redis://muster@127.0.0.1:{server.port}/0"
    try:
        with (
            fresh_postgres() as database_url,
            Stack(
                tmp_path / "pool.yaml", tmp_path, database_url=database_url, broker_url=url, env=env
            ) as stack,
        ):
            stack.launch("worker", "worker", "--device", "cpu")
            stack.launch_api()
            lines = [{"id": f"q{i}", "question": question(i)} for i in range(20)]
            job = stack.submit_lines(lines, composition="muster/majority_all")
            stack.job_when(job, lambda seen: seen["state"] == "done")
            with stack.stream(question(1), "alpha") as texts:
                assert "".join(texts)
            server.client().publish("muster.pieces.0", "forged")
            told = wait_for("the API tells of it", lambda: strange(stack), within_s=PATIENCE_S)
            assert told == (True, "1 messages of others, or sent again by others, were ignored")
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=server.port).publish("muster.pieces.0", "forged")
            logs = "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))
            assert "NOPERM" not in logs
            assert PASSWORD not in logs
    finally:
        server.close()


def strange(stack: Stack) -> tuple[bool, str] | None:
    """What `/health/ready` says of messages that strangers wrote; None = nothing yet."""
    checks = {check["check"]: check for check in stack.get("/health/ready").json()["checks"]}
    _, sign, told = checks["broker"]["detail"].partition("; ")
    return (checks["broker"]["ok"], told) if sign else None


def broker_rules(password: str) -> str:
    """What the stack's credentials service writes for the broker."""
    rules = (ROOT / "docker" / "broker-rules").read_text()
    return rules.replace("@DIGEST@", hashlib.sha256(password.encode()).hexdigest())
