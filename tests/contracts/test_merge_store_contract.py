"""What every store of merges promises, whatever the database."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.domain.merges import Lineage, MergedExpert, MergeJob, MergeState
from orchestrator.errors import NotFoundError, StaleLeaseError, StoreError
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


def test_whoever_takes_at_once_takes_different_jobs(merges: SqlMergeStore) -> None:
    for round_ in range(5):
        for n in range(3):
            assert merges.add(job(f"{round_}-{n}"), most_live=99)
        with ThreadPoolExecutor(8) as threads:
            taken = list(threads.map(lambda n: merges.take(f"w{n}", silent_s=60), range(8)))
        names = [one.id for one in taken if one is not None]
        while (one := merges.take("last", silent_s=60)) is not None:  # who met a lock took none
            names.append(one.id)
        assert sorted(names) == [f"{round_}-{n}" for n in range(3)]


def test_as_many_as_may_live_are_added_however_many_ask_at_once(merges: SqlMergeStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda n: merges.add(job(f"j{n}"), most_live=3), range(16)))
    assert sum(added) == 3


def test_who_lost_a_job_changes_it_no_more(merges: SqlMergeStore) -> None:
    merges.add(job("a"), most_live=1)
    merges.take("slow", silent_s=60)
    assert merges.change("a", lambda one: one.replaced(done=1), owner="slow", held_by="slow").done == 1
    assert merges.take("other", silent_s=-1) is None
    with pytest.raises(StaleLeaseError):
        merges.change("a", lambda one: one.replaced(done=2), owner="slow", held_by="slow")
    merges.change("a", lambda one: one.replaced(state=QUEUED), owner=None)
    assert merges.take("other", silent_s=60) is not None
    with pytest.raises(StaleLeaseError):
        merges.change("a", lambda one: one.replaced(done=3), owner=None, held_by="slow")
    assert merges.merge_job("a").done == 1
