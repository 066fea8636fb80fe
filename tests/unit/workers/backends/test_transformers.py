"""What is refused at load time, and how prompts are rendered."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError, InputError
from orchestrator.ports.engines import Engine, Failed, GenerationRequest
from tests.tiny_models import tiny_model
from workers.backends import transformers
from workers.backends.decoding.texts import Texts
from workers.backends.transformers import TransformersBackend, _dtype, comes_straight, threads_for


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def spec(model: Path, **fields: object) -> EngineSpec:
    return EngineSpec.model_validate(
        {"id": "e", "backend": "transformers", "model": str(model), "options": {"threads": 1}, **fields}
    )


def refused(what: EngineSpec) -> EngineLoadError:
    with pytest.raises(EngineLoadError) as caught:
        TransformersBackend().load(what, ())
    return caught.value


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    error = refused(spec(tmp_path))
    assert "pytorch_model.bin" in error.message
    assert "safetensors" in error.message


def test_directory_without_weights_is_refused(tmp_path: Path) -> None:
    assert "no *.safetensors" in refused(spec(tmp_path)).message


def test_model_that_brings_its_own_code_is_refused(tmp_path: Path) -> None:
    tiny_model(tmp_path)
    config = {"model_type": "homegrown", "auto_map": {"AutoModelForCausalLM": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the model ran')")
    assert "code of its own, which is never run" in refused(spec(tmp_path)).message


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    weights = tiny_model(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert refused(spec(tmp_path)).param == "model"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dtype": "int4"}, "dtype"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"options": {"max_batch": 0}}, "options.max_batch"),
        ({"options": {"device": "tpu"}}, "options.device"),
    ],
)
def test_setting_that_cannot_be_met_is_named(folder: Path, fields: dict[str, object], param: str) -> None:
    assert refused(spec(folder, **fields)).param == param


def test_missing_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(EngineLoadError, match="nowhere"):
        TransformersBackend().load(spec(folder), ["nowhere"])


@pytest.mark.parametrize(
    ("asked", "stored", "n_params", "on_cpu", "expected"),
    [
        ("auto", torch.bfloat16, 10**6, True, torch.float32),
        ("auto", torch.bfloat16, 7 * 10**9, True, torch.bfloat16),
        ("auto", torch.float32, 10**6, False, torch.bfloat16),
        ("auto", torch.float16, 10**6, False, torch.float16),
        ("float16", torch.float32, 10**6, True, torch.float16),
    ],
)
def test_dtype_follows_device_and_size(
    asked: str, stored: torch.dtype, n_params: int, on_cpu: bool, expected: torch.dtype
) -> None:
    assert _dtype(asked, stored=stored, n_params=n_params, on_cpu=on_cpu) is expected


@pytest.mark.parametrize(
    ("stored", "asked", "straight"),
    [
        ("bfloat16", "auto", True),
        ("float16", "auto", True),
        ("bfloat16", "bfloat16", True),
        ("bfloat16", "float16", False),
        ("bfloat16", "float32", False),
        ("float32", "auto", False),
        ("float32", "bfloat16", False),
    ],
)
def test_weights_are_read_straight_to_a_gpu_as_they_are_served(
    tmp_path: Path, stored: str, asked: str, straight: bool
) -> None:
    """Others are converted in the host's memory: whole, they need not fit where they fit converted."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": stored}))
    assert comes_straight(spec(tmp_path, dtype=asked)) is straight


def test_weights_whose_configuration_cannot_be_read_are_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert not comes_straight(spec(tmp_path))


@pytest.mark.parametrize(
    ("asked", "n_params", "expected"),
    [(None, 49_999_999, 1), (None, 50_000_000, 8), (None, 7 * 10**9, 8), (3, 10**6, 3), (3, 7 * 10**9, 3)],
)
def test_tiny_models_get_one_thread_unless_told_otherwise(
    asked: int | None, n_params: int, expected: int
) -> None:
    assert threads_for(asked, n_params=n_params, own=8) == expected


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Torch as if it had chosen three by itself."""
    before = torch.get_num_threads()
    monkeypatch.setattr(transformers, "own_threads", lambda _: 3)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def decode(engine: Engine) -> None:
    engine.submit(GenerationRequest("a", (Message(role="user", content="x"),), Sampling(max_tokens=2)))
    while not engine.poll(1):
        pass


@pytest.mark.usefixtures("three_threads")
def test_a_larger_engine_has_more_threads_again_and_its_override_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model counts as tiny, then as large; the last engine asks for two."""
    seen = []
    for limit, options in ((10**9, {}), (0, {}), (0, {"threads": 2}), (10**9, {})):
        monkeypatch.setattr(transformers, "TINY_MODEL_PARAMS", limit)
        engine = TransformersBackend().load(spec(folder, options=options), ())
        decode(engine)
        seen.append(torch.get_num_threads())
        engine.close()
    assert seen == [1, 3, 2, 1]


@pytest.mark.usefixtures("three_threads")
def test_engines_side_by_side_compute_each_with_its_own_threads(folder: Path) -> None:
    """Engines are loaded in another thread than the one that drives them, and take turns there."""
    with ThreadPoolExecutor(1) as loader:
        one, two = (
            loader.submit(TransformersBackend().load, spec(folder, options={"threads": n}), ()).result()
            for n in (1, 2)
        )
    seen = []
    for engine in (one, two, one):
        decode(engine)
        seen.append(torch.get_num_threads())
    assert seen == [1, 2, 1]


def test_context_of_the_model_bounds_the_context_of_the_engine(folder: Path) -> None:
    """The tiny model was made for 256 tokens."""
    engine = TransformersBackend().load(spec(folder, max_model_len=4096), ())
    messages = (Message(role="user", content="x" * 250),)
    engine.submit(GenerationRequest("a", messages, Sampling(max_tokens=10)))
    [end] = engine.poll(0)
    assert isinstance(end, Failed)
    assert "256" in end.error


MESSAGES = (Message(role="system", content="be"), Message(role="user", content="me"))


def prompt(folder: Path, template: str | None = None, *, drop: bool = False) -> str:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if drop:
        tokenizer.chat_template = None
    return str(tokenizer.decode(Texts(tokenizer, template=template).encode(MESSAGES)))


def test_prompt_follows_the_tokenizers_template_unless_overridden(folder: Path) -> None:
    assert prompt(folder) == "<s>be<u>me>"
    assert prompt(folder, "{{ messages[1]['content'] }}!") == "me!"
    assert prompt(folder, drop=True) == "be\n\nme"


def test_prompt_that_the_template_refuses_is_an_input_error(folder: Path) -> None:
    with pytest.raises(InputError, match="no system role"):
        prompt(folder, "{{ raise_exception('no system role') }}")
    with pytest.raises(InputError, match="no tokens"):
        prompt(folder, "{{ '' }}")
