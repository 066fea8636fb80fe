"""A database whose clock can be set, as a person or a time server would."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from orchestrator.store import Database, open_database

SHIM = (
    "CREATE SCHEMA shim",
    "CREATE TABLE shim.step (s double precision NOT NULL)",
    "INSERT INTO shim.step VALUES (0)",
    "CREATE FUNCTION shim.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS"
    " 'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT s FROM shim.step))'",
)
"""In a schema that is looked into before PostgreSQL's own."""


class SetClock:
    """The database, and by how many seconds its clock is set off."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._step_s = 0.0
        self._is_sqlite = url.startswith("sqlite")
        if self._is_sqlite:
            event.listen(Engine, "connect", self._wrap)
        else:
            self._administer(*SHIM)
            name = make_url(url).database
            self._administer(f"ALTER DATABASE {name} SET search_path = public, shim, pg_catalog")
        self.database: Database = open_database(url)

    def step(self, seconds: float) -> None:
        self._step_s += seconds
        if not self._is_sqlite:
            self._administer(f"UPDATE shim.step SET s = {self._step_s}")

    def close(self) -> None:
        self.database.close()
        if self._is_sqlite:
            event.remove(Engine, "connect", self._wrap)

    def _wrap(self, connection: Any, _record: object) -> None:
        """SQLite's `julianday`, counted by a connection of its own, and the step."""
        plain = sqlite3.connect(":memory:", check_same_thread=False)
        connection.create_function(
            "julianday",
            1,
            lambda when: plain.execute("SELECT julianday(?)", (when,)).fetchone()[0] + self._step_s / 86_400,
        )

    def _administer(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement.encode())


@contextmanager
def set_clock(url: str) -> Iterator[SetClock]:
    clock = SetClock(url)
    try:
        yield clock
    finally:
        clock.close()
