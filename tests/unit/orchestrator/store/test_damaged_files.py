"""Files of SQLite that are damaged, none, or barred: told with what to do, whoever opens them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError, StoreError, StoreUnavailableError
from orchestrator.store import open_database


def made(path: Path) -> str:
    """URL of a database that was in use and has been closed."""
    url = f"sqlite:///{path}"
    open_database(url).close()
    with sqlite3.connect(path) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    return url


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribbled(path: Path) -> None:
    """Every third page, the first ones excepted, is overwritten."""
    data = bytearray(path.read_bytes())
    for at in range(2 * 4096, len(data), 3 * 4096):
        data[at : at + 3000] = b"\xff" * 3000
    path.write_bytes(data)


def rewritten(path: Path) -> None:
    path.write_text("My notes of the week. " * 300)


@pytest.mark.parametrize("damage", [cut, scribbled, rewritten])
def test_damaged_file_is_told_with_its_name_and_the_way_out(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "x.db"
    url = made(path)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the database's file is damaged, or none: ") as caught:
        open_database(url)
    assert not isinstance(caught.value, StoreUnavailableError)  # nobody tries again
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(f"Restore '{path.name}' from a backup, or move it away")
    assert path.read_bytes() == before


def test_file_that_is_damaged_while_it_is_in_use_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    database = open_database(made(path))
    rewritten(path)
    try:
        with pytest.raises(StoreError, match=r"damaged.*Restore"):
            database.vacuum()
    finally:
        database.close()


def test_empty_file_is_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    open_database(f"sqlite:///{path}").close()
    assert path.stat().st_size > 0


def test_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder\. Name a file"):
        open_database(f"sqlite:///{tmp_path}")


def test_file_that_cannot_be_opened_or_written_is_told_with_its_name(tmp_path: Path) -> None:
    """A link that leads nowhere, and a database opened to be read only: barred to root as well."""
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "no folder" / "x.db")
    path = tmp_path / "x.db"
    path.touch()
    for url, file in (
        (f"sqlite:///{link}", link),
        (f"sqlite:///file:{path}?mode=ro&uri=true", path),
    ):
        with pytest.raises(StoreUnavailableError, match="cannot be used now") as caught:
            open_database(url)
        assert caught.value.remedy == (
            f"See to it that this process may read and write '{file.name}' and the folder that it is in."
        )
