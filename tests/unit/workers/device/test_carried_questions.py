"""A loop that carries questions answers them as one that looks at the books for each step."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.assignments import BATCH, INTERACTIVE, JobState, QueryState, Step
from orchestrator.errors import StoreError, StoreUnavailableError
from orchestrator.store import SqlJobStore, open_database
from tests.fakes import loops
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import run, run_until, submit
from tests.fakes.work import FakeBackend, TextMajority, make_pool, make_queries
from workers.device.loop import DeviceLoop


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


class Watched(SqlJobStore):
    """A store that notes which of its methods put work on and take it off the books."""

    def __init__(self, path: Path) -> None:
        super().__init__(open_database(fresh_sqlite(path)))
        self.done: list[str] = []
        self.fails: list[Exception] = []
        self.before_settling: Callable[[], None] = lambda: None

    def claim(self, *args, **kwargs):
        claim = super().claim(*args, **kwargs)
        self.done += ["claim"] if claim.assignments else []
        return claim

    def complete(self, owner, completions):
        self.done.append("complete")
        return super().complete(owner, completions)

    def begin(self, steps, engine_of, lessee):
        self.done.append("begin")
        return super().begin(steps, engine_of, lessee)

    def settle(self, completions, carried, engine_of, lessee):
        self.before_settling()
        if self.fails:
            raise self.fails.pop(0)
        self.done.append(f"settle {len(carried)}")
        return super().settle(completions, carried, engine_of, lessee)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    store = Watched(tmp_path)
    yield store
    store.close()


def loaded(store: SqlJobStore, *engines: str, composition: TextMajority | None = None) -> DeviceLoop:
    """A loop that has loaded all these."""
    loop = loops.make_loop(
        store,
        make_pool(*engines),
        FakeBackend(),
        composition=composition,
        max_resident=len(engines),
    )
    submit(store, make_queries(1, prefix="warm"), job_id="warm", priority=INTERACTIVE)
    run(loop, store, job_id="warm")
    return loop


def answers(store: SqlJobStore, job_id: str = "job") -> list[str]:
    return [answer.text for _, answer in store.answers(job_id)]


def test_a_question_for_loaded_engines_is_begun_and_settled_and_nothing_else(watched: Watched) -> None:
    loop = loaded(watched, "a", "b")
    watched.done.clear()
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run(loop, watched)
    assert watched.done == ["begin", "settle 1"]
    assert answers(watched) == ["<question q0>"]


def test_stages_follow_each_other_without_a_look_at_the_books(watched: Watched) -> None:
    loop = loaded(watched, "a", "b", composition=TextMajority(["a/0", "b/0"], final="b/0"))
    watched.done.clear()
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run(loop, watched)
    assert watched.done == ["begin", "settle 1", "settle 1"]
    assert watched.job("job").n_responses == 3


def test_a_question_for_an_engine_that_is_not_loaded_is_claimed(watched: Watched) -> None:
    loop = loops.make_loop(watched, make_pool("a"), FakeBackend())
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run(loop, watched)
    assert "claim" in watched.done
    assert answers(watched) == ["<question q0>"]


def test_steps_of_a_batch_are_taken_from_the_books(watched: Watched) -> None:
    loop = loaded(watched, "a")
    watched.done.clear()
    submit(watched, make_queries(3), priority=BATCH)
    run(loop, watched)
    assert watched.done == ["begin", "claim", "complete", "begin"]


def test_what_a_stopped_loop_had_begun_is_done_by_the_next_one(store: SqlJobStore) -> None:
    loop = loaded(store, "a")
    submit(store, make_queries(1), priority=INTERACTIVE)
    loop.wake()
    loop.tick()
    loop.shut_down()
    assert store.held("loop") == frozenset()
    run(loops.make_loop(store, make_pool("a"), FakeBackend(), owner="next"), store)
    assert answers(store) == ["<question q0>"]


def test_responses_that_the_database_did_not_take_are_told_again_with_their_step(watched: Watched) -> None:
    loop = loaded(watched, "a")
    watched.fails = [StoreUnavailableError("away.", remedy="Wait.")]
    submit(watched, make_queries(1), priority=INTERACTIVE)
    with pytest.raises(StoreUnavailableError):
        run(loop, watched)
    run(loop, watched)
    assert (answers(watched), watched.job("job").n_regenerated) == (["<question q0>"], 0)


def test_a_step_that_the_database_refuses_does_not_take_the_responses_with_it(watched: Watched) -> None:
    loop = loaded(watched, "a")
    watched.fails = [StoreError("refused.")]
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run(loop, watched)
    assert (answers(watched), watched.job("job").n_responses) == (["<question q0>"], 1)


class FailsOnce(TextMajority):
    """A composition that meets a fault at its second step."""

    def __init__(self, expert_ids: Sequence[str]) -> None:
        super().__init__(expert_ids)
        self.n_failures = 0

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        if not self.n_failures and any(state.stage for state in states if state.job_id == "job"):
            self.n_failures += 1
            raise OSError("a file that cannot be read now")
        return super().step(states)


def test_a_step_that_fails_with_the_responses_in_hand_is_tried_again_from_the_books(watched: Watched) -> None:
    composition = FailsOnce(["a/0"])
    loop = loaded(watched, "a", composition=composition)
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run(loop, watched)
    assert (composition.n_failures, watched.job("job").n_responses) == (1, 1)
    assert answers(watched) == ["<question q0>"]


def test_a_question_that_is_cancelled_while_it_is_carried_stays_so(watched: Watched) -> None:
    loop = loaded(watched, "a")
    watched.done.clear()
    watched.before_settling = lambda: watched.cancel("job")
    submit(watched, make_queries(1), priority=INTERACTIVE)
    run_until(loop, lambda: loop.is_idle and watched.done == ["begin", "settle 1"])
    progress = watched.job("job")
    assert (progress.state, progress.n_responses) == (JobState.CANCELLED, 0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    k=st.integers(1, 3),
    is_final=st.booleans(),
    room=st.integers(1, 3),
)
def test_carried_or_not_the_answers_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], k: int, is_final: bool, room: int
) -> None:
    """Questions of several queries, by several stages, on one to three resident engines."""
    pool = make_pool("a", "b", "c")
    composition = TextMajority([e.id for e in pool.experts], k=k, final="b/0" if is_final else None)
    found = []
    for carries in (True, False):
        store = SqlJobStore(open_database(fresh_sqlite(tmp_path_factory.mktemp("books"))))
        setup = loops.make_setup(store, pool, FakeBackend(), composition, max_resident=room)
        if not carries:
            setup = setup._replace(stores=setup.stores._replace(questions=None))
        loop = loops.make_device_loop(
            setup, owner="loop", clock=loops.HandClock(step_s=0.001), pace=loops.EAGER
        )
        for ix, n in enumerate(sizes):
            submit(store, make_queries(n, prefix=f"j{ix}-"), job_id=f"j{ix}", priority=INTERACTIVE)
            run(loop, store, job_id=f"j{ix}")
        jobs = [store.job(f"j{ix}") for ix in range(len(sizes))]
        found.append(
            [(p.completed, p.failed, p.n_assignments, p.n_responses, p.n_regenerated) for p in jobs]
            + [answers(store, f"j{ix}") for ix in range(len(sizes))]
        )
        store.close()
    assert found[0] == found[1]
