"""The store of files: `ports.FileStore` over the same database, so that every host of a stack reads them."""

import zlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from orchestrator.domain.batches import UNDER_WAY, Purpose, StoredFile
from orchestrator.domain.keys import nothing_found
from orchestrator.domain.pages import nothing_after
from orchestrator.errors import FileInUseError
from orchestrator.ports.batches import Page
from orchestrator.store import file_tables as rows
from orchestrator.store.codec import checked_name, is_name, shown
from orchestrator.store.database import Database, db_now
from orchestrator.store.departed import beyond, leave, place_of

LEVEL = 1
"""Of compression: lines shrink to a fraction for little CPU (docs/decisions)."""
BEGUN_S = 6 * 3600.0
"""A file that was begun so long ago and is not whole will never be."""


class SqlFileStore:
    """Files, in parts of up to a megabyte."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin_file(self, file: StoredFile) -> bool:
        checked_name("file", file.id)

        def begin(conn: Connection) -> bool:
            f = rows.file.c
            found = conn.execute(select(f.pk, f.is_whole).where(f.id == file.id).with_for_update()).first()
            if found is not None and found.is_whole:
                return False
            if found is not None:
                _delete(conn, found.pk)
            row = file.model_dump(exclude={"created_at", "n_bytes"})
            conn.execute(insert(rows.file).values(**row, n_bytes=0, is_whole=False, created_at=db_now()))
            return True

        return self._db.transact(begin)

    def add_chunk(self, file_id: str, ix: int, content: bytes) -> None:
        f = rows.file.c
        packed = zlib.compress(content, LEVEL)

        def add(conn: Connection) -> None:
            grown = update(rows.file).where(f.id == file_id).values(n_bytes=f.n_bytes + len(content))
            pk = conn.execute(grown.returning(f.pk)).scalar()
            if pk is None:
                raise nothing_found("file", shown(file_id))
            conn.execute(insert(rows.file_chunk).values(file_pk=pk, ix=ix, content=packed))

        self._db.transact(add)

    def finish_file(self, file_id: str) -> StoredFile:
        self._db.transact(lambda conn: finish(conn, [file_id]))
        return self.file(file_id)

    def file(self, file_id: str) -> StoredFile:
        return _file(self._db.fetch(lambda conn: _row(conn, file_id)))

    def files(self, page: Page, *, purpose: Purpose | None = None) -> list[StoredFile]:
        seen = _seen().where(*([] if purpose is None else [rows.file.c.purpose == purpose.value]))
        return [_file(row) for row in self._db.fetch(lambda conn: paged(conn, rows.file, seen, page))]

    def chunks(self, file_id: str) -> Iterator[bytes]:
        c = rows.file_chunk.c
        row = self._db.fetch(lambda conn: _row(conn, file_id))
        left, ix = row.n_bytes, 0
        while left > 0:
            packed = self._db.fetch(partial(_content, c.file_pk == row.pk, c.ix == ix))
            if packed is None:  # deleted meanwhile
                raise nothing_found("file", shown(file_id))
            content = zlib.decompress(packed)
            yield content
            left, ix = left - len(content), ix + 1

    def delete_file(self, file_id: str) -> None:
        self._db.transact(lambda conn: _delete_unused(conn, file_id))

    def drop_expired(self, *, limit: int) -> int:
        f = rows.file.c
        left = f.is_whole.is_(False) & (f.created_at < db_now() - BEGUN_S)
        old = select(f.pk).where(or_(f.expires_at < db_now(), left), ~_is_read())

        def drop(conn: Connection) -> int:
            pks = conn.execute(old.limit(limit).with_for_update(skip_locked=True)).scalars().all()
            for pk in pks:
                _delete(conn, pk)
            return len(pks)

        return self._db.transact(drop)


def finish(conn: Connection, file_ids: list[str]) -> None:
    """Files that were begun are whole."""
    conn.execute(update(rows.file).where(rows.file.c.id.in_(file_ids)).values(is_whole=True))


def paged(conn: Connection, table: Table, wanted: Select[Any], page: Page) -> list[Any]:
    """One page of a table's rows, which have `pk`, `id` and `owner`.

    Raises:
        InputError: after an id that there is not, or that is another owner's.
    """
    c = table.c
    if page.owner is not None:
        wanted = wanted.where(c.owner == page.owner)
    if page.after is not None:
        wanted = wanted.where(_beyond(conn, table, page, page.after))
    order = c.pk.asc() if page.oldest_first else c.pk.desc()
    return list(conn.execute(wanted.order_by(order).limit(page.limit)))


def _beyond(conn: Connection, table: Table, page: Page, after: str) -> ColumnElement[bool]:
    """Condition of the rows after one of them, which may have been deleted since."""
    c = table.c
    start = select(c.pk).where(c.id == after)
    start = start if page.owner is None else start.where(c.owner == page.owner)
    place = conn.execute(start).scalar() if is_name(after) else None
    is_left = place is None
    if is_left:
        place = place_of(conn, table.name, after, owner=page.owner)
    if place is None:
        raise nothing_after(after)
    return beyond(c.pk, place, is_left=is_left, goes_down=not page.oldest_first)


def _seen() -> Select[Any]:
    f = rows.file.c
    return select(rows.file).where(f.is_whole.is_(True), or_(f.expires_at.is_(None), f.expires_at > db_now()))


def _row(conn: Connection, file_id: str) -> Any:
    found = conn.execute(_seen().where(rows.file.c.id == file_id)).first() if is_name(file_id) else None
    if found is None:
        raise nothing_found("file", shown(file_id))
    return found


def _file(row: Any) -> StoredFile:
    return StoredFile(**{name: getattr(row, name) for name in StoredFile.model_fields})


def _content(*its: Any) -> bytes | None:
    *conditions, conn = its
    found: bytes | None = conn.execute(select(rows.file_chunk.c.content).where(*conditions)).scalar()
    return found


def _is_read() -> Any:
    b = rows.batch.c
    return exists().where(b.input_file_id == rows.file.c.id, b.state.in_([s.value for s in UNDER_WAY]))


def _delete_unused(conn: Connection, file_id: str) -> None:
    pk = _row(conn, file_id).pk
    conn.execute(select(rows.file.c.pk).where(rows.file.c.pk == pk).with_for_update())
    if conn.execute(select(func.count()).where(rows.file.c.pk == pk, _is_read())).scalar():
        raise FileInUseError(
            f"file '{file_id}' is read by a batch that has not ended.",
            param="file_id",
            remedy="Wait for the batch, or cancel it.",
        )
    _delete(conn, pk)


def _delete(conn: Connection, pk: int) -> None:
    f = rows.file.c
    leaves = conn.execute(select(f.id, f.owner).where(f.pk == pk)).first()
    if leaves is not None:
        leave(conn, rows.file.name, leaves.id, owner=leaves.owner, place=pk)
    conn.execute(delete(rows.file_chunk).where(rows.file_chunk.c.file_pk == pk))
    conn.execute(delete(rows.file).where(rows.file.c.pk == pk))
