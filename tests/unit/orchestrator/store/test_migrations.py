"""Databases of earlier versions open with their data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from orchestrator.domain.assignments import JobState
from orchestrator.domain.cards import Tally
from orchestrator.domain.feedback import Feedback, FeedbackCount
from orchestrator.store import SqlFeedbackStore, SqlJobStore, migrations, open_database
from tests.fakes.databases import fresh_postgres, postgres_is_reachable

NEEDS_POSTGRES = [
    pytest.mark.postgres,
    pytest.mark.skipif(not postgres_is_reachable(), reason="no PostgreSQL server"),
]

V0001_DATA = [
    """INSERT INTO job VALUES (1, 'old', '{"id": "old", "composition": "any"}', 'hash', 'running',
    2, 1, 0, 1, 1, 0, 100.0, NULL)""",
    """INSERT INTO query VALUES (1, 1, 0, 'q0', '{"id": "q0", "question": "why?"}', 0, 1, 'completed',
    0, '{"router": "all", "recruits": []}')""",
    """INSERT INTO query VALUES (2, 1, 1, 'q1', '{"id": "q1", "question": "how?"}', 0, 1, 'open', 1, NULL)""",
    """INSERT INTO prompt VALUES (1, 0, 0, '[{"role": "user", "content": "why?"}]')""",
    """INSERT INTO prompt VALUES (2, 0, 0, '[{"role": "user", "content": "how?"}]')""",
    """INSERT INTO assignment VALUES (7, 1, 1, 0, 'a/0', 0, 'a', 'expert', 0, '{}', 9, 0, 'done', 1,
    NULL, NULL, 100.0)""",
    """INSERT INTO assignment VALUES (8, 2, 1, 0, 'a/0', 0, 'a', 'expert', 0, '{"max_tokens": 8}', 9, 0,
    'waiting', 0, NULL, NULL, 100.0)""",
    """INSERT INTO response VALUES (7, '{"expert_id": "a/0", "role": "expert", "stage": 0, "text": "so"}')""",
    """INSERT INTO answer VALUES (1, TRUE, '{"text": "because"}')""",
    """INSERT INTO job_engine VALUES (1, 'a')""",
    """INSERT INTO engine_load VALUES (1, 'a', 'cpu', 'me', 2.5, 101.0)""",
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=NEEDS_POSTGRES)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/old.db"
        return
    with fresh_postgres(migrated=False) as url:
        yield url


def make_old(url: str, revision: str, statements: list[str]) -> None:
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
        for statement in statements:
            conn.execute(text(statement.replace(":", r"\:")))
    engine.dispose()


def test_a_job_of_the_first_version_is_read_and_finished(url: str) -> None:
    make_old(url, "0001", V0001_DATA)
    store = SqlJobStore(open_database(url))
    progress = store.job("old")
    assert (progress.state, progress.completed, progress.n_loads) == (JobState.RUNNING, 1, 1)
    assert (progress.created_at, progress.deadline_at) == (100.0, None)
    ((_, answer),) = store.answers("old")
    assert answer.text == "because"
    assert answer.decision is not None
    assert answer.decision.router == "all"
    assert [[r.text for r in responses] for _, responses in store.responses("old")] == [["so"], []]
    (assignment,) = store.claim("a", owner="me", limit=9, lease_s=60).assignments
    assert (assignment.call.messages[0].content, assignment.call.sampling.max_tokens) == ("how?", 8)
    (load,) = store.engine_loads(job_id="old")
    assert (load.started_at, load.left_at) == (98.5, None)
    store.close()


def test_a_database_of_the_third_version_takes_feedback(url: str) -> None:
    make_old(url, "0003", ["INSERT INTO card VALUES (1, 'a', 'p', '{}')"])
    database = open_database(url)
    store = SqlFeedbackStore(database)
    judged = Feedback(job_id="job", query_id="q", score=1, day=3)
    count = FeedbackCount("fp", "algebra", 3, Tally(n_right=1))
    assert store.save_feedback(judged, [count]) == judged
    assert store.feedback_counts(["fp"], since_day=0) == [count]
    with database.read() as conn:
        assert conn.execute(text("SELECT expert_id FROM card")).scalar() == "a"
    database.close()


def test_every_revision_can_be_undone_and_applied_again(url: str) -> None:
    make_old(url, "head", [])
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "base")
    engine.dispose()
    store = SqlJobStore(open_database(url))
    assert store.jobs() == []
    store.close()
