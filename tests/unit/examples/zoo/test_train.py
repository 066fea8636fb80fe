"""What the trainer skips, and in which order it starts the rest."""

import dataclasses
import json
from pathlib import Path

import pytest

from examples.zoo import train
from examples.zoo.recipes import BY_EXPERT, GENERALIST, Recipe
from examples.zoo.train import MODELS, RECORD, is_trained, startable, weights_sha256


def record_of(expert: str) -> dict[str, object]:
    record: dict[str, object] = json.loads((MODELS / expert / RECORD).read_text(encoding="utf-8"))
    return record


def copy_of(recipe: Recipe, models: Path, **changed: object) -> None:
    """A member's folder with its record, changed as asked, and its vocabulary."""
    (models / recipe.expert).mkdir(parents=True)
    tokenizer = (MODELS / recipe.expert / "tokenizer.json").read_bytes()
    (models / recipe.expert / "tokenizer.json").write_bytes(tokenizer)
    record = json.dumps(record_of(recipe.expert) | changed)
    (models / recipe.expert / RECORD).write_text(record, encoding="utf-8")


def test_changed_recipe_trains_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "MODELS", tmp_path)
    keypad = BY_EXPERT["keypad"]
    copy_of(keypad, tmp_path)
    assert is_trained(keypad)
    assert not is_trained(dataclasses.replace(keypad, n_steps=keypad.n_steps + 1))


def test_member_without_weights_trains_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "MODELS", tmp_path)
    assert not is_trained(BY_EXPERT["keypad"])


def test_reordered_vocabulary_trains_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "MODELS", tmp_path)
    copy_of(BY_EXPERT["keypad"], tmp_path)
    assert is_trained(BY_EXPERT["keypad"])
    path = tmp_path / "keypad" / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] |= {"a": 0, "<pad>": 13}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    assert not is_trained(BY_EXPERT["keypad"])


def test_new_base_weights_train_what_starts_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / GENERALIST).mkdir()
    (tmp_path / GENERALIST / "model.safetensors").write_bytes(b"other weights")
    copy_of(BY_EXPERT["gen-lora"], tmp_path, base_sha256=weights_sha256(GENERALIST))
    monkeypatch.setattr(train, "MODELS", tmp_path)
    assert not is_trained(BY_EXPERT["gen-lora"])


def test_a_member_starts_after_its_base() -> None:
    waiting = [BY_EXPERT["arith-a"], BY_EXPERT["arith-b"], BY_EXPERT["gen-lora"]]
    assert [r.expert for r in startable(waiting, set())] == ["arith-a"]
    assert [r.expert for r in startable(waiting[1:], {"arith-a"})] == ["arith-b"]
    assert [r.expert for r in startable(waiting[2:], {"arith-a", GENERALIST})] == ["gen-lora"]
