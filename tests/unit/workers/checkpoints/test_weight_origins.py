"""Weights are safetensors of a folder that is here, or of the hub at a revision; nothing else is loaded."""

import os
import pickle
from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.origins import objection
from orchestrator.errors import ConfigError, EngineLoadError
from skills.embedding import embedder_of
from tests.tiny_models import tiny_adapter, tiny_model
from workers.backends.decoding.lora import read_adapter
from workers.backends.transformers import TransformersBackend
from workers.checkpoints.formats import require_adapter, require_safetensors


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self._mark),)


def spec(model: Path | str, revision: str | None = None) -> EngineSpec:
    return EngineSpec(id="e", backend="transformers", model=str(model), revision=revision)


@pytest.mark.parametrize(
    "model",
    [
        *(
            "./onee",
            "../onee",
            "/no/where",
            "~/models/one",
            "a/b/c",
            "C:\\models\\one",
            "one/",
            "/",
            ".",
            "..x/y",
        ),
        *("models/onee", "org/mo del", "org//model", "org/../model", "http://h/org/model", "", "a" * 100),
    ],
)
@pytest.mark.parametrize("revision", [None, "main"])
def test_a_name_like_a_path_is_never_a_hub_id(
    model: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "models" / "one" if model == "." else tmp_path)
    if model in (".", "/"):
        assert objection(model, revision) is None  # folders, and without weights
        return
    found = objection(model, revision)
    assert found is not None
    assert "no folder" in found.why
    with pytest.raises(EngineLoadError, match="no folder"):
        TransformersBackend().load(spec(model, revision), ())


@pytest.mark.parametrize("model", ["org/model", "gpt2", "Qwen/Qwen2.5-0.5B", "a-b/c_d.e"])
def test_a_hub_id_needs_a_revision(model: str) -> None:
    with pytest.raises(EngineLoadError, match="set `revision`"):
        require_safetensors(spec(model))
    require_safetensors(spec(model, "0f2b5c1"))


def test_an_embedder_of_the_hub_needs_a_revision_and_says_it_in_its_name() -> None:
    with pytest.raises(ConfigError, match="set `revision`"):
        embedder_of("org/embedder").encode(["a"])
    assert embedder_of("org/embedder", revision="0f2b5c1").name == "org/embedder@0f2b5c1"


@pytest.mark.parametrize("place", ["pytorch_model.bin", "2_Dense/pytorch_model.bin", "1_Pooling/x.pt"])
def test_a_pickle_in_an_embedder_is_refused_and_not_read(place: str, tmp_path: Path) -> None:
    folder, mark = tmp_path / "embedder", tmp_path / "read"
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(pickle.dumps(Bomb(mark)))
    if "/" in place:
        (folder / "model.safetensors").touch()
    with pytest.raises(ConfigError, match="pickled weights"):
        embedder_of(str(folder)).encode(["a"])
    assert not mark.exists()


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pth"])
def test_a_pickle_in_an_adapter_is_refused_and_not_read(name: str, tmp_path: Path) -> None:
    folder, mark = tiny_adapter(tmp_path / "adapter"), tmp_path / "read"
    (folder / "adapter_model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    for load in (require_adapter, read_adapter):
        with pytest.raises(EngineLoadError, match="pickled weights"):
            load(str(folder))
    assert not mark.exists()


def test_an_adapter_that_is_no_folder_is_refused() -> None:
    for name in ("org/adapter", "/no/where"):
        with pytest.raises(EngineLoadError, match="no folder"):
            require_adapter(name)


def test_base_weights_as_pickles_are_refused_and_not_read(tmp_path: Path) -> None:
    folder, mark = tiny_model(tmp_path / "model"), tmp_path / "read"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(EngineLoadError, match="pickled weights"):
        TransformersBackend().load(spec(folder), ())
    assert not mark.exists()


def test_an_adapter_in_place_of_weights_fetches_no_base(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="holds an adapter"):
        TransformersBackend().load(spec(tiny_adapter(tmp_path / "adapter")), ())
