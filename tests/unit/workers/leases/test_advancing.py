"""Steps that fail are tried again, alone; jobs of other configurations are left to those who know them."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Job, QueryState, Step
from orchestrator.domain.queries import Query
from orchestrator.domain.terms import Terms
from orchestrator.errors import EmbedderError, UnknownNameError
from orchestrator.ports.composing import Composition
from orchestrator.store import SqlJobStore
from tests.fakes.work import HandClock, TextMajority, make_queries
from workers.leases.advancing import Advancer
from workers.leases.resting import Patience

PATIENCE = Patience(max_attempts=3, first_pause_s=0.0, down_s=100, down_interactive_s=10)


class Moody:
    """Fails on queries for which `fails` gives an error; counts how many came together at each call."""

    name = "moody"

    def __init__(self, fails: Callable[[Sequence[QueryState]], Exception | None]) -> None:
        self._fails = fails
        self._inner = TextMajority(["a/0"])
        self.sizes: list[int] = []

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        self.sizes.append(len(states))
        error = self._fails(states)
        if error is not None:
            raise error
        return self._inner.step(states)


def make_advancer(
    store: SqlJobStore,
    build: Callable[[Job], Composition],
    clock: HandClock,
    *,
    config_hash: str = "",
    engine_of: dict[str, str] | None = None,
) -> Advancer:
    return Advancer(
        jobs=store,
        steps=store,
        compositions=build,
        engine_of=engine_of or {"a/0": "a"},
        exclusive_s=0.0,
        config_hash=config_hash,
        patience=PATIENCE,
        clock=clock,
    )


def submit(store: SqlJobStore, queries: list[Query], **fields: object) -> None:
    store.submit(Job.model_validate({"id": "job", "composition": "any", **fields}), queries)


def rounds(advancer: Advancer, clock: HandClock, n: int) -> None:
    for _ in range(n):
        advancer.chunk()
        clock.now += 1


def codes(store: SqlJobStore) -> Counter[str | None]:
    return Counter(answer.error_code for _, answer in store.answers("job"))


def test_a_query_whose_step_fails_is_tried_again_alone_and_fails_alone(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, [*make_queries(7), Query(id="bad", question="bad"), *make_queries(8, prefix="r")])
    moody = Moody(lambda states: ValueError("no") if any("bad" in s.query.question for s in states) else None)
    advancer = make_advancer(store, lambda _job: moody, clock)
    advancer.chunk()
    assert store.job("job").n_assignments == 15, "its neighbours go on at once"
    assert codes(store) == {}
    rounds(advancer, clock, 2)
    assert codes(store) == {"internal_error": 1}
    assert moody.sizes[-2:] == [1, 1]


def test_too_little_memory_for_a_chunk_is_met_by_smaller_ones(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(64))
    moody = Moody(lambda states: MemoryError() if len(states) > 5 else None)
    make_advancer(store, lambda _job: moody, clock).chunk()
    assert store.job("job").n_assignments == 64


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "I/O error"), EmbedderError("no such file")])
@pytest.mark.parametrize("at_build", [True, False])
def test_what_lies_around_is_waited_for(
    store: SqlJobStore, clock: HandClock, error: Exception, at_build: bool
) -> None:
    """An embedder that does not load for a minute: all is answered after."""
    submit(store, make_queries(30))

    def fails(_states: object = None) -> Exception | None:
        return error if clock.now < 1060 else None

    def build(_job: Job) -> Composition:
        if at_build and (failure := fails()) is not None:
            raise failure
        return Moody(fails)

    advancer = make_advancer(store, build, clock)
    rounds(advancer, clock, 100)
    assert codes(store) == {}
    assert store.job("job").n_assignments == 30


@pytest.mark.parametrize(("priority", "limit_s"), [(0, 100), (INTERACTIVE, 10)])
def test_what_lies_around_is_waited_for_no_longer_than_an_engine(
    store: SqlJobStore, clock: HandClock, priority: int, limit_s: float
) -> None:
    submit(store, make_queries(2), priority=priority)

    def build(_job: Job) -> Composition:
        raise MemoryError

    advancer = make_advancer(store, build, clock)
    rounds(advancer, clock, int(limit_s))
    assert codes(store) == {}
    rounds(advancer, clock, 3)
    assert codes(store) == {"internal_error": 2}


def test_a_query_too_large_for_the_memory_fails_alone_beside_others(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, [*make_queries(5), Query(id="bad", question="huge")])
    moody = Moody(lambda states: MemoryError() if any("huge" in s.query.question for s in states) else None)
    advancer = make_advancer(store, lambda _job: moody, clock)
    rounds(advancer, clock, 2)
    submit(store, make_queries(3, prefix="n"), id="next")
    rounds(advancer, clock, 4)
    assert codes(store) == {"internal_error": 1}


def test_while_nothing_succeeds_few_queries_are_tried(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(500))
    moody = Moody(lambda _states: OSError("the model cannot be read"))
    make_advancer(store, lambda _job: moody, clock).chunk()
    assert moody.sizes.count(1) == 3
    assert len(moody.sizes) < 20


def unknown(job: Job) -> Composition:
    if job.id == "job":
        raise UnknownNameError("composition", job.composition, ["vote"])
    return TextMajority(["a/0"])


def test_a_composition_that_is_not_known_here_is_left_to_others(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(600), config_hash="new")
    submit(store, make_queries(3), id="known", config_hash="old")
    stale = make_advancer(store, unknown, clock, config_hash="old")
    rounds(stale, clock, 5)
    assert codes(store) == {}
    assert store.job("known").n_assignments == 3, "it does not stand in the way"
    fresh = make_advancer(store, lambda _job: TextMajority(["a/0"]), clock, config_hash="new")
    rounds(fresh, clock, 3)
    assert store.job("job").n_assignments == 600


def test_a_composition_that_nobody_knows_fails_in_the_end(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(2), config_hash="new")
    stale = make_advancer(store, unknown, clock, config_hash="old")
    rounds(stale, clock, 110)
    assert codes(store) == {"unknown_name": 2}


def test_a_composition_that_cannot_be_built_from_its_own_configuration_fails_at_once(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(2), config_hash="mine")
    make_advancer(store, unknown, clock, config_hash="mine").chunk()
    assert codes(store) == {"unknown_name": 2}


def test_experts_that_are_not_known_here_are_asked_by_others(store: SqlJobStore, clock: HandClock) -> None:
    submit(store, make_queries(2), config_hash="new")
    stale = make_advancer(store, lambda _job: TextMajority(["b/0"]), clock, config_hash="old")
    rounds(stale, clock, 5)
    assert codes(store) == {}
    fresh = make_advancer(
        store, lambda _job: TextMajority(["b/0"]), clock, config_hash="new", engine_of={"b/0": "b"}
    )
    fresh.chunk()
    assert store.job("job").n_assignments == 2


def lost(_: Sequence[QueryState]) -> Exception:
    return KeyError("an expert of another pool")


def test_a_step_that_fails_in_another_configuration_is_left_to_those_who_have_it(
    store: SqlJobStore, clock: HandClock
) -> None:
    """Two processes over one database, each with a pool of its own."""
    submit(store, make_queries(2), config_hash="theirs")
    rounds(make_advancer(store, lambda _job: Moody(lost), clock, config_hash="ours"), clock, 12)
    assert codes(store) == {}
    theirs = make_advancer(store, lambda _job: TextMajority(["a/0"]), clock, config_hash="theirs")
    theirs.chunk()
    assert store.job("job").n_assignments == 2


def test_a_step_that_fails_everywhere_ends_even_where_nobody_has_its_configuration(
    store: SqlJobStore, clock: HandClock
) -> None:
    submit(store, make_queries(2), config_hash="theirs")
    rounds(make_advancer(store, lambda _job: Moody(lost), clock, config_hash="ours"), clock, 130)
    assert codes(store) == {"internal_error": 2}


def test_queries_are_stepped_by_the_composition_that_their_terms_name(
    store: SqlJobStore, clock: HandClock
) -> None:
    built: list[tuple[str, int | None]] = []

    def build(job: Job) -> Composition:
        built.append((job.composition, job.k))
        return Moody(lambda _: None)

    terms = [None, Terms(composition="other"), Terms(seed=3), Terms(composition="other", k=2), Terms(k=2)]
    queries = [query.model_copy(update={"terms": t}) for query, t in zip(make_queries(5), terms, strict=True)]
    submit(store, queries)
    make_advancer(store, build, clock).chunk()
    assert built == [("any", None), ("other", None), ("other", 2), ("any", 2)]
