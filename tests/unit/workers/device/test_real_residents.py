"""Real models on a device: measured, together, from the page cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.devices import LoadKind
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.store import SqlJobStore, open_database
from tests.fakes.databases import fresh_sqlite
from tests.fakes.loops import EAGER, make_loop, run, submit
from tests.fakes.work import make_queries
from tests.tiny_models import tiny_model
from workers.backends.transformers import TransformersBackend
from workers.engine_host.memory import GIB, WEIGHTS_OVERHEAD, weight_files


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    store = SqlJobStore(open_database(fresh_sqlite(tmp_path)))
    yield store
    store.close()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("models")
    models = {e: tiny_model(folder / e, seed=seed) for seed, e in enumerate("abc")}
    specs = [
        EngineSpec(id=e, backend="transformers", model=str(model), options={"threads": 1})
        for e, model in models.items()
    ]
    return Pool(experts=tuple(Expert(id=f"{spec.id}/0", engine=spec) for spec in specs))


def test_models_that_fit_are_loaded_once_for_all_jobs_and_their_peaks_are_measured(
    store: SqlJobStore, pool: Pool
) -> None:
    backend = TransformersBackend()
    loop = make_loop(store, pool, lambda _name: backend, pace=EAGER._replace(poll_s=0.05))
    for job_id in ("first", "second"):
        submit(store, make_queries(4), job_id=job_id)
        assert run(loop, store, job_id=job_id).completed == 4
    assert store.loads() == 3
    assert {r.engine_id for r in store.devices(30) if r.state == "resident"} == {"a", "b", "c"}
    loop.shut_down()
    stored = {e.id: sum(f.stat().st_size for f in weight_files(e)) / GIB for e in pool.engines.values()}
    for (engine_id, _), rate in store.rates().items():
        assert rate.memory_gib is not None
        assert stored[engine_id] < rate.memory_gib < 2 * WEIGHTS_OVERHEAD * stored[engine_id]


def test_a_model_that_was_just_written_loads_warm_once_its_imports_are_done(
    store: SqlJobStore, pool: Pool
) -> None:
    backend = TransformersBackend()
    backend.load(pool.experts[0].engine, ()).close()
    loop = make_loop(store, pool, lambda _name: backend, pace=EAGER._replace(poll_s=0.05))
    submit(store, make_queries(2))
    run(loop, store)
    loop.shut_down()
    assert {load.kind for load in store.engine_loads(job_id="job")} == {LoadKind.WARM}
