"""Fusions under vLLM's newer model runner, on the CPU: its kernels interpreted, slow, but the real one."""

from collections.abc import Iterator

import pytest

from tests.vllm.engines import MODELS, zoo_questions
from tests.vllm.fusions import LARGE, Fusion, answers, half_adapter, require_dense
from tests.vllm.test_vllm_fusion import LONG, LORA, rows
from tests.vllm.v2_on_cpu import BACKEND, ENVIRONMENT
from workers.backends.vllm.backend import CHILD_ENV, find_python
from workers.engine_host.backend import HostedBackend


@pytest.fixture(scope="module")
def newer() -> Iterator[HostedBackend]:
    environment = {**CHILD_ENV, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    backend = HostedBackend(BACKEND, python=find_python, env=environment, n_spares=0)
    yield backend
    backend.close()


def test_texts_and_traces_are_those_of_a_dense_recomputation_also_after_a_preemption(
    newer: HostedBackend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    half = LARGE._replace(adapter=half_adapter(MODELS / "gen-lora", tmp_path_factory.mktemp("a") / "half"))
    fusion = rows("dynamic", half)
    engine = newer.load(fusion.spec(kv_cache_gib=0.0135), ())
    questions = zoo_questions(4)
    require_dense(fusion, questions, answers(engine, questions))
    found = answers(engine, LONG, max_tokens=9)
    assert engine.stats().n_restarts > 0
    engine.close()
    require_dense(fusion, LONG, found, max_tokens=9)


def test_small_model_beside_it_works_alike(newer: HostedBackend) -> None:
    fusion = Fusion("average", {"models": [LARGE, LARGE._replace(model=MODELS / "reverse"), LORA]})
    engine = newer.load(fusion.spec(), ())
    questions = zoo_questions(3)
    found = answers(engine, questions)
    engine.close()
    require_dense(fusion, questions, found)
