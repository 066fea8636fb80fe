"""Values of configurations that no loader takes are told by a deep check and by the first load, alike."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import ConfigError, EngineLoadError
from tests.contracts.test_odd_models_contract import pool_file
from tests.odd.files import Make, be_int8, changed, configured, with_tensors
from tests.odd.making import CONFIG, TOKENIZER_CONFIG, WEIGHTS, Made, edited
from tests.tiny_models import tiny_model
from workers.backends.transformers import TransformersBackend
from workers.checkpoints.defects import require_sound
from workers.checkpoints.formats import load_error
from workers.checkpoints.kinds import is_known_quantisation, writes_texts

GENERATION = "generation_config.json"
NO_COUNT = "which is no whole number above 0"


def generating(**values: Any) -> Make:
    return changed(lambda folder: edited(folder / GENERATION, **values))


def tokenizing(**values: Any) -> Make:
    return changed(lambda folder: edited(folder / TOKENIZER_CONFIG, **values))


def quantized(stated: object) -> Make:
    return configured(quantization_config=stated)


def be_fp8(tensors: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        tensors[name] = tensor.to(torch.float8_e4m3fn) if tensor.dim() == 2 else tensor


TOLD: dict[str, tuple[Make, str, str]] = {
    "layers in a text": (configured(num_hidden_layers="3"), CONFIG, f'num_hidden_layers "3", {NO_COUNT}'),
    "no layers": (configured(num_hidden_layers=0), CONFIG, f"num_hidden_layers 0, {NO_COUNT}"),
    "less than no layers": (configured(num_hidden_layers=-1), CONFIG, f"num_hidden_layers -1, {NO_COUNT}"),
    "no heads": (configured(num_attention_heads=0), CONFIG, f"num_attention_heads 0, {NO_COUNT}"),
    "a size in words": (configured(hidden_size="big"), CONFIG, f'hidden_size "big", {NO_COUNT}'),
    "a vocabulary in words": (configured(vocab_size="x"), CONFIG, f'vocab_size "x", {NO_COUNT}'),
    "a context in words": (configured(max_position_embeddings="2k"), CONFIG, f'"2k", {NO_COUNT}'),
    "a context with a point": (configured(max_position_embeddings=128.0), CONFIG, f"128.0, {NO_COUNT}"),
    "true layers": (configured(num_hidden_layers=True), CONFIG, f"num_hidden_layers true, {NO_COUNT}"),
    "an unknown format": (
        configured(dtype="int3", torch_dtype=None),
        CONFIG,
        'dtype "int3", which is no format',
    ),
    "a format of storage": (
        configured(dtype="float8_e4m3fn"),
        CONFIG,
        "which is no format that models compute",
    ),
    "a format in bits": (configured(dtype=16), CONFIG, "dtype 16, which is no format"),
    "kinds in a list": (configured(model_type=["llama"]), CONFIG, "names no model_type"),
    "a kind that translates": (configured(model_type="t5"), CONFIG, "'t5', of which transformers has none"),
    "a kind that sees": (configured(model_type="clip"), CONFIG, "'clip', of which transformers has none"),
    "an end in a text": (generating(eos_token_id="1"), GENERATION, 'eos_token_id "1", which is neither'),
    "ends in a list of lists": (generating(eos_token_id=[[1]]), GENERATION, "eos_token_id [[1]]"),
    "half an end": (generating(eos_token_id=1.5), GENERATION, "eos_token_id 1.5"),
    "an end of the model in a text": (configured(eos_token_id="</s>"), CONFIG, 'eos_token_id "</s>"'),
    "padding by several": (
        generating(pad_token_id=[1]),
        GENERATION,
        "pad_token_id [1], which is no token's id",
    ),
    "a longest text in words": (
        tokenizing(model_max_length="big"),
        TOKENIZER_CONFIG,
        'model_max_length "big"',
    ),
    "a numbered tokenizer": (
        tokenizing(tokenizer_class=5),
        TOKENIZER_CONFIG,
        "tokenizer_class 5, which is no",
    ),
    "code for the tokenizer": (
        tokenizing(tokenizer_class="OwnTokenizer", auto_map={"AutoTokenizer": ["own.Own", None]}),
        TOKENIZER_CONFIG,
        'brings code of its own for the tokenizer (auto_map), which is never run; transformers has no "Own',
    ),
    "code for a tokenizer without name": (
        tokenizing(tokenizer_class=None, auto_map=["own.Own", None]),
        TOKENIZER_CONFIG,
        "brings code of its own for the tokenizer (auto_map), which is never run",
    ),
    "an end by number": (tokenizing(eos_token=7), TOKENIZER_CONFIG, "eos_token 7, which is no token's text"),
    "an added token without id": (
        tokenizing(added_tokens_decoder={"x": {"content": "<a>"}}),
        TOKENIZER_CONFIG,
        "'x' among its added_tokens_decoder",
    ),
    "quantised in a word": (quantized("int4"), CONFIG, 'quantization_config "int4", which holds no keys'),
    "quantised in a list": (quantized([1]), CONFIG, "quantization_config [1], which holds no keys"),
    "quantised somehow": (quantized({"bits": 4}), CONFIG, "names no quant_method"),
    "quantised by nothing": (quantized({}), CONFIG, "names no quant_method"),
    "quantised by an unknown way": (
        with_tensors(be_int8, quantization_config={"quant_method": "homegrown"}),
        WEIGHTS,
        "no quantization_config of a known kind",
    ),
    "eight bits that nobody told of": (with_tensors(be_fp8), WEIGHTS, "holds F8_E4M3"),
}
WAYS = {
    "aqlm": {"quant_method": "aqlm"},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "awq": {"quant_method": "awq", "bits": 4},
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes of old": {"load_in_8bit": True},
    "compressed-tensors": {"quant_method": "compressed-tensors"},
}
TAKEN: dict[str, Make] = {
    "several ends": generating(eos_token_id=[1, 2]),
    "no end": generating(eos_token_id=[]),
    "a format by its full name": configured(dtype="torch.float32"),
    "an old name of the format": configured(dtype=None, torch_dtype="float32"),
    "code that nobody needs": configured(auto_map={"AutoModelForCausalLM": "own.Own"}),
    "code beside a known tokenizer": tokenizing(
        tokenizer_class="PreTrainedTokenizerFast", auto_map={"AutoTokenizer": ["own.Own", None]}
    ),
    "code for something else": tokenizing(tokenizer_class="OwnTokenizer", auto_map={"AutoModel": "own.Own"}),
    "a longest text without end": tokenizing(model_max_length=1e30),
    "sampling that nobody asked for": generating(temperature="hot", do_sample=True),
    "quantised by an unknown way, in floats": quantized({"quant_method": "homegrown"}),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("plain"))


def told(of: Made, tmp_path: Path) -> tuple[str, EngineLoadError]:
    """What a deep check says, and the error of the first load."""
    with pytest.raises(ConfigError) as checked:
        check_pool_file(pool_file(tmp_path, of), deep=True)
    spec = EngineSpec(id="odd", backend="transformers", model=str(of.folder), max_model_len=128)
    with pytest.raises(EngineLoadError) as loaded:
        TransformersBackend().load(spec, ())
    return str(checked.value), loaded.value


@pytest.mark.parametrize("name", TOLD)
def test_a_value_that_no_loader_takes_is_told_with_its_file(name: str, plain: Path, tmp_path: Path) -> None:
    make, file, says = TOLD[name]
    check, load = told(make(plain, tmp_path / "odd"), tmp_path)
    pattern = f"pool.yaml:3: .*{re.escape(file)} .*{re.escape(says)}"
    assert re.search(pattern, check), check
    assert says in str(load)
    assert load.is_lasting
    assert "trust_remote_code" not in check + str(load)


@pytest.mark.parametrize("name", WAYS)
def test_a_way_to_quantise_whose_package_is_missing_is_told_before_the_load(
    name: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.checkpoints.stated.find_spec", lambda _name: None)
    made = quantized(WAYS[name])(plain, tmp_path / "odd")
    check, load = told(made, tmp_path)
    assert "quantised by" in check
    assert "needs the package" in str(load)
    assert load.is_lasting
    require_sound("odd", str(made.folder), by_vllm=True)  # it has ways of its own


def test_a_library_that_asks_for_trust_is_not_quoted() -> None:
    """Of a model of the hub, whose files nobody has seen before its load."""
    asks = ValueError("It has custom code. Please pass the argument `trust_remote_code=True` to allow it.")
    error = load_error(EngineSpec(id="odd", backend="transformers", model="a/b"), "the tokenizer", asks)
    assert "the tokenizer of 'a/b' cannot be loaded: it brings code of its own, which is never run." in str(
        error
    )
    assert "trust_remote_code" not in str(error)
    assert error.is_lasting


@pytest.mark.parametrize("name", TAKEN)
def test_a_value_that_loaders_take_is_no_defect(name: str, plain: Path, tmp_path: Path) -> None:
    made = TAKEN[name](plain, tmp_path / "odd")
    check_pool_file(pool_file(tmp_path, made), deep=True)


@pytest.mark.parametrize(
    ("holds", "values"),
    [
        (writes_texts, {"llama": True, "qwen2": True, "gemma3_text": True, "t5": False, "whisper": True}),
        (is_known_quantisation, {"fp8": True, "bitsandbytes": True, "gptq": True, "homegrown": False}),
    ],
)
def test_tables_of_the_library_are_read_from_its_source(
    holds: Callable[[str], bool], values: dict[str, bool]
) -> None:
    assert {name: holds(name) for name in values} == values
