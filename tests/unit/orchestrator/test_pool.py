from pathlib import Path

import pytest

from orchestrator.domain.experts import Pool
from orchestrator.errors import ConfigError
from orchestrator.pool import build_pool
from orchestrator.settings import Settings


def pool_of(*members: dict[str, object], base_dir: Path = Path()) -> Pool:
    settings = Settings.model_validate({"model_list": members, "base_dir": base_dir})
    return build_pool(settings, weights_hash=lambda model, adapter: f"{model}|{adapter}")


def member(name: str, model: str = "m", **info: object) -> dict[str, object]:
    return {"model_name": name, "litellm_params": {"model": model}, "model_info": info}


def test_adapters_of_one_base_share_its_engine() -> None:
    lora = {"base_model": "base", "muster": {"adapter": "lora"}}

    pool = pool_of(member("plain", "base"), member("a", "lora-a", **lora), member("b", "lora-b", **lora))

    assert list(pool.engines) == ["base"]
    assert [e.adapter for e in pool.experts] == [None, "lora-a", "lora-b"]


def test_different_options_mean_different_engines_of_one_name() -> None:
    pool = pool_of(member("a", "x/m"), member("b", "x/m", muster={"dtype": "float32"}))

    assert list(pool.engines) == ["m", "m-2"]


def test_an_existing_directory_is_found_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)

    pool = pool_of(member("a", "models/one"), member("b", "org/hub-model"), base_dir=tmp_path)

    assert pool.by_id["a"].engine.model == str(tmp_path / "models" / "one")
    assert pool.by_id["b"].engine.model == "org/hub-model"


def test_a_lora_member_needs_its_base() -> None:
    with pytest.raises(ConfigError, match="without base_model"):
        pool_of(member("a", muster={"adapter": "lora"}))


def test_a_pool_in_which_nobody_answers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no member of the pool may answer"):
        pool_of(member("a", muster={"roles": ["aggregator"]}))


def test_the_fingerprint_follows_what_changes_answers_and_nothing_else() -> None:
    (plain,) = pool_of(member("a")).experts
    (cooler,) = pool_of(
        {"model_name": "a", "litellm_params": {"model": "m", "temperature": 0.7}, "model_info": {}}
    ).experts
    (roomier,) = pool_of(member("a", muster={"gpu_memory_gib": 8})).experts

    assert plain.fingerprint != cooler.fingerprint
    assert plain.fingerprint == roomier.fingerprint
