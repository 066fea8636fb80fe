"""Open a database: URL to connections, transactions and errors, alike for SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Double, Engine, Table, create_engine, event, exc, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from orchestrator.errors import StoreError, StoreUnavailableError
from orchestrator.store.migrations import upgrade

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 5
_WRITES = "muster_writes"

T = TypeVar("T")


class db_now(FunctionElement[float]):  # noqa: N801  (reads as an SQL function)
    """Seconds since the epoch by the database's clock; SQLite resolves milliseconds."""

    type = Double()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite_now(_element: db_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql_now(_element: db_now, _compiler: SQLCompiler, **_options: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def open_database(url: str) -> "Database":
    """Connect and bring the schema up to date.

    Args:
        url: `sqlite:///path/file.db` (its folder is made) or `postgresql://user@host/name`.

    Raises:
        StoreError: a URL that cannot be used, or a schema newer than this version.
        StoreUnavailableError: the database cannot be reached.
    """
    database = Database(_engine(_parsed(url)))
    try:
        with database.write() as conn:
            upgrade(conn)
    except BaseException:
        database.close()
        raise
    return database


class Database:
    """Connections to one database; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writers = engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot."""
        with _muster_errors(), self._engine.begin() as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction. On SQLite it holds the write lock from the start, so it cannot fail half-way."""
        with _muster_errors(), self._writers.begin() as conn:
            yield conn

    def close(self) -> None:
        self._engine.dispose()


def insert_or_ignore(conn: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT that leaves existing rows alone."""
    return upsert(conn, table).on_conflict_do_nothing()


def insert_or_replace(conn: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT that overwrites the row with the same primary key."""
    statement = upsert(conn, table)
    values = {c.name: statement.excluded[c.name] for c in table.c if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)


def upsert(conn: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT to be given its conflict clause."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


def inline(value: str | int) -> BindParameter[str | int]:
    """A constant spelled out in the statement, as partial indices need it."""
    return literal(value, literal_execute=True)


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items; a statement takes no more parameters than the drivers allow."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise StoreError(f"'{url}' is not a database URL.", remedy="Write sqlite:///FILE.") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StoreError(
            f"database '{parsed.drivername}' is not supported.",
            remedy="Use sqlite:///FILE or postgresql://...",
        )
    return parsed


def _engine(url: URL) -> Engine:
    if url.drivername == "postgresql+psycopg":
        return create_engine(
            url, pool_pre_ping=True, pool_size=10, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
        )
    if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
        raise StoreError(
            "an in-memory database cannot be shared between threads or resumed.", remedy="Name a file."
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder of database '{url.database}': {error}.") from error
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-16384"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(conn: Connection) -> None:
    writes = conn.get_execution_options().get(_WRITES, False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _muster_errors() -> Iterator[None]:
    """Driver errors become store errors; nothing above this package knows the driver."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreUnavailableError(
            f"the database cannot be used now: {_reason(error)}.", remedy="It is safe to try again."
        ) from error
    except exc.SQLAlchemyError as error:
        raise StoreError(f"the database refused a statement: {_reason(error)}.") from error
    except UnicodeError as error:
        raise StoreError(f"text is not valid Unicode: {error.reason}.") from error  # type: ignore[attr-defined]


def _reason(error: exc.SQLAlchemyError) -> str:
    origin: Any = getattr(error, "orig", None) or error
    return str(origin).strip().splitlines()[0].rstrip(".") if str(origin).strip() else type(origin).__name__
