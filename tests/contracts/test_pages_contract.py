"""Lists are read page by page: every item once, in order, whatever is added meanwhile; pauses are kept."""

import pytest
from sqlalchemy import text

from orchestrator.domain.assignments import Ask, Job, Turns
from orchestrator.domain.merges import MergeJob
from orchestrator.domain.pages import PageRequest
from orchestrator.errors import InputError, NotFoundError
from orchestrator.store import Database, SqlJobStore, SqlMergeStore, SqlPages, SqlPauseStore
from tests.fakes.work import make_call, make_queries


def walked(pages: SqlPages, request: PageRequest, *, owner: str | None = None) -> list[list[str]]:
    """Ids of all pages."""
    found: list[list[str]] = []
    while True:
        page = pages.job_page(request, owner=owner)
        found.append([progress.job.id for progress in page.items])
        if not page.has_more:
            return found
        request = request._replace(after=found[-1][-1])


def submit(store: SqlJobStore, *job_ids: str, owner: str = "") -> None:
    for job_id in job_ids:
        store.submit(Job(id=job_id, composition="auto", owner=owner), make_queries(1))


def test_jobs_are_read_in_both_orders(store: SqlJobStore, database: Database) -> None:
    submit(store, "a", "b", "c", "d", "e")
    store.cancel("d")
    pages = SqlPages(database)
    assert walked(pages, PageRequest(limit=2)) == [["e", "d"], ["c", "b"], ["a"]]
    assert walked(pages, PageRequest(limit=3, is_newest_first=False)) == [["a", "b", "c"], ["d", "e"]]
    assert walked(pages, PageRequest(limit=5)) == [["e", "d", "c", "b", "a"]]


def test_what_is_added_meanwhile_moves_no_page(store: SqlJobStore, database: Database) -> None:
    submit(store, "a", "b", "c")
    pages = SqlPages(database)
    first = pages.job_page(PageRequest(limit=1))
    submit(store, "d")
    rest = pages.job_page(PageRequest(limit=5, after=first.items[-1].job.id))
    assert [progress.job.id for progress in rest.items] == ["b", "a"]


def test_a_list_holds_the_jobs_of_one_owner(store: SqlJobStore, database: Database) -> None:
    submit(store, "mine", owner="k1")
    submit(store, "theirs", owner="k2")
    submit(store, "nobodys")
    pages = SqlPages(database)
    assert walked(pages, PageRequest(), owner="k1") == [["mine"]]
    assert walked(pages, PageRequest(), owner="") == [["nobodys"]]
    with pytest.raises(InputError):
        pages.job_page(PageRequest(after="theirs"), owner="k1")


def test_jobs_that_are_deleted_are_in_no_list(store: SqlJobStore, database: Database) -> None:
    submit(store, "a", "b")
    store.cancel("a")
    store.begin_deleting("a")
    assert walked(SqlPages(database), PageRequest()) == [["b"]]


