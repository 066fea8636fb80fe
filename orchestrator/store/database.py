"""Open a database: URL to connections, transactions and errors, alike for SQLite and PostgreSQL.

Nothing waits for ever: connecting, waiting for a connection of the pool, for a lock, for a statement, and
for a server that went silent are all bounded, and end in StoreUnavailableError.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    ColumnClause,
    Connection,
    Double,
    Engine,
    Integer,
    Table,
    Text,
    create_engine,
    event,
    exc,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from tenacity import (
    Retrying,
    retry,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random,
    wait_random_exponential,
)

from orchestrator.errors import ConfigError, StoreError, StoreUnavailableError
from orchestrator.runtime.private import private_file, private_folder, tighten_file
from orchestrator.store.migrations import upgrade
from orchestrator.store.sqlite_faults import is_damaged, remedy_of
from orchestrator.store.urls import file_of, parsed_url

BUSY_TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 5
POOL_SIZE, POOL_TIMEOUT_S = 10, 2.0
PING_AFTER_S = 1.0
"""A connection that nobody has used for so long is asked whether it lives before it is used again. One that
breaks sooner is found by its first statement, which `fetch` and `transact` try again."""
ATTEMPTS = 4

_POSTGRES_PLANS: Final = {"enable_seqscan": "off", "jit": "off"}
"""Every statement has its index, and tables that fill and empty by the minute have no statistics to trust:
without these a new job's first reads scan whole tables."""

POSTGRES_TIMEOUTS_MS: Final = {
    "lock_timeout": 5_000,
    "statement_timeout": 60_000,
    "idle_in_transaction_session_timeout": 15_000,
}
"""The last one ends the transaction, and frees the locks, of a process that was stopped or whose host is
gone: it must not hold up the others for longer than its leases do."""

_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

_SQLITE_VACUUM: Final = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
_POSTGRES_VACUUM: Final = ("SET statement_timeout = 0", "VACUUM (ANALYZE)")

_ROLLED_BACK: Final = frozenset({"40001", "40P01", "55P03", "25P03"})
"""SQLSTATE of serialization failure, deadlock, lock timeout, and a transaction that stood still: PostgreSQL
rolled it back."""

_NO_RIGHT: Final = "42501"
RIGHTS_REMEDY: Final = "If its tables are older than this version: run `muster migrate` as their owner."

ACCESS_REMEDY: Final = (
    "Mend user, password or name in MUSTER_DATABASE_URL (or the file that PGPASSFILE names), "
    "or what the server's pg_hba.conf allows."
)
_REFUSED: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry"
    r'|(?:role|database) "[^"\n]{1,64}" does not exist'
)
"""What a server says to whom it does not let in; it says so without an SQLSTATE that the driver tells."""

_AWAY: Final = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)

_WRITES, _USED_AT = "muster_writes", "muster_used_at"

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
    database = Database(_engine(parsed_url(url)))
    try:
        with database.write() as conn:
            upgrade(conn)
    except BaseException:
        database.close()
        raise
    return database


class Database:
    """Connections to one database; safe to share between threads.

    `fetch` and `transact` try again, a few times within seconds, what certainly did not happen: a
    deadlock, a serialization failure, a lock timeout, a connection that was lost before COMMIT was sent.
    Where the reply to COMMIT was lost nobody knows; the caller is told, and its fences (stage, owner,
    attempt) make it safe to look again.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._readers = _readers(engine)
        self._writers = engine.execution_options(**{_WRITES: True})

    def fetch(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, which only reads."""
        return _retried(partial(_within, self.read, work))

    def transact(self, work: Callable[[Connection], T]) -> T:
        """The result of `work`, its writes committed; it may be called several times."""
        return _retried(partial(_within, self.write, work))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot on SQLite, one for each statement on PostgreSQL."""
        with _transaction(self._readers) as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction. On SQLite it holds the write lock from the start, so it cannot fail half-way."""
        with _transaction(self._writers) as conn:
            yield conn

    def vacuum(self) -> None:
        """Give free space back to the file system; waits for others as long as a write would.

        Raises:
            StoreUnavailableError: they hold the database.
            StoreError: its file is damaged.
        """
        is_sqlite = self._engine.dialect.name == "sqlite"
        raw = self._engine.raw_connection()
        try:
            driver: Any = raw.driver_connection
            for statement in _SQLITE_VACUUM if is_sqlite else _POSTGRES_VACUUM:
                if not is_sqlite:
                    driver.autocommit = True
                driver.execute(statement)
        except self._engine.dialect.loaded_dbapi.Error as error:
            if is_damaged(error):
                raise _damaged(str(error), error, self._engine.url) from error
            raise StoreUnavailableError(
                f"the database cannot be vacuumed now: {error}.", remedy="It is safe to try again."
            ) from error
        finally:
            raw.invalidate()  # its settings are not for others
            raw.close()

    def close(self) -> None:
        """Close the connections that nobody uses; those in use close when they are given back."""
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
    return upsert_in(conn.dialect.name, table)


