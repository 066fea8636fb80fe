"""A decoding engine counts its memory."""

from pathlib import Path

import pytest
import torch

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import EngineMemory, GenerationRequest, Weighed
from tests.tiny_models import tiny_model
from workers.backends.decoding.weighing import COPIES, GIB, n_bytes
from workers.backends.transformers import TransformersBackend


def test_tensors_that_share_memory_count_once() -> None:
    """1000 floats of 4 bytes, seen three times; 10 more."""
    one = torch.zeros(1000)
    assert n_bytes([one, one[10:], one.view(10, 100), torch.zeros(10)]) == 4040


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("weighed"), ends=False)


def weighed(engine: object) -> EngineMemory:
    assert isinstance(engine, Weighed)
    memory = engine.weigh()
    assert memory is not None
    return memory


def test_an_engine_holds_its_weights_and_its_caches_while_it_works(folder: Path) -> None:
    """Caches: 3 layers, keys and values, 2 heads of 32 floats: 1,536 bytes for each token of each row."""
    spec = EngineSpec(id="e", backend="transformers", model=str(folder), options={"threads": 1})
    engine = TransformersBackend().load(spec, ())
    of_weights = weighed(engine)
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert of_weights.held_gib * GIB == pytest.approx(stored, rel=0.05)
    assert of_weights.peak_gib == of_weights.held_gib
    for n in range(4):
        messages = (Message(role="user", content="x" * 60),)
        engine.submit(GenerationRequest(str(n), messages, Sampling(max_tokens=100)))
    n_ended = 0
    while n_ended < 4:
        n_ended += len(engine.poll(0.1))
    after = weighed(engine)
    assert after.held_gib == of_weights.held_gib, "the caches are gone"
    n_tokens = 4 * 160
    least = COPIES * n_tokens * 1536 / 1.2
    assert least < (after.peak_gib - after.held_gib) * GIB < 4 * least
    engine.close()
    assert isinstance(engine, Weighed)
    assert engine.weigh() is None
