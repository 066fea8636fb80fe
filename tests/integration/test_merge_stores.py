"""Adapters as results, shared models with adapters, and stores from which experts are rebuilt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import ConfigError, InputError, MergeError
from tests.fakes.checkpoints import read_safetensors, tensors, write_adapter, write_checkpoint
from tests.integration.test_merge_cli import here, merged
from workers.checkpoints.merging.runner import rebuild_expert

Q = "model.layers.{}.self_attn.q_proj.weight"
UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "base", tensors(0))
    for number, name in enumerate(("a", "b"), 1):
        close = {n: t + 0.05 * tensors(number)[n] for n, t in tensors(0).items()}
        write_checkpoint(tmp_path / name, close)
    for number, name in enumerate(("la", "lb", "lc")):
        write_adapter(tmp_path / name, rank=1 + number % 2, seed=number)
    return tmp_path


def recipe(folder: Path, method: str, *names: str, **more: Any) -> Path:
    rows = [{"model": name} for name in names]
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"merge_method": method, "base_model": "base", "models": rows, **more}))
    return path


def rebuilt(store: Path, expert: str, out: Path) -> Path:
    assert rebuild_expert(store, expert, out, child=here).verdict == "rebuilt"
    return out


def products(folder: Path) -> dict[str, Any]:
    """s·BA of an adapter, by layer."""
    config = json.loads((folder / "adapter_config.json").read_text())
    factors = read_safetensors(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    front = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    return {
        Q.format(layer): scale * factors[front.format(layer, "B")] @ factors[front.format(layer, "A")]
        for layer in range(2)
    }


def test_adapters_merge_to_an_adapter_exactly(models: Path) -> None:
    made = merged(
        recipe(models, "task_arithmetic", "la", "lb", output="adapter", parameters={"weight": 0.5}),
        models / "x",
    )
    assert made.verdict == "merged"
    a, b, whole = (products(models / name) for name in ("la", "lb", "x"))
    for name, product in whole.items():
        assert np.abs(product - 0.5 * (a[name] + b[name])).max() < 1e-5
    assert json.loads((models / "x" / "adapter_config.json").read_text())["r"] == 3


def test_ties_of_adapters_is_cut_to_its_rank(models: Path) -> None:
    merged(recipe(models, "ties", "la", "lb", output="adapter", rank=2), models / "x")
    assert json.loads((models / "x" / "adapter_config.json").read_text())["r"] == 2


def test_whole_models_merge_to_an_adapter_of_full_rank(models: Path) -> None:
    merged(recipe(models, "linear", "a", output="adapter", rank=4), models / "x")
    difference = 0.05 * tensors(1)[Q.format(1)]
    assert np.abs(products(models / "x")[Q.format(1)] - difference).max() < 1e-5


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ties", "la", "lb"), MergeError),
        (("linear", "a"), MergeError),
        (("twin", "a"), ConfigError),
    ],
)
def test_an_adapter_that_cannot_be_is_refused(models: Path, words: tuple[str, ...], error: type) -> None:
    path = recipe(models, *words, output="adapter")
    if error is ConfigError:
        with pytest.raises(ConfigError):
            merged(path, models / "x")
    else:
        assert "rank" in merged(path, models / "x").verdict
    assert not (models / "x").exists()


def test_twin_shares_a_model_and_its_adapters_give_the_experts_back(models: Path) -> None:
    report = merged(recipe(models, "twin", "a", "b", parameters={"gamma": 0.3, "r": 4}), models / "x")
    assert report.verdict == "merged"
    shared = read_safetensors(models / "x" / "model.safetensors")
    sum_of_taus = 0.05 * (tensors(1)[UP] + tensors(2)[UP])
    assert np.abs(shared[UP] - (tensors(0)[UP] + 0.3 * sum_of_taus)).max() < 1e-5
    for number, name in enumerate(("a", "b"), 1):
        out = rebuilt(models / "x", name, models / f"of-{name}")
        expert = tensors(0)[Q.format(0)] + 0.05 * tensors(number)[Q.format(0)]
        assert np.abs(shared[Q.format(0)] + products(out)[Q.format(0)] - expert).max() < 1e-5


@pytest.mark.parametrize("granularity", ["module", "position"])
def test_reversible_rebuilds_exactly_with_enough_vectors(models: Path, granularity: str) -> None:
    path = recipe(models, "reversible", "la", "lb", "lc", parameters={"p": 2, "granularity": granularity})
    assert merged(path, models / "x").merge.sha256 is not None
    for name in ("la", "lb", "lc"):
        out = rebuilt(models / "x", name, models / f"of-{name}")
        for weight, product in products(models / name).items():
            assert np.abs(products(out)[weight] - product).max() < 1e-5


def test_each_expert_of_compeft_has_its_numbers(models: Path) -> None:
    """Magnitudes: alpha 2 of the mean of all entries, and 1 of the mean of the larger half."""
    rows = [
        {"model": "a", "parameters": {"density": 1.0, "alpha": 2.0}},
        {"model": "b", "parameters": {"density": 0.5}},
    ]
    path = models / "recipe.yaml"
    body = {"merge_method": "compeft", "base_model": "base", "models": rows, "parameters": {"scale": "mean"}}
    path.write_text(json.dumps(body))
    merged(path, models / "x")
    base = tensors(0)
    found = {}
    for name in ("a", "b"):
        model = read_safetensors(rebuilt(models / "x", name, models / f"of-{name}") / "model.safetensors")
        found[name] = np.concatenate([np.abs(model[n] - base[n]).reshape(-1) for n in sorted(base)])
    taus = {
        name: np.concatenate([np.abs(0.05 * tensors(k)[n]).reshape(-1) for n in sorted(base)])
        for name, k in (("a", 1), ("b", 2))
    }
    assert np.allclose(found["a"], 2 * taus["a"].mean(), atol=1e-5)
    kept = np.sort(taus["b"])[len(taus["b"]) - len(taus["b"]) // 2 :]
    assert np.isclose(found["b"].max(), kept.mean(), atol=1e-5)
    assert np.isclose((found["b"] > 1e-4).mean(), 0.5, atol=0.01)


@pytest.mark.parametrize("alpha", ["find", "", True, -1, 0, [0.5, "search"]])
def test_an_alpha_that_is_none_is_refused(models: Path, alpha: Any) -> None:
    path = recipe(models, "compeft", "a", parameters={"alpha": alpha})
    with pytest.raises(ConfigError, match="alpha"):
        merged(path, models / "x")
    assert not (models / "x").exists()


def test_a_search_without_questions_is_refused(models: Path) -> None:
    report = merged(recipe(models, "compeft", "a", parameters={"alpha": "search"}), models / "x")
    assert "needs questions" in report.verdict
    assert not (models / "x").exists()


def test_compeft_keeps_signs_of_an_adapter_and_of_a_model(models: Path) -> None:
    merged(recipe(models, "compeft", "la", "a", parameters={"density": 1.0}), models / "x")
    adapter = read_safetensors(rebuilt(models / "x", "la", models / "of-la") / "adapter_model.safetensors")
    for name, factor in read_safetensors(models / "la" / "adapter_model.safetensors").items():
        assert (np.sign(adapter[name]) == np.sign(factor)).all()
    model = read_safetensors(rebuilt(models / "x", "a", models / "of-a") / "model.safetensors")
    tau = model[UP] - tensors(0)[UP]
    assert (np.sign(tau) == np.sign(tensors(1)[UP])).all()
    assert np.ptp(np.abs(tau)) < 1e-6
    assert (models / "of-a" / "config.json").is_file()


BROKEN: dict[str, Any] = {
    "no_folder": lambda f: f.rename(f.parent / "away"),
    "no_store": lambda f: (f / "store.json").unlink(),
    "no_json": lambda f: (f / "store.json").write_text("{"),
    "another_kind": lambda f: (f / "store.json").write_text('{"kind": "x", "experts": ["la"]}'),
    "truncated": lambda f: (f / "reversible.safetensors").write_bytes(b"\0" * 9),
    "other_shapes": lambda f: (f / "store.json").write_text(
        (f / "store.json").read_text().replace("      4,", "      5,", 1)
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_store_is_one_clear_error(models: Path, case: str) -> None:
    merged(recipe(models, "reversible", "la", "lb"), models / "x")
    BROKEN[case](models / "x")
    with pytest.raises((InputError, MergeError)):
        rebuild_expert(models / "x", "la", models / "y", child=here)
    assert not (models / "y").exists()
    assert list(models.glob(".y*")) == []


@pytest.mark.parametrize("name", ["../../base", "..", ".", "/etc", "a/../../../base"])
def test_a_store_whose_experts_lie_elsewhere_gives_nothing_back(models: Path, name: str) -> None:
    merged(recipe(models, "twin", "a", "b", parameters={"r": 1}), models / "x")
    store = json.loads((models / "x" / "store.json").read_text())
    (models / "x" / "store.json").write_text(json.dumps({**store, "experts": [name]}))
    with pytest.raises(MergeError, match="leads out"):
        rebuild_expert(models / "x", name, models / "y", child=here)
    assert not (models / "y").exists()


def test_a_link_out_of_a_store_is_not_followed(models: Path) -> None:
    merged(recipe(models, "twin", "a", "b", parameters={"r": 1}), models / "x")
    weights = models / "x" / "experts" / "a" / "adapter_model.safetensors"
    weights.unlink()
    weights.symlink_to(models / "base" / "model.safetensors")
    with pytest.raises(MergeError, match="holds no"):
        rebuild_expert(models / "x", "a", models / "y", child=here)


def test_an_expert_that_is_not_there_is_named(models: Path) -> None:
    merged(recipe(models, "reversible", "la", "lb"), models / "x")
    with pytest.raises(InputError, match="Did you mean 'la'"):
        rebuild_expert(models / "x", "laa", models / "y", child=here)
