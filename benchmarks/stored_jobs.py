"""Copies of an ended job, by plain SQL: a database in which much is stored, without the work for it."""

from collections.abc import Mapping
from typing import Any

import psycopg

BY_QUERY = ("prompt", "assignment", "answer")
"""Tables whose rows belong to a query; their own numbers, where they have any, are given anew."""


def copy_job(conn: psycopg.Connection[Any], job_pk: int, name: str) -> None:
    """Another job `name` with the same queries, prompts, calls, responses and answers, in one transaction."""
    with conn.transaction():
        mine = {"id": "%(name)s"}
        new_pk = _copied(conn, "job", mine, "WHERE o.pk = %(old)s RETURNING pk", old=job_pk, name=name)
        of_job = {"job_pk": "%(new)s"}
        _copied(conn, "query", of_job, "WHERE o.job_pk = %(old)s ORDER BY o.pk", old=job_pk, new=new_pk)
        _copied(conn, "job_engine", of_job, "WHERE o.job_pk = %(old)s", old=job_pk, new=new_pk)
        twins = (
            "JOIN query q ON q.pk = o.query_pk AND q.job_pk = %(old)s"
            " JOIN query twin ON twin.job_pk = %(new)s AND twin.ix = q.ix"
        )
        for table in BY_QUERY:
            changed = {"query_pk": "twin.pk", "job_pk": "%(new)s"}
            _copied(conn, table, changed, twins, old=job_pk, new=new_pk)


def _copied(
    conn: psycopg.Connection[Any], table: str, changed: Mapping[str, str], rows: str, **values: object
) -> int:
    """Copies rows of a table, named `o` in `rows`, some columns changed; the number that RETURNING gives."""
    found = conn.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = %s AND column_name <> 'pk'",
        (table,),
    )
    names = [str(name) for (name,) in found]
    given = ", ".join(changed.get(name, f"o.{name}") for name in names)
    statement = f"INSERT INTO {table} ({', '.join(names)}) SELECT {given} FROM {table} AS o {rows}"
    done = conn.execute(statement.encode(), values)
    row = done.fetchone() if done.description else None
    return 0 if row is None else int(row[0])
