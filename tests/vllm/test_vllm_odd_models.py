"""Odd models in vLLM: they answer as in the in-process engine, or are down for good."""

import re
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine, Finished, GenerationRequest, Tokens
from tests.odd.making import Made, Odd
from tests.odd.table import ODD
from tests.tiny_models import tiny_model
from tests.vllm.engines import events
from workers.backends.transformers import TransformersBackend
from workers.engine_host.backend import HostedBackend

ANSWERING = (
    *("no system role", "strict alternation", "a list of templates", "contents in parts", "no template"),
    *("shards", "weights of another name", "tidied blanks", "bytes for want of pieces", "several ends"),
    *("tokens that the model lacks", "plain adapter", "its own template"),
)
DOWN = (
    *("broken template", "template without the question", "pointer to weights", "truncated weights"),
    *("page in place of a tokenizer", "whole numbers", "own code", "pickles only"),
    *("template of tokens that the model lacks", "decomposed", "PiSSA", "ranks of modules"),
    *("for another kind of model", "pointer to an adapter"),
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


def spec(of: Made, backend: str) -> EngineSpec:
    sizes = {"kv_cache_gib": 0.25} if backend == "vllm" else {}
    return EngineSpec(
        id="odd",
        backend=backend,
        model=str(of.folder),
        dtype="float32",
        max_model_len=128,
        options={"threads": 1, **sizes},
    )


def asked(engine: Engine, odd: Odd, of: Made) -> tuple[Finished, str]:
    adapter = None if of.adapter is None else str(of.adapter)
    sampling = Sampling(max_tokens=16)
    engine.submit(GenerationRequest("q", odd.messages, sampling, adapter=adapter, priority=INTERACTIVE))
    found = events(engine)
    end = found[-1]
    assert isinstance(end, Finished), end
    return end, "".join(event.text for event in found if isinstance(event, Tokens))


@pytest.mark.representatives(4)
@pytest.mark.parametrize("name", ANSWERING)
def test_it_answers_as_in_the_in_process_engine(
    backend: HostedBackend, name: str, plain: Path, tmp_path: Path
) -> None:
    odd = ODD[name]
    of = odd.make(plain, tmp_path / "odd")
    adapters = [] if of.adapter is None else [str(of.adapter)]
    engine = backend.load(spec(of, "vllm"), adapters)
    end, streamed = asked(engine, odd, of)
    engine.close()
    if name == "weights of another name":  # which the in-process engine does not look for
        (of.folder / "weights.safetensors").rename(of.folder / "model.safetensors")
    own, _ = asked(TransformersBackend().load(spec(of, "transformers"), adapters), odd, of)

    assert end.text == own.text
    assert end.text.startswith(streamed)


@pytest.mark.representatives(4)
@pytest.mark.parametrize("name", DOWN)
def test_it_is_down_for_good_and_says_why(
    backend: HostedBackend, name: str, plain: Path, tmp_path: Path
) -> None:
    odd = ODD[name]
    of = odd.make(plain, tmp_path / "odd")
    with pytest.raises(EngineLoadError) as caught:
        backend.load(spec(of, "vllm"), [] if of.adapter is None else [str(of.adapter)])

    assert caught.value.is_lasting
    assert re.search(odd.says or "_pattern", caught.value.message), caught.value.message
