"""The store of batches: `ports.BatchStore` over the same database."""

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from orchestrator.domain.assignments import UNDER_WAY
from orchestrator.domain.batches import Batch, BatchState, ClaimedBatch
from orchestrator.domain.keys import nothing_found
from orchestrator.ports.batches import Page
from orchestrator.store import file_tables as rows
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name, is_name, shown, to_json
from orchestrator.store.database import Database, db_now, inline
from orchestrator.store.files import finish, paged

WRITTEN = [inline(state.value) for state in (BatchState.IN_PROGRESS, BatchState.FINALIZING)]
"""States in which a batch waits for its job, and is written then."""


class SqlBatchStore:
    """Batches, each under the lock of its row."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_batch(self, batch: Batch) -> Batch:
        checked_name("batch", batch.id)

        def add(conn: Connection) -> Batch:
            b = rows.batch.c
            known = conn.execute(select(b.payload).where(b.id == batch.id)).scalar()
            if known is not None:
                return Batch.model_validate_json(known)
            # The file's lock: it is not deleted meanwhile.
            f = rows.file.c
            of_file = select(f.pk).where(f.id == batch.input_file_id, f.is_whole.is_(True))
            if conn.execute(of_file.with_for_update()).first() is None:
                raise nothing_found("file", shown(batch.input_file_id))
            names = {"id": batch.id, "owner": batch.owner, "input_file_id": batch.input_file_id}
            conn.execute(insert(rows.batch).values(**names, **_of(batch), worked_until=0.0, attempt=0))
            return batch

        return self._db.transact(add)

    def batch(self, batch_id: str) -> Batch:
        return _batch(self._db.fetch(lambda conn: _row(conn, batch_id)))

    def batches(self, page: Page) -> list[Batch]:
        wanted = select(rows.batch.c.payload)
        return [_batch(row) for row in self._db.fetch(lambda conn: paged(conn, rows.batch, wanted, page))]

    def change(self, batch_id: str, change: Callable[[Batch], Batch]) -> Batch:
        def write(conn: Connection) -> Batch:
            row = _row(conn, batch_id, lock=True)
            changed = change(_batch(row))
            conn.execute(update(rows.batch).where(rows.batch.c.pk == row.pk).values(_of(changed)))
            return changed

        return self._db.transact(write)

    def claim_batch(self, *, for_s: float) -> ClaimedBatch | None:
        if not self._db.fetch(lambda conn: conn.execute(_waiting()).first()):
            return None

        def claim(conn: Connection) -> ClaimedBatch | None:
            first = _waiting().order_by(rows.batch.c.pk)
            row = conn.execute(first.with_for_update(of=rows.batch, skip_locked=True)).first()
            if row is None:
                return None
            mark = {"worked_until": db_now() + for_s, "attempt": row.attempt + 1}
            conn.execute(update(rows.batch).where(rows.batch.c.pk == row.pk).values(mark))
            return ClaimedBatch(batch=_batch(row), attempt=row.attempt + 1)

        return self._db.transact(claim)

    def renew_batch(self, claimed: ClaimedBatch, *, for_s: float) -> bool:
        b = rows.batch.c
        mine = update(rows.batch).where(b.id == claimed.batch.id, b.attempt == claimed.attempt)
        longer = mine.values(worked_until=db_now() + for_s)
        return bool(self._db.transact(lambda conn: conn.execute(longer).rowcount))

    def settle_batch(
        self, claimed: ClaimedBatch, change: Callable[[Batch], Batch], *, files: Collection[str] = ()
    ) -> Batch | None:
        def settle(conn: Connection) -> Batch | None:
            row = _row(conn, claimed.batch.id, lock=True)
            if row.attempt != claimed.attempt:
                return None
            changed = change(_batch(row))
            finish(conn, list(files))
            values = {**_of(changed), "worked_until": 0.0}
            conn.execute(update(rows.batch).where(rows.batch.c.pk == row.pk).values(values))
            return changed

        return self._db.transact(settle)


@cache
def _waiting() -> Any:
    """A batch to work on: an unchecked or cancelled one, or one whose job has ended, or is gone. Made once:
    it is looked for twice a second."""
    b, j = rows.batch.c, t.job.c
    running = j.state.in_([inline(state.value) for state in UNDER_WAY])
    is_running = select(j.pk).where(j.id == b.id, running).exists()
    to_do = or_(b.state.in_([inline("validating"), inline("cancelling")]), b.state.in_(WRITTEN) & ~is_running)
    is_open = b.state.in_([inline(s) for s in ("validating", "in_progress", "finalizing", "cancelling")])
    return select(b.pk, b.payload, b.attempt).where(is_open, to_do, b.worked_until < db_now()).limit(1)


def _row(conn: Connection, batch_id: str, *, lock: bool = False) -> Any:
    b = rows.batch.c
    wanted = select(b.pk, b.payload, b.attempt).where(b.id == batch_id)
    found = None
    if is_name(batch_id):
        found = conn.execute(wanted.with_for_update() if lock else wanted).first()
    if found is None:
        raise nothing_found("batch", shown(batch_id))
    return found


def _of(batch: Batch) -> dict[str, object]:
    return {"state": batch.state.value, "payload": to_json(batch)}


def _batch(row: Any) -> Batch:
    return Batch.model_validate_json(row.payload)
