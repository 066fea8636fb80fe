"""What Muster writes for itself is readable by its owner only."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runtime.files import replacing
from orchestrator.runtime.private import private_file, private_folder, tighten_file, tighten_folder
from orchestrator.store import open_database
from skills.embedding import HashEmbedder
from skills.vector_file import FileBackedEmbedder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _wide_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


def test_a_database_and_all_beside_it_are_for_their_owner(tmp_path: Path) -> None:
    folder = tmp_path / ".muster"
    database = open_database(f"sqlite:///{folder / 'muster.sqlite3'}")
    files = {path.name: mode(path) for path in folder.iterdir()}
    database.close()
    assert mode(folder) == 0o700
    assert files == dict.fromkeys(("muster.sqlite3", "muster.sqlite3-wal", "muster.sqlite3-shm"), 0o600)


@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_a_wider_database_of_an_earlier_version_is_closed(tmp_path: Path, form: str) -> None:
    path = tmp_path / "old.sqlite3"
    open_database(f"sqlite:///{path}").close()
    for name in ("old.sqlite3", "old.sqlite3-wal", "old.sqlite3-shm", "old.sqlite3-journal"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666)
    database = open_database(form.format(path))
    modes = {mode(found) for found in tmp_path.glob("old*")}
    database.close()
    assert modes == {0o600}


def test_vectors_are_for_their_owner(tmp_path: Path) -> None:
    folder = tmp_path / ".muster" / "vectors"
    FileBackedEmbedder(HashEmbedder(), folder).keep(["a"])
    assert [mode(path) for path in (folder.parent, folder, *folder.iterdir())] == [0o700, 0o700, 0o600]


def test_an_open_data_folder_with_muster_s_things_only_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    private_folder(folder)
    (folder / "muster.sqlite3").touch()
    (folder / "vectors").mkdir()
    folder.chmod(0o755)
    tighten_folder(folder)
    assert mode(folder) == 0o700


def test_the_default_data_folder_is_closed_whatever_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / ".muster"
    folder.mkdir()
    (folder / "report.json").touch()
    tighten_folder(folder)
    assert mode(folder) == 0o700


def test_a_folder_with_other_things_in_it_is_told_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").touch()
    with caplog.at_level(logging.WARNING):
        tighten_folder(folder)
    assert mode(folder) == 0o777
    assert "chmod 700` on it" in caplog.text


def test_permissions_are_never_widened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o440)
    path.chmod(0o440)
    tighten_file(path)
    assert mode(path) == 0o400


def test_what_is_not_ours_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    tighten_file(path)
    assert mode(path) == 0o666
    assert "chmod 600" in caplog.text


def test_a_private_replacement_is_private_although_the_old_file_was_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with replacing(path, private=True) as file:
        file.write(b"x")
    assert mode(path) == 0o600


def test_a_private_file_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    private_file(path)
    assert (path.read_text(), mode(path)) == ("kept", 0o600)
