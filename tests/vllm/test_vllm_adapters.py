"""LoRA adapters over one set of base weights, with effects that are known beforehand."""

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import BackendError, EngineLoadError
from orchestrator.ports.engines import Failed
from tests.vllm.engines import MODELS, ask, by_transformers, end, finished, spec, texts, zoo_questions
from workers.engine_host.backend import HostedBackend

LAYERS = [f"model.layers.{number}.self_attn.o_proj" for number in range(3)]
GEN_LORA = str(MODELS / "gen-lora")


@pytest.fixture(scope="module")
def blinding_adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Cancels `o_proj` of the member `reverse`: A = 1, B = -W, scale 1, so W + BA = 0."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("blind")
    weights = load_file(MODELS / "reverse" / "model.safetensors")
    adapter = {}
    for layer in LAYERS:
        adapter[f"base_model.model.{layer}.lora_A.weight"] = torch.eye(128)
        adapter[f"base_model.model.{layer}.lora_B.weight"] = -weights[f"{layer}.weight"].float()
    save_file(adapter, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 128, "lora_alpha": 128, "target_modules": ["o_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(scope="module")
def blind_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The member `reverse` with zeros in `o_proj`."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("model") / "reverse"
    shutil.copytree(MODELS / "reverse", folder)
    weights = load_file(folder / "model.safetensors")
    for layer in LAYERS:
        weights[f"{layer}.weight"].zero_()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_adapter_acts_on_its_requests_and_comes_and_goes_at_run_time(
    backend: HostedBackend, blinding_adapter: str, blind_model: Path
) -> None:
    questions = zoo_questions(12)
    blind = by_transformers(blind_model, questions)
    sighted = by_transformers("reverse", questions)
    engine = backend.load(spec("reverse", enable_lora=True, max_lora_rank=128), ())
    engine.add_adapter(blinding_adapter)
    assert texts(engine, questions, adapter=blinding_adapter) == blind
    assert texts(engine, questions) == sighted != blind
    engine.remove_adapter(blinding_adapter)
    gone = end(engine, ask("q", adapter=blinding_adapter))
    assert isinstance(gone, Failed)
    assert gone.error_code == "unknown_name"
    with pytest.raises(BackendError, match="unknown adapter"):
        engine.remove_adapter(blinding_adapter)
    engine.add_adapter(blinding_adapter)
    assert texts(engine, questions, adapter=blinding_adapter) == blind
    engine.close()


def test_trained_adapter_of_the_zoo_answers_as_in_the_transformers_backend(backend: HostedBackend) -> None:
    questions = zoo_questions(24)
    engine = backend.load(spec("generalist"), (GEN_LORA,))
    adapted = by_transformers("generalist", questions, adapter=GEN_LORA)
    assert texts(engine, questions, adapter=GEN_LORA) == adapted
    assert texts(engine, questions) == by_transformers("generalist", questions) != adapted
    engine.close()


def test_adapter_without_room_or_files_is_refused_and_the_engine_lives_on(
    backend: HostedBackend, blinding_adapter: str, tmp_path: Path
) -> None:
    engine = backend.load(spec("reverse"), ())
    with pytest.raises(BackendError, match="enable_lora"):
        engine.add_adapter(blinding_adapter)
    assert finished(engine, ask("q")).text == "ybognx"
    engine.close()
    engine = backend.load(spec("reverse", enable_lora=True, max_lora_rank=8), ())
    with pytest.raises(BackendError, match="max_lora_rank"):
        engine.add_adapter(blinding_adapter)
    assert finished(engine, ask("q")).text == "ybognx"
    engine.close()
    with pytest.raises(EngineLoadError, match="cannot be read") as caught:
        backend.load(spec("reverse"), (str(tmp_path),))
    assert caught.value.param == "adapter"
