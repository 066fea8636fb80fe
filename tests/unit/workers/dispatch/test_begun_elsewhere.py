"""Steps that another thread of a device's process takes: calls of questions begin at once where their engine
is loaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.assignments import BATCH, INTERACTIVE, Job
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import ended, make_setup
from tests.fakes.work import FakeBackend, TextMajority, always, make_pool, make_queries
from workers.device.carried import Handover
from workers.device.pace import Pace
from workers.dispatch.local import LocalDispatcher
from workers.leases.advancing import Advancer

PACE = Pace(look_s=0.01, poll_s=0.001, commit_s=0.01)
ENGINE_OF = {"a/0": "a"}


class Claims(SqlJobStore):
    """A store that counts claims which found something."""

    n_claims = 0

    def claim(self, *args, **kwargs):
        found = super().claim(*args, **kwargs)
        self.n_claims += bool(found.assignments)
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Claims]:
    store = Claims(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


@pytest.fixture
def driver(store: Claims) -> Iterator[LocalDispatcher]:
    """Serves a device, and leaves the steps to others."""
    setup = make_setup(store, make_pool("a"), FakeBackend(), steps=False)
    driver = LocalDispatcher(setup, pace=PACE)
    driver.start()
    yield driver
    driver.stop()


def stepper(store: Claims, driver: LocalDispatcher) -> Advancer:
    return Advancer(
        jobs=store,
        steps=store,
        compositions=always(TextMajority(["a/0"])),
        engine_of=ENGINE_OF,
        begin=lambda steps: driver.begin(steps, ENGINE_OF),
    )


def submit(store: Claims, job_id: str, *, priority: int = INTERACTIVE) -> None:
    store.submit(Job(id=job_id, composition="any", priority=priority), make_queries(1))


def answer(store: Claims, driver: LocalDispatcher, job_id: str) -> int:
    """Takes a job through; how many of its queries the first step left to be claimed."""
    steps = stepper(store, driver)
    n_asked = steps.chunk().n_asked
    driver.notify()
    while not store.ready(limit=1):
        assert not ended(store, driver, job_id, timeout_s=0.01)
    assert steps.chunk().n_steps == 1
    assert ended(store, driver, job_id, timeout_s=10)
    return n_asked


def test_a_question_for_an_engine_that_is_not_loaded_is_claimed(
    store: Claims, driver: LocalDispatcher
) -> None:
    submit(store, "job")
    assert answer(store, driver, "job") == 1
    assert store.n_claims == 1


def test_a_question_for_a_loaded_engine_is_begun_and_never_claimed(
    store: Claims, driver: LocalDispatcher
) -> None:
    submit(store, "warm")
    answer(store, driver, "warm")
    submit(store, "job")
    assert answer(store, driver, "job") == 0
    assert store.n_claims == 1
    assert [found.text for _, found in store.answers("job")] == ["<question q0>"]


def test_lines_of_a_batch_are_claimed(store: Claims, driver: LocalDispatcher) -> None:
    submit(store, "warm")
    answer(store, driver, "warm")
    submit(store, "job", priority=BATCH)
    assert answer(store, driver, "job") == 1
    assert store.n_claims == 2


def test_a_question_that_nobody_began_is_looked_at_since_its_key_may_have_no_room(
    store: Claims, driver: LocalDispatcher
) -> None:
    submit(store, "cold")
    assert stepper(store, driver).chunk().job_ids == {"cold"}


def test_nothing_has_ended_with_the_first_step_of_lines_or_of_a_question_that_was_begun(
    store: Claims, driver: LocalDispatcher
) -> None:
    submit(store, "warm")
    answer(store, driver, "warm")
    submit(store, "lines", priority=BATCH)
    assert stepper(store, driver).chunk().job_ids == set()
    submit(store, "job")
    assert stepper(store, driver).chunk().job_ids == set()


def test_for_a_device_that_has_stopped_nothing_is_begun(store: Claims, driver: LocalDispatcher) -> None:
    submit(store, "warm")
    answer(store, driver, "warm")
    driver.stop()
    submit(store, "job")
    assert stepper(store, driver).chunk().n_asked == 1
    assert store.lease_owners() == []
    assert len(store.claim("a", owner="other", limit=1, lease_s=60).assignments) == 1


def test_what_was_handed_over_is_taken_once_and_nothing_after_the_end() -> None:
    handover = Handover()
    assert handover.lessee is None
    handover.hand([])
    assert handover.take() == []
    handover.close()
    assert handover.take() == []
