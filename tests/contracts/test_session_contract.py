"""What every job store promises of conversations, whatever the database."""

import pytest
from sqlalchemy import text

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.assignments import Ask, Job
from orchestrator.store import Database, SqlJobStore
from tests.fakes.work import make_call, make_queries

EXPERTS = ("a/0", "b/0")
ENGINE_OF = dict.fromkeys(EXPERTS, "engine")


def turn(
    store: SqlJobStore, job_id: str, expert_id: str | None, *, session: str | None, owner: str = ""
) -> None:
    """A turn that was decided for an expert, or (None) is not decided yet."""
    job = Job(id=job_id, composition="any", session=session, owner=owner)
    store.submit(job, make_queries(1, prefix=job_id))
    for state in store.ready(limit=10, job_id=job_id) if expert_id is not None else ():
        recruit = Recruit(expert_id=expert_id, weight=1, score=1, accuracy=0.5)
        decision = Decision(router="any", recruits=(recruit,))
        ask = Ask(calls=(make_call(expert_id, state.query),), decision=decision)
        store.advance([(state, ask)], ENGINE_OF)


def last(store: SqlJobStore, session: str, *, owner: str = "") -> tuple[str, ...]:
    found = store.last_decision(owner, session)
    return () if found is None else found.expert_ids


def test_the_last_turn_that_was_decided_counts(store: SqlJobStore) -> None:
    turn(store, "first", "a/0", session="s")
    assert last(store, "s") == ("a/0",)
    turn(store, "second", "b/0", session="s")
    turn(store, "third", None, session="s")
    assert last(store, "s") == ("b/0",)


def test_sessions_are_their_owners_and_are_told_apart(store: SqlJobStore) -> None:
    turn(store, "mine", "a/0", session="s", owner="me")
    turn(store, "nobodys", "b/0", session="s")
    turn(store, "other", "b/0", session="t", owner="me")
    turn(store, "none", "b/0", session=None, owner="me")
    assert last(store, "s", owner="me") == ("a/0",)
    assert last(store, "s") == ("b/0",)
    assert last(store, "s", owner="you") == ()


def test_a_deleted_turn_is_forgotten(store: SqlJobStore) -> None:
    turn(store, "first", "a/0", session="s")
    turn(store, "second", "b/0", session="s")
    store.cancel("second")
    store.begin_deleting("second")
    assert last(store, "s") == ("a/0",)


@pytest.mark.parametrize("session", ["", "nul\x00", "lone \ud800", "unknown"])
def test_a_name_that_no_session_has_is_a_first_turn(store: SqlJobStore, session: str) -> None:
    turn(store, "first", "a/0", session=None)
    assert last(store, session) == ()


def test_the_look_at_a_session_is_by_an_index(
    store: SqlJobStore, database: Database, database_kind: str
) -> None:
    """Where the planner says so without statistics; PostgreSQL reads a small table whole."""
    if database_kind != "sqlite":
        pytest.skip("its plan depends on statistics")
    turn(store, "first", "a/0", session="s")
    statement = text(
        "EXPLAIN QUERY PLAN SELECT pk FROM job WHERE owner = 'o' AND session = 's' AND session <> '' "
        "ORDER BY pk DESC LIMIT 1"
    )
    plan = database.fetch(lambda conn: " ".join(str(row) for row in conn.execute(statement)))
    assert "ix_job_session" in plan
