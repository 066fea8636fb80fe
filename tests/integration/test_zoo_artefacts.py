"""The committed artefacts of the zoo: what the seed, the recipes and the manifest say of them holds."""

import hashlib
import json
from pathlib import Path

import pytest

from examples import zoo
from examples.zoo import train
from examples.zoo.pool import pool_files
from examples.zoo.questions import question_files
from examples.zoo.recipes import ALL_RECIPES, MERGES, Recipe
from examples.zoo.tokenizer import build_tokenizer, saved_vocabulary
from examples.zoo.train import MODELS, is_trained, make_merges

ZOO = Path(zoo.__file__).parent
MANIFEST = json.loads((ZOO / "manifest.json").read_text(encoding="utf-8"))
MAX_WEIGHT_BYTES = 40_000_000


@pytest.mark.parametrize("recipe", ALL_RECIPES, ids=lambda recipe: recipe.expert)
def test_committed_member_is_what_its_recipe_says(recipe: Recipe) -> None:
    assert is_trained(recipe)


@pytest.mark.parametrize("recipe", ALL_RECIPES, ids=lambda recipe: recipe.expert)
def test_all_members_share_one_vocabulary(recipe: Recipe) -> None:
    assert saved_vocabulary(MODELS / recipe.expert) == build_tokenizer().get_vocab()


@pytest.mark.parametrize("expert", MANIFEST["experts"])
def test_committed_files_match_the_manifest(expert: str) -> None:
    folder = ZOO / "models" / expert
    for name, expected in MANIFEST["experts"][expert]["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("member", MERGES)
def test_committed_merge_is_what_its_recipe_gives(
    member: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "MODELS", tmp_path)
    make_merges()
    for name, expected in MANIFEST["merges"][member]["sha256"].items():
        assert hashlib.sha256((tmp_path / member / name).read_bytes()).hexdigest() == expected


def test_all_members_stay_small() -> None:
    files = (path for path in (ZOO / "models").rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) <= MAX_WEIGHT_BYTES


def test_question_files_are_what_the_seed_gives() -> None:
    for name, text in question_files().items():
        assert (ZOO / name).read_text(encoding="utf-8") == text


def test_pool_files_are_what_the_recipes_give() -> None:
    for name, text in pool_files().items():
        assert (ZOO / name).read_text(encoding="utf-8") == text
