# ruff: noqa: S608  (statements are put together from names of tables and columns, never from values)
"""Many rows in one statement: lists of keys, inserts and updates, by the fastest way each database has.

PostgreSQL takes a list of keys as one array parameter, inserts by COPY and updates from arrays: a few
round trips and one prepared plan per batch, whatever its size. SQLite runs in this process: there the
driver's `executemany` is fastest.
"""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Self

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Dialect,
    Table,
    Text,
    TypeDecorator,
    exc,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Value = str | int | float | bool | None
Record = tuple[Value, ...]


class _KeyList(TypeDecorator[Iterable[int]]):
    """Keys as one text parameter: an array literal of PostgreSQL, a JSON array for SQLite."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[int] | None, dialect: Dialect) -> str:
        keys = ",".join(map(str, value or ()))
        return f"[{keys}]" if dialect.name == "sqlite" else f"{{{keys}}}"


class _NameList(TypeDecorator[Iterable[str]]):
    """Names as one text parameter, likewise."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[str] | None, dialect: Dialect) -> str:
        names = list(value or ())
        return json.dumps(names) if dialect.name == "sqlite" else _array(names)


class _Among(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True
    kind = "BIGINT"

    def self_group(self, against: Any = None) -> Self:  # noqa: ARG002
        """As it is: SQLAlchemy would write `... = 1` for SQLite, which then uses no index."""
        return self


def among(column: ColumnElement[int], keys: Iterable[int] | str) -> ColumnElement[bool]:
    """`column` IN `keys`; a name instead of keys is a parameter to be given later."""
    if isinstance(keys, str):
        return _Among(column, BindParameter(keys, type_=_KeyList()))
    return _Among(column, BindParameter("keys", list(keys), type_=_KeyList(), unique=True))


class _AmongNames(_Among):
    inherit_cache = True
    kind = "TEXT"


def among_names(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """`column` IN names that are given later, as the parameter `name`."""
    return _AmongNames(column, BindParameter(name, type_=_NameList()))


@compiles(_AmongNames, "postgresql")
@compiles(_Among, "postgresql")
def _among_postgresql(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, keys = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY(CAST({keys} AS {element.kind}[]))"


@compiles(_AmongNames, "sqlite")
@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, keys = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({keys}))"


def insert_rows(conn: Connection, table: Table, names: Sequence[str], rows: Sequence[Record]) -> None:
    """Insert `rows`, values in the order of `names`.

    Raises:
        exc.DBAPIError: a row breaks a constraint; none is stored then.
    """
    if not rows:
        return
    columns = ", ".join(names)
    if conn.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        conn.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", list(rows))
    else:
        _copy(conn, f"COPY {table.name} ({columns}) FROM STDIN", rows)


def update_rows(
    conn: Connection, table: Table, names: Sequence[str], rows: Sequence[Record], *, also: str
) -> None:
    """Set columns of rows by `pk`, which is the first of `names` and of each row.

    `also`: what is set alike in all of them, as SQL.
    """
    if not rows:
        return
    key, *rest = names
    if conn.dialect.name == "sqlite":
        values = ", ".join(f"{name} = ?" for name in rest)
        statement = f"UPDATE {table.name} SET {values}, {also} WHERE {key} = ?"
        conn.exec_driver_sql(statement, [(*row[1:], row[0]) for row in rows])
        return
    types = [table.c[name].type.compile(conn.dialect) for name in names]
    arrays = ", ".join(f"CAST(%s AS {kind}[])" for kind in types)
    values = ", ".join(f"{name} = given.{name}" for name in rest)
    conn.exec_driver_sql(
        f"UPDATE {table.name} AS r SET {values}, {also}"
        f" FROM unnest({arrays}) AS given({', '.join(names)}) WHERE r.{key} = given.{key}",
        tuple(_array(column) for column in zip(*rows, strict=True)),
    )


def add_rows(
    conn: Connection, table: Table, keys: Sequence[str], sums: Sequence[str], rows: Sequence[Record]
) -> None:
    """Add to the columns `sums` of the rows with these `keys`, the table's primary key; rows that are not
    there yet begin at nothing. Values in the order of `keys` and `sums`; each key once."""
    _merge(conn, table, tuple(keys), tuple(sums), rows)


def insert_missing(conn: Connection, table: Table, names: Sequence[str], rows: Sequence[Record]) -> None:
    """Insert those of `rows`, values in the order of `names`, that are not there yet."""
    _merge(conn, table, tuple(names), (), rows)


def _merge(
    conn: Connection, table: Table, names: tuple[str, ...], sums: tuple[str, ...], rows: Sequence[Record]
) -> None:
    if not rows:
        return
    statement = _merging(conn.dialect, table, names, sums)
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(statement, list(rows))
    else:
        conn.exec_driver_sql(statement, tuple(_array(column) for column in zip(*rows, strict=True)))


@lru_cache(maxsize=64)
def _merging(dialect: Dialect, table: Table, keys: tuple[str, ...], sums: tuple[str, ...]) -> str:
    """INSERT of rows given one by one to SQLite, by columns to PostgreSQL; `sums` are added to where a row
    with these `keys` is there, else it stays as it is."""
    names = (*keys, *sums)
    added = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in sums)
    conflict = f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {added}" if sums else "ON CONFLICT DO NOTHING"
    if dialect.name == "sqlite":
        given = f"VALUES ({', '.join('?' * len(names))})"
    else:
        types = [table.c[name].type.compile(dialect) for name in names]
        given = f"SELECT * FROM unnest({', '.join(f'CAST(%s AS {kind}[])' for kind in types)})"
    return f"INSERT INTO {table.name} ({', '.join(names)}) {given} {conflict}"


def _array(values: Iterable[Value]) -> str:
    """PostgreSQL's array literal; several times faster than the driver's own, which escapes by regex."""
    return "{" + ",".join(map(_array_item, values)) + "}"


def _array_item(value: Value) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _copy(conn: Connection, statement: str, rows: Iterable[Record]) -> None:
    import psycopg

    driver: Any = conn.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise exc.DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=driver.broken, dialect=conn.dialect
        ) from error
