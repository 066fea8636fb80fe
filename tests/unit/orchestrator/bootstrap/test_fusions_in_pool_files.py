"""A fusion in a pool file: its members are found beside the file, checked, and part of its identity."""

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.domain.experts import Expert
from orchestrator.errors import ConfigError
from tests.tiny_models import tiny_adapter, tiny_model

OPTIONS = "{rule: dynamic, base: models/base, experts: [{model: models/base, adapter: models/lora}]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(("large", "base")):
        tiny_model(folder / "models" / name, seed=seed)
    tiny_adapter(folder / "models" / "lora")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "pool"))


def pool_file(folder: Path, options: str = OPTIONS, name: str = "pool.yaml") -> Path:
    path = folder / name
    path.write_text(
        "model_list:\n"
        "  - model_name: fused\n"
        "    litellm_params: {model: models/large}\n"
        f"    model_info: {{muster: {{engine: fusion, max_model_len: 128, options: {options}}}}}\n"
        "  - model_name: plain\n"
        "    litellm_params: {model: models/large}\n"
        "    model_info: {muster: {engine: transformers, max_model_len: 128}}\n"
    )
    return path


def fused(folder: Path, options: str = OPTIONS) -> Expert:
    return check_pool_file(pool_file(folder, options)).pool.by_id["fused"]


def test_members_lie_where_the_file_says_and_the_engine_is_called_as_the_member(folder: Path) -> None:
    engine = fused(folder).engine
    assert engine.id == "fused"
    assert engine.members == {
        "models/base": str(folder / "models/base"),
        "models/lora": str(folder / "models/lora"),
    }


def test_fingerprint_is_the_same_wherever_the_pool_lies(folder: Path, tmp_path: Path) -> None:
    first = fused(folder).fingerprint
    moved = folder.rename(tmp_path / "elsewhere")
    assert fused(moved).fingerprint == first
    absolute = OPTIONS.replace("models/", f"{moved}/models/")
    assert fused(moved, absolute).fingerprint == first


@pytest.mark.parametrize("name", ["large", "base", "lora"])
def test_fingerprint_covers_the_weights_of_every_member(folder: Path, name: str) -> None:
    before = fused(folder)
    weights = next((folder / "models" / name).glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    after = fused(folder)
    assert after.weights_hash != before.weights_hash
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        OPTIONS.replace("dynamic", "upscale"),
        OPTIONS.replace("rule: dynamic", "rule: dynamic, mode: joint"),
        OPTIONS.replace("{model: models/base, adapter", "{model: models/base, system_prompt: hi, adapter"),
        OPTIONS.replace("[{model: models/base, adapter: models/lora}]", "[models/large]"),
    ],
)
def test_fingerprint_covers_rule_and_members(folder: Path, other: str) -> None:
    assert fused(folder, other).fingerprint != fused(folder).fingerprint


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{rule: upscle, base: models/base, experts: [models/base]}", "Did you mean 'upscale'"),
        ("{rule: upscale, base: models/base}", "needs experts"),
        ("{rule: contrast, weak: models/nowhere}", "'models/nowhere' is no folder here"),
        ("{rule: contrast, weak: someone/model}", "needs a revision"),
        ("{rule: contrast, weak: {model: models/base, adapter: models/gone}}", "no adapter in 'models/gone'"),
        ("{rule: contrast, weak: {model: models/base, adapter: models/base}}", "no adapter in 'models/base'"),
        ("{rule: contrast, weak: models/lora}", "'models/lora' holds an adapter"),
        ("{rule: contrast, weak: models}", "'models' holds no config.json"),
        ("{rule: contrast, weak: 7}", "write a path"),
        ("{rule: average, models: models/base}", "valid list"),
        ("{rule: average, models: [models/base], params: 3}", "valid dictionary"),
        ("{rule: average, models: [models/base, models/base], weights: [0.5, 0.5]}", "for 3 models"),
        ("{rule: contrast, weak: models/base, a: 2}", "'a'"),
        ("{rule: average, models: [models/base], weights: [0.9, 0.2]}", "sum to 1.1"),
    ],
)
def test_mistakes_are_found_with_their_line_and_nothing_is_loaded(
    folder: Path, options: str, says: str
) -> None:
    path = pool_file(folder, options)
    with pytest.raises(ConfigError, match=says) as caught:
        check_pool_file(path)
    assert f"{path}:4:" in str(caught.value)


def test_another_vocabulary_is_found_in_the_tokenizer_files(folder: Path) -> None:
    path = folder / "models/base/tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError, match=r"'models/base' has another vocabulary.*13 is 'a' and 'b'"):
        check_pool_file(pool_file(folder))


def test_context_beyond_that_of_a_member(folder: Path) -> None:
    config = folder / "models/base/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 64}))
    with pytest.raises(ConfigError, match="max_model_len 128 is beyond the 64 tokens"):
        check_pool_file(pool_file(folder))