def upsert_in(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """The same for a statement that is made once for each dialect."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def inline(value: str | int) -> ColumnClause[Any]:
    """A constant of this program spelled out in the statement, as partial indices need it."""
    kind = Integer() if isinstance(value, int) else Text()
    return literal_column(str(value) if isinstance(value, int) else f"'{value}'", type_=kind)


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items; a statement takes no more parameters than the drivers allow."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _engine(url: URL) -> Engine:
    if url.drivername == "postgresql+psycopg":
        return _postgresql_engine(url)
    _make_private(file_of(url))
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """The file, and what SQLite puts beside it with the same permissions, belong to their owner only."""
    try:
        private_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot make the folder of database '{path}': {error}.") from error
    with suppress(OSError):  # SQLite says better what is wrong
        private_file(path)
    for beside in ("-wal", "-shm", "-journal"):
        tighten_file(path.with_name(path.name + beside))


def _postgresql_engine(url: URL) -> Engine:
    session = {**_POSTGRES_PLANS, **POSTGRES_TIMEOUTS_MS}
    given = url.normalized_query.get("options", ())
    options = " ".join([*given, *(f"-c {name}={value}" for name, value in session.items())])
    engine = create_engine(
        url.difference_update_query(["options"]),
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options, **_KEEPALIVE},
    )
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_ping_if_idle, engine))
    return engine


def _readers(engine: Engine) -> Engine:
    """Connections of who only reads. PostgreSQL's statements see a snapshot each, in a transaction or not, so
    beginning and ending one would only cost two round trips."""
    is_sqlite = engine.dialect.name == "sqlite"
    return engine if is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ping_if_idle(engine: Engine, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """
    Raises:
        InvalidatePoolError: it is dead, and all that are as old: the pool makes others.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None or time.monotonic() - used_at < PING_AFTER_S:
        return
    try:
        alive = engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        alive = False
    if not alive:
        raise exc.InvalidatePoolError


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver
    _write_ahead(connection)
    # What is deleted is overwritten, not merely forgotten.
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "cache_size=-16384", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _is_busy(error: BaseException) -> bool:
    return (
        isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    )


@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(BUSY_TIMEOUT_S),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on. SQLite does not wait for others who do so: it says "locked" at once."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        connection.execute("PRAGMA journal_mode=WAL").close()


def _begin_sqlite(conn: Connection) -> None:
    """By the driver itself: SQLAlchemy's own way costs as much as a statement with rows, and where anybody
    listens to its event, every later statement looks for listeners."""
    statement = "BEGIN IMMEDIATE" if conn.get_execution_options().get(_WRITES, False) else "BEGIN"
    driver: Any = conn.connection.driver_connection
    try:
        driver.execute(statement)
    except sqlite3.Error as error:
        raise exc.DBAPIError.instance(statement, None, error, sqlite3.Error, dialect=conn.dialect) from error


class _NotDoneError(StoreUnavailableError):
    """The transaction certainly did not happen, and may when it is tried again."""


def _retried(attempt: Callable[[], T]) -> T:
    try:
        return attempt()
    except _NotDoneError as error:  # seldom, and only then is it worth to keep count
        return _retried_after(error, attempt)


def _retried_after(error: _NotDoneError, attempt: Callable[[], T]) -> T:
    """The result of a later attempt; the first one ended in `error`."""
    made: list[_NotDoneError] = [error]

    def attempted() -> T:
        if made:
            raise made.pop()
        return attempt()

    retrying = Retrying(
        retry=retry_if_exception_type(_NotDoneError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=1.0),
        reraise=True,
    )
    result: T = retrying(attempted)
    return result


def _within(begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
    with begin() as conn:
        return work(conn)


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """Driver errors become store errors; nothing above this package knows the driver."""
    committing = False
    try:
        with engine.begin() as conn:
            if conn.dialect.name == "sqlite":
                _begin_sqlite(conn)
            yield conn
            committing = True
    except exc.SQLAlchemyError as error:
        origin = getattr(error, "orig", None)
        if is_damaged(origin):
            raise _damaged(_reason(error), origin, engine.url) from error
        if not isinstance(error, _AWAY) and _sqlstate(error) not in _ROLLED_BACK:
            remedy = RIGHTS_REMEDY if _sqlstate(error) == _NO_RIGHT else None
            raise StoreError(f"the database refused a statement: {_reason(error)}.", remedy=remedy) from error
        kind = _NotDoneError if _is_not_done(error, committing=committing) else StoreUnavailableError
        reason = _reason(error)
        remedy = ACCESS_REMEDY if _REFUSED.search(reason) else _file_remedy(origin, engine.url)
        remedy = remedy or "It is safe to try again."
        raise kind(f"the database cannot be used now: {reason}.", remedy=remedy) from error
    except UnicodeError as error:
        raise StoreError(f"text is not valid Unicode: {error.reason}.") from error  # type: ignore[attr-defined]


def _damaged(reason: str, error: object, url: URL) -> StoreError:
    return StoreError(f"the database's file is damaged, or none: {reason}.", remedy=_file_remedy(error, url))


def _file_remedy(error: object, url: URL) -> str | None:
    return None if url.drivername == "postgresql+psycopg" else remedy_of(error, file_of(url))


def _is_not_done(error: exc.SQLAlchemyError, *, committing: bool) -> bool:
    if not isinstance(error, exc.DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    return _sqlstate(error) in _ROLLED_BACK or (error.connection_invalidated and not committing)


def _sqlstate(error: exc.SQLAlchemyError) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _reason(error: exc.SQLAlchemyError) -> str:
    origin: Any = getattr(error, "orig", None) or error
    return str(origin).strip().splitlines()[0].rstrip(".") if str(origin).strip() else type(origin).__name__