def test_a_job_has_left_for_its_owner_and_who_sees_all_and_for_nobody_else(
    store: SqlJobStore, database: Database
) -> None:
    submit(store, "a", "b", owner="k1")
    store.cancel("a")
    store.begin_deleting("a")
    pages = SqlPages(database)
    assert [pages.has_left("a", owner=owner) for owner in (None, "k1", "k2", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert not any(pages.has_left(name) for name in ("b", "never", "", "a/b\0"))


@pytest.mark.parametrize("is_newest_first", [True, False])
@pytest.mark.parametrize("n_deleted", [1, 2, 3])
def test_who_deletes_each_page_before_the_next_reads_every_job(
    store: SqlJobStore, database: Database, n_deleted: int, is_newest_first: bool
) -> None:
    names = [f"j{n}" for n in range(7)]
    submit(store, *names, owner="k1")
    pages, read = SqlPages(database), []
    request = PageRequest(limit=3, is_newest_first=is_newest_first)
    while True:
        page = pages.job_page(request, owner="k1")
        found = [progress.job.id for progress in page.items]
        read += found
        for job_id in found[-n_deleted:]:  # the last one is where it goes on
            store.cancel(job_id)
            number = store.begin_deleting(job_id)
            while store.purge(number, limit=9):
                pass
        if not page.has_more:
            break
        request = request._replace(after=read[-1])
    assert read == (names[::-1] if is_newest_first else names)


def test_a_deleted_job_is_a_beginning_for_its_owner_and_who_sees_all_until_its_id_is_anothers(
    store: SqlJobStore, database: Database
) -> None:
    submit(store, "a", "b", owner="k1")
    store.cancel("b")
    store.begin_deleting("b")
    pages = SqlPages(database)
    for owner in ("k1", None):
        assert [p.job.id for p in pages.job_page(PageRequest(after="b"), owner=owner).items] == ["a"]
    for stranger in ("k2", ""):
        with pytest.raises(InputError):
            pages.job_page(PageRequest(after="b"), owner=stranger)
    submit(store, "c", "b", owner="k1")
    assert [p.job.id for p in pages.job_page(PageRequest(after="b"), owner="k1").items] == ["c", "a"]


def test_places_of_what_was_deleted_are_forgotten_after_a_day(store: SqlJobStore, database: Database) -> None:
    submit(store, "a", "b", "c")
    for job_id in ("a", "b"):
        store.cancel(job_id)
        store.begin_deleting(job_id)
        database.transact(lambda conn: conn.execute(text("UPDATE departed SET left_at = left_at - 90000")))
    with pytest.raises(InputError):
        SqlPages(database).job_page(PageRequest(after="a"))


def test_jobs_that_wait_for_the_same_engines_take_turns(store: SqlJobStore, database: Database) -> None:
    engine_of = {"a/0": "a", "b/0": "b"}
    for name, n, experts in (("first", 2, ("a/0", "b/0")), ("mine", 1, ("a/0",)), ("last", 3, ("a/0",))):
        store.submit(Job(id=name, composition="auto"), make_queries(n))
        asked = [
            (state, Ask(calls=tuple(make_call(e, state.query) for e in experts)))
            for state in store.ready(limit=10)
        ]
        store.advance(asked, engine_of)
    pages = SqlPages(database)
    assert pages.turns("mine") == Turns(n_jobs=2, n_before=1, n_calls=5)
    assert pages.turns("first") == Turns(n_jobs=2, n_before=0, n_calls=4)
    store.cancel("first")
    assert pages.turns("mine") == Turns(n_jobs=1, n_before=0, n_calls=3)
    store.claim("a", owner="me", limit=10, lease_s=60)
    assert pages.turns("mine") == Turns()
    with pytest.raises(NotFoundError):
        pages.turns("nothing")


@pytest.mark.parametrize("after", ["nothing", "", "\x00", "\ud800", "a'--"])
def test_an_unknown_beginning_is_refused(store: SqlJobStore, database: Database, after: str) -> None:
    submit(store, "a")
    for read in (SqlPages(database).job_page, SqlPages(database).merge_page):
        with pytest.raises(InputError) as refused:
            read(PageRequest(after=after))
        assert refused.value.param == "after"


def test_merges_of_one_moment_are_read_once_each(database: Database) -> None:
    merges, pages = SqlMergeStore(database), SqlPages(database)
    for name in ("x", "y", "z"):
        merges.add(MergeJob(id=name, recipe="r", out=name, created_at=5.0), most_live=9)
    first = pages.merge_page(PageRequest(limit=2))
    second = pages.merge_page(PageRequest(limit=2, after=first.items[-1].id))
    assert [job.id for job in (*first.items, *second.items)] == ["z", "y", "x"]
    assert (first.has_more, second.has_more) == (True, False)


def test_pauses_are_kept_until_they_end(database: Database) -> None:
    SqlPauseStore(database).pause("org/beta", reason="slow")
    store = SqlPauseStore(database)
    [first] = store.pauses()
    store.pause("org/beta", reason="slower")
    [pause] = store.pauses()
    assert (pause.expert_id, pause.reason, pause.since) == ("org/beta", "slower", first.since)
    assert store.resume("org/beta")
    assert not store.resume("org/beta")
    assert not store.resume("\x00")
    assert store.pauses() == []
