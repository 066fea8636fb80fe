"""What every store of merges promises, whatever the database."""

import pytest

from orchestrator.domain.merges import Lineage, MergedExpert, MergeJob, MergeState
from orchestrator.errors import NotFoundError, StoreError
from orchestrator.store import Database, SqlMergeStore

QUEUED, RUNNING = MergeState.QUEUED, MergeState.RUNNING


@pytest.fixture
def merges(database: Database) -> SqlMergeStore:
    return SqlMergeStore(database)


def expert(name: str, *, method: str = "ties") -> MergedExpert:
    lineage = Lineage(method=method, recipe_hash="h", parents=("a", "b"))
    return MergedExpert(id=name, member={"model_name": name}, lineage=lineage)


def job(job_id: str, *, created_at: float = 1.0) -> MergeJob:
    return MergeJob(id=job_id, recipe="merge_method: ties", out=job_id, created_at=created_at)


def test_experts_are_registered_replaced_and_forgotten(merges: SqlMergeStore) -> None:
    merges.register(expert("x"))
    merges.register(expert("y"))
    merges.register(expert("x", method="slerp"))
    assert {one.id: one.lineage.method for one in merges.merged_experts()} == {"x": "slerp", "y": "ties"}
    assert merges.unregister("x")
    assert not merges.unregister("x")
    assert [one.id for one in merges.merged_experts()] == ["y"]


def test_a_name_that_no_database_takes_is_one_clear_error(merges: SqlMergeStore) -> None:
    with pytest.raises(StoreError):
        merges.register(expert("a\0b"))


def test_jobs_are_taken_once_the_oldest_first(merges: SqlMergeStore) -> None:
    assert merges.add(job("late", created_at=2.0), most_live=2)
    assert merges.add(job("early"), most_live=2)
    assert not merges.add(job("third"), most_live=2)
    taken = [merges.take("me", silent_s=60) for _ in range(3)]
    assert [one and (one.id, one.state) for one in taken] == [("early", RUNNING), ("late", RUNNING), None]
    assert [one.id for one in merges.merge_jobs(limit=5)] == ["late", "early"]


def test_a_job_whose_owner_is_silent_is_interrupted_or_cancelled(merges: SqlMergeStore) -> None:
    for name in ("a", "b"):
        merges.add(job(name), most_live=2)
        merges.take("gone", silent_s=60)
    merges.change("b", lambda one: one.replaced(state=MergeState.CANCELLING), owner="gone")
    assert merges.take("me", silent_s=60) is None
    assert merges.merge_job("a").state is RUNNING
    assert merges.take("me", silent_s=-1) is None
    assert merges.merge_job("a").state is MergeState.INTERRUPTED
    assert merges.merge_job("b").state is MergeState.CANCELLED


def test_a_change_is_stored_whole(merges: SqlMergeStore) -> None:
    merges.add(job("a"), most_live=1)
    changed = merges.change("a", lambda one: one.replaced(done=3, of=29, progress="merging"), owner="me")
    assert merges.merge_job("a") == changed
    with pytest.raises(NotFoundError):
        merges.change("none", lambda one: one, owner=None)
    with pytest.raises(NotFoundError):
        merges.merge_job("none")
