"""An adapter that cannot be used takes its own expert away, and neither its base nor the other adapters."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from orchestrator.domain.assignments import JobState
from orchestrator.domain.devices import DeviceReport
from orchestrator.domain.experts import EngineSpec, Pool
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import make_loop, run, run_until, submit
from tests.fakes.work import FakeBackend, TextMajority, make_pool, make_queries

POOL = make_pool("a", experts_per_engine=3)
"""`a/0` over the base alone, `a/1` and `a/2` with an adapter each."""


class Picky(FakeBackend):
    """Refuses adapters as real backends do: by their names, one or all at once."""

    def __init__(
        self, *faulty: str, say: Callable[[Sequence[str]], Sequence[str]] = lambda found: found
    ) -> None:
        super().__init__()
        self._faulty, self._say = faulty, say

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        found = self._say([adapter for adapter in adapters if adapter in self._faulty])
        if found:
            told = "; ".join(f"in '{adapter}' x is empty" for adapter in found)
            raise EngineLoadError(f"engine '{spec.id}': {told}.", param="adapter", is_lasting=True)
        return super().load(spec, adapters)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


def outcomes(store: SqlJobStore) -> dict[str, str | None]:
    """Why each expert failed, by its id; None = it answered."""
    return {r.expert_id: r.error for _, responses in store.responses("job") for r in responses}


@pytest.mark.parametrize("say", [list, lambda found: found[:1]])
def test_experts_without_faulty_adapters_answer(
    store: SqlJobStore, say: Callable[[Sequence[str]], Sequence[str]]
) -> None:
    backend = Picky("lora-1", say=say)
    submit(store, make_queries(1))
    assert run(make_loop(store, POOL, backend), store).state is JobState.DONE
    assert backend.adapters["a"] == ("lora-2",)
    found = outcomes(store)
    assert (found["a/0"], found["a/2"]) == (None, None)
    assert "in 'lora-1' x is empty" in str(found["a/1"])


@pytest.mark.parametrize("say", [list, lambda found: found[:1]])
def test_the_base_answers_if_all_adapters_are_faulty(
    store: SqlJobStore, say: Callable[[Sequence[str]], Sequence[str]]
) -> None:
    submit(store, make_queries(1))
    run(make_loop(store, POOL, Picky("lora-1", "lora-2", say=say)), store)
    assert [expert for expert, why in outcomes(store).items() if why is None] == ["a/0"]


def test_an_engine_all_of_whose_experts_are_faulty_does_not_load(store: SqlJobStore) -> None:
    pool = Pool(experts=POOL.experts[1:])
    backend = Picky("lora-1", "lora-2")
    submit(store, make_queries(1))
    run(make_loop(store, pool, backend, composition=TextMajority(["a/1", "a/2"])), store)
    assert set(outcomes(store)) == {"a/1", "a/2"}
    assert all(outcomes(store).values())
    assert backend.loads == []


def test_calls_for_a_faulty_adapter_are_left_to_another_worker_that_serves_its_engine(
    store: SqlJobStore,
) -> None:
    store.device_stores.devices.report_device(
        DeviceReport(owner="other", device="cpu", serves=("a",), host="elsewhere")
    )
    submit(store, make_queries(1))
    loop = make_loop(store, POOL, Picky("lora-1"))
    run_until(loop, lambda: store.job("job").n_responses == 2)
    for _ in range(50):
        loop.tick()
    assert store.job("job").state is JobState.RUNNING
