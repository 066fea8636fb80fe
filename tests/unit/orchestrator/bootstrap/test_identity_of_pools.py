"""Identity of pools, on which cards and jobs hang: contents, not places."""

import shutil
from pathlib import Path

import pytest

from orchestrator.bootstrap.checks import config_hash
from orchestrator.domain.experts import Pool
from orchestrator.pool import build_pool
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import Settings
from workers.checkpoints.identity import weights_hash

POOL = """\
model_list:
  - model_name: one
    litellm_params: {model: models/one}
  - model_name: lora
    litellm_params: {model: models/adapter}
    model_info: {base_model: models/one, muster: {adapter: lora}}
  - model_name: quantised
    litellm_params: {model: models/gguf}
muster:
  skills: {vocabulary: skills.txt}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    for name, content in {
        "one/model.safetensors": "1",
        "adapter/adapter_config.json": "{}",
        "gguf/m.gguf": "g",
    }.items():
        file = here / "models" / name
        file.parent.mkdir(parents=True)
        file.write_text(content)
    (here / "skills.txt").write_text("algebra\n")
    (here / "pool.yaml").write_text(POOL)
    return here


def opened(folder: Path) -> tuple[Settings, Pool]:
    settings = load_settings(folder / "pool.yaml")
    return settings, build_pool(settings, weights_hash=weights_hash, servers=frozenset())


def prints(folder: Path) -> dict[str, str]:
    return {expert.id: expert.fingerprint for expert in opened(folder)[1].experts}


def test_a_pool_that_moves_keeps_its_fingerprints_and_its_jobs(folder: Path, tmp_path: Path) -> None:
    before, jobs = prints(folder), config_hash(*opened(folder))

    shutil.move(folder, tmp_path / "there")

    assert prints(tmp_path / "there") == before
    assert config_hash(*opened(tmp_path / "there")) == jobs


def test_weights_that_are_linked_or_named_by_their_full_path_are_the_same(
    folder: Path, tmp_path: Path
) -> None:
    before = prints(folder)
    shutil.move(folder / "models", tmp_path / "weights")
    (folder / "models").symlink_to(tmp_path / "weights")
    assert prints(folder) == before

    (folder / "models").unlink()
    (folder / "pool.yaml").write_text(POOL.replace("models/", f"{tmp_path}/weights/"))
    assert prints(folder) == before


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("models/one/model.safetensors", {"one", "lora"}),
        ("models/adapter/adapter_config.json", {"lora"}),
        ("models/gguf/m.gguf", {"quantised"}),
    ],
)
def test_other_weights_at_the_same_place_are_another_expert(
    folder: Path, file: str, changed: set[str]
) -> None:
    before = prints(folder)

    (folder / file).write_text("other")

    after = prints(folder)
    assert {name for name in before if before[name] != after[name]} == changed


def test_another_list_of_skills_under_the_same_name_is_another_configuration(folder: Path) -> None:
    before = config_hash(*opened(folder))

    (folder / "skills.txt").write_text("botany\n")

    assert config_hash(*opened(folder)) != before


def test_weights_without_an_identity_count_by_their_place(tmp_path: Path) -> None:
    text = "model_list: [{model_name: a, litellm_params: {model: %s}}]\n"
    hashes = set()
    for place in ("/no/where/one", "/no/where/two"):
        (tmp_path / "pool.yaml").write_text(text % place)
        hashes |= set(prints(tmp_path).values())

    assert len(hashes) == 2
