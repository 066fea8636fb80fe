"""URLs of databases: which there are, and what is wrong with one before anything is connected to."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

from orchestrator.errors import ConfigError


def require_usable(url: str) -> None:
    """Refuse the URL of a database that cannot be opened, whatever is there; nothing is connected to.

    Raises:
        ConfigError: it is no URL, of another kind of database, or of one in memory.
    """
    parsed = parsed_url(url)
    if parsed.drivername != "postgresql+psycopg":
        file_of(parsed)


def parsed_url(url: str) -> URL:
    """A URL as SQLAlchemy has it, with the driver that is used.

    Raises:
        ConfigError: it is no URL, or of another kind of database.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):  # ValueError: of a port that is none
        # Not shown: with a typo in it, it may still hold a password.
        raise ConfigError(
            "the database URL cannot be read.",
            param="muster.database_url",
            remedy="Write sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ConfigError(
            f"database '{parsed.drivername}' is not supported.",
            remedy="Use sqlite:///FILE or postgresql://...",
        )
    return parsed


def file_of(url: URL) -> Path:
    """The file of a SQLite database.

    Raises:
        ConfigError: it is none, or cannot be one.
    """
    if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
        raise ConfigError(
            "an in-memory database cannot be shared between threads or resumed.", remedy="Name a file."
        )
    file = _sqlite_file(url.database)
    if "\0" in str(file) or file.is_dir():
        what = "holds a NUL character" if "\0" in str(file) else "is a folder"
        raise ConfigError(f"the database's file {what}.", remedy="Name a file.")
    return file


def _sqlite_file(database: str) -> Path:
    """The file of a path, or of a `file:` URI."""
    return Path(unquote(urlsplit(database).path) if database.startswith("file:") else database)
