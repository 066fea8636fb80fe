"""The store of the fleet: the protocols of `ports.fleet` over the database."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, func, select

from orchestrator.domain.fleet import (
    REMEMBERED_S,
    ProcessReport,
    PublishedPool,
    WeightsRecord,
    process_of,
)
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name
from orchestrator.store.database import Database, db_now, insert_or_ignore, upsert
from orchestrator.store.fleet_tables import process_report, published_pool, weights_record

PUBLISHED_S = 30 * 86_400.0
"""A pool that nobody published for so long is deleted when another one is."""

_OF_READER = {"seen_s", "age_s"}


class SqlFleetStore:
    """Processes, the published pool and recorded weights."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def report_process(self, report: ProcessReport) -> None:
        """See `ports.fleet`."""
        row = {
            "process": checked_name("process", report.process),
            "payload": _storable(report.model_dump_json(exclude=_OF_READER)),
        }
        self._db.transact(lambda conn: _report(conn, row))

    def forget_process(self, process: str) -> None:
        """See `ports.fleet`."""
        gone = delete(process_report).where(process_report.c.process == process)
        self._db.transact(lambda conn: conn.execute(gone))

    def processes(self, max_age_s: float) -> list[ProcessReport]:
        """See `ports.fleet`. Reports that this version cannot read are left out."""
        p = process_report.c
        age, seen = (db_now() - p.since).label("age_s"), (db_now() - p.seen_at).label("seen_s")
        wanted = select(p.payload, age, seen).where(p.seen_at >= db_now() - max_age_s).order_by(p.process)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).all())
        found = (_read(row.payload, row.age_s, row.seen_s) for row in rows)
        return [report for report in found if report is not None]

    def leases(self) -> dict[str, int]:
        """See `ports.fleet`."""
        a = t.assignment.c
        held = select(a.lease_owner, func.count()).where(a.state == t.LEASED).group_by(a.lease_owner)
        counts: dict[str, int] = {}
        for owner, n in self._db.fetch(lambda conn: conn.execute(held).all()):
            counts[process_of(owner)] = counts.get(process_of(owner), 0) + n
        return counts

    def publish(self, pool: PublishedPool) -> None:
        """See `ports.fleet`."""
        row = {
            "config_hash": checked_name("configuration", pool.config_hash),
            "at": db_now(),
            "payload": _storable(pool.model_dump_json(exclude={"age_s"})),
        }
        p = published_pool.c
        statement = delete(published_pool).where(p.at < db_now() - PUBLISHED_S)

        def write(conn: Connection) -> None:
            conn.execute(statement)
            put = upsert(conn, published_pool).values(row)
            conn.execute(
                put.on_conflict_do_update(
                    index_elements=["config_hash"],
                    set_={"at": put.excluded.at, "payload": put.excluded.payload},
                )
            )

        self._db.transact(write)

    def published(self) -> PublishedPool | None:
        """See `ports.fleet`."""
        p = published_pool.c
        latest = select(p.payload, (db_now() - p.at).label("age_s")).order_by(p.at.desc()).limit(1)
        row = self._db.fetch(lambda conn: conn.execute(latest).one_or_none())
        if row is None:
            return None
        return PublishedPool.model_validate_json(row.payload).replaced(age_s=max(0.0, row.age_s))

    def publication(self) -> str | None:
        """See `ports.fleet`."""
        p = published_pool.c
        latest = select(p.config_hash, p.at).order_by(p.at.desc()).limit(1)
        row = self._db.fetch(lambda conn: conn.execute(latest).one_or_none())
        return None if row is None else f"{row.config_hash}@{row.at}"

    def clock_s(self) -> float:
        """See `ports.fleet`."""
        return self._db.fetch(lambda conn: float(conn.execute(select(db_now())).scalar_one()))

    def weights(self, keys: Sequence[str]) -> Mapping[str, WeightsRecord]:
        """See `ports.fleet`."""
        return self._db.fetch(lambda conn: _weights(conn, keys))

    def record_weights(self, key: str, record: WeightsRecord) -> WeightsRecord:
        """See `ports.fleet`."""
        return self._db.transact(lambda conn: _record(conn, checked_name("key", key), record))

    def forget_weights(self, keys: Sequence[str]) -> int:
        """See `ports.fleet`."""
        gone = delete(weights_record).where(weights_record.c.key.in_(list(keys)))
        return int(self._db.transact(lambda conn: conn.execute(gone).rowcount))


def _report(conn: Connection, row: dict[str, str]) -> None:
    put = upsert(conn, process_report).values(**row, since=db_now(), seen_at=db_now())
    conn.execute(
        put.on_conflict_do_update(
            index_elements=["process"],
            set_={"seen_at": put.excluded.seen_at, "payload": put.excluded.payload},
        )
    )
    p = process_report.c
    gone = select(p.process).where(p.seen_at < db_now() - REMEMBERED_S).with_for_update(skip_locked=True)
    if old := list(conn.execute(gone).scalars()):
        conn.execute(delete(process_report).where(p.process.in_(old)))


def _read(payload: str, age_s: float, seen_s: float) -> ProcessReport | None:
    """A report; None = one of another version, with what this one does not know."""
    try:
        report = ProcessReport.model_validate_json(payload)
    except ValueError:
        return None
    return report.replaced(age_s=max(0.0, age_s), seen_s=max(0.0, seen_s))


def _weights(conn: Connection, keys: Sequence[str]) -> dict[str, WeightsRecord]:
    w = weights_record.c
    rows = conn.execute(select(w.key, w.payload).where(w.key.in_(list(keys))))
    return {row.key: WeightsRecord.model_validate_json(row.payload) for row in rows}


def _record(conn: Connection, key: str, record: WeightsRecord) -> WeightsRecord:
    row = {"key": key, "at": db_now(), "payload": _storable(record.model_dump_json())}
    conn.execute(insert_or_ignore(conn, weights_record).values(row))
    w = weights_record.c
    payload = conn.execute(select(w.payload).where(w.key == key).with_for_update()).scalar_one()
    known = WeightsRecord.model_validate_json(payload)
    whole = {mark.name: mark for mark in record.files if mark.whole}
    files = tuple(
        mark.replaced(whole=mine.whole)
        if not mark.whole
        and (mine := whole.get(mark.name))
        and (mine.size, mine.ends) == (mark.size, mark.ends)
        else mark
        for mark in known.files
    )
    if files == known.files:
        return known
    fuller = known.replaced(files=files)
    conn.execute(
        weights_record.update().where(w.key == key).values(payload=_storable(fuller.model_dump_json()))
    )
    return fuller


def _storable(text: str) -> str:
    """JSON without what no column takes: a NUL, escaped."""
    return text.replace("\\u0000", " ").encode(errors="replace").decode()
