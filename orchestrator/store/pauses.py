"""The store of pauses: `ports.pauses.PauseStore` over the database."""

from sqlalchemy import delete, select

from orchestrator.domain.pauses import ExpertPause
from orchestrator.store.codec import checked_name, is_name
from orchestrator.store.database import Database, db_now, upsert
from orchestrator.store.sum_tables import expert_pause


class SqlPauseStore:
    """Pauses of experts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def pauses(self) -> list[ExpertPause]:
        """See `ports.pauses`."""
        p = expert_pause.c
        for_s = (db_now() - p.since).label("for_s")
        wanted = select(p.expert_id, p.since, p.reason, for_s).order_by(p.expert_id)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).all())
        return [
            ExpertPause(expert_id=row[0], since=row[1], reason=row[2], for_s=max(0.0, row[3])) for row in rows
        ]

    def pause(self, expert_id: str, *, reason: str) -> None:
        """See `ports.pauses`."""
        row = {
            "expert_id": checked_name("expert", expert_id),
            "since": db_now(),
            "reason": checked_name("reason", reason),
        }
        self._db.transact(
            lambda conn: conn.execute(
                upsert(conn, expert_pause)
                .values(row)
                .on_conflict_do_update(index_elements=["expert_id"], set_={"reason": row["reason"]})
            )
        )

    def resume(self, expert_id: str) -> bool:
        """See `ports.pauses`."""
        if not is_name(expert_id):
            return False
        gone = delete(expert_pause).where(expert_pause.c.expert_id == expert_id)
        return bool(self._db.transact(lambda conn: conn.execute(gone).rowcount))
