"""Event streams of jobs: one reader for all that follow."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping

import pytest

from api.schemas.jobs import JobCounts, JobView
from api.views.events import PING
from api.views.jobs_feed import JobFeed
from orchestrator.errors import StoreUnavailableError


def view(job_id: str, completed: int, *, total: int = 3) -> JobView:
    counts = JobCounts(total=total, completed=completed, failed=0, waiting=total - completed)
    state = "done" if completed == total else "running"
    return JobView.model_validate(
        {
            "id": job_id,
            "kind": "batch",
            "state": state,
            "model": "auto",
            "label": "",
            "priority": "batch",
            "counts": counts,
            "calls": 0,
            "retries": 0,
            "responses": 0,
            "loads": 0,
            "created_at": 1,
            "finished_at": None,
            "deadline_at": None,
        }
    )


class Books:
    """Every look at a job finds one query more answered."""

    def __init__(self, *job_ids: str) -> None:
        self.completed = dict.fromkeys(job_ids, 0)
        self.looks: list[set[str]] = []
        self.fails: list[Exception] = []
        self.is_still = False

    async def look(self, job_ids: Collection[str]) -> Mapping[str, JobView]:
        self.looks.append(set(job_ids))
        if self.fails:
            raise self.fails.pop()
        for job_id in job_ids if not self.is_still else ():
            if job_id in self.completed:
                self.completed[job_id] = min(3, self.completed[job_id] + 1)
        return {i: view(i, self.completed[i]) for i in job_ids if i in self.completed}


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 60))  # type: ignore[arg-type]


async def told(feed: JobFeed, job_id: str) -> list[tuple[str, int]]:
    """Names of the events, and the completed queries they tell of."""
    found = []
    async for text in feed.events(view(job_id, 0)):
        name, _, data = text.removeprefix("event: ").partition("\ndata: ")
        found.append((name, json.loads(data)["counts"]["completed"]))
    return found


ALL = [("progress", 0), ("progress", 1), ("progress", 2), ("progress", 3), ("done", 3)]


def test_a_thousand_followers_of_a_job_share_one_reader() -> None:
    async def scene() -> None:
        books = Books("a", "b")
        feed = JobFeed(books.look, look_s=0.01)
        streams = await asyncio.gather(*(told(feed, "ab"[n % 2]) for n in range(1000)))
        assert all(stream == ALL for stream in streams)
        assert len(books.looks) == 3
        assert feed.n_followed == 0

    play(scene)


def test_who_leaves_is_followed_no_longer() -> None:
    async def scene() -> None:
        books = Books("a")
        feed = JobFeed(books.look, look_s=0.01)
        stays, leaves = feed.events(view("a", 0)), feed.events(view("a", 0))
        for stream in (stays, leaves):
            assert "progress" in await anext(stream)
            await anext(stream)
        await leaves.aclose()  # type: ignore[attr-defined]
        assert feed.n_followed == 1
        await stays.aclose()  # type: ignore[attr-defined]
        assert feed.n_followed == 0

    play(scene)


def test_the_stream_goes_on_after_the_database_was_away() -> None:
    async def scene() -> None:
        books = Books("a")
        books.fails = [StoreUnavailableError("away"), StoreUnavailableError("away")]
        assert await told(JobFeed(books.look, look_s=0.01), "a") == ALL

    play(scene)


def test_a_stream_in_which_nothing_happens_is_kept_alive() -> None:
    async def scene() -> None:
        books = Books("a")
        books.is_still = True
        stream = JobFeed(books.look, look_s=0.01, ping_s=0.02).events(view("a", 0))
        assert [await anext(stream) for _ in range(3)][1:] == [PING, PING]

    play(scene)


def test_a_stream_of_a_deleted_job_ends() -> None:
    async def scene() -> None:
        assert await told(JobFeed(Books().look, look_s=0.01), "a") == [("progress", 0)]

    play(scene)


def test_a_job_that_has_ended_is_told_at_once_and_not_looked_at() -> None:
    async def scene() -> None:
        books = Books("a")
        feed = JobFeed(books.look)
        events = [text.partition("\n")[0] async for text in feed.events(view("a", 3))]
        assert events == ["event: progress", "event: done"]
        assert books.looks == []

    play(scene)


def test_a_look_that_fails_is_not_the_last() -> None:
    async def scene() -> None:
        books = Books("a")
        books.fails = [RuntimeError("a bug")]
        assert await told(JobFeed(books.look, look_s=0.01), "a") == ALL

    play(scene)


@pytest.mark.parametrize("n", [1, 2])
def test_each_loop_has_its_own_reader(n: int) -> None:
    """A test client has a loop for each request."""
    books = Books("a")
    feed = JobFeed(books.look, look_s=0.01)
    for _ in range(n):
        books.completed["a"] = 0
        assert asyncio.run(told(feed, "a")) == ALL
