"""Faults of a SQLite file itself, and what to do about them."""

import sqlite3
from pathlib import Path

_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_BARRED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


def is_damaged(error: object) -> bool:
    """True of the driver's error that says that the file is no database, or a broken one."""
    return _code(error) in _DAMAGED


def remedy_of(error: object, file: Path) -> str | None:
    """Way out of what the driver says of a database's file, without its folder, as clients may read
    it; None = it is not about the file.

    Args:
        error: of the driver, whichever it is.
    """
    code = _code(error)
    if code in _DAMAGED:
        return (
            f"Restore '{file.name}' from a backup, or move it away together with its -wal and -shm: "
            "then a new, empty database is made."
        )
    if code in _BARRED:
        return f"See to it that this process may read and write '{file.name}' and the folder that it is in."
    return f"Make room on the disk of '{file.name}', then try again." if code == sqlite3.SQLITE_FULL else None


def _code(error: object) -> int | None:
    """SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return None if code is None else code & 0xFF
