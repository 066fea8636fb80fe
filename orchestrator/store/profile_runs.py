"""The store of runs of profiling: `ports.profile_runs.ProfileRuns` over the database."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, select, text, tuple_, update

from orchestrator.domain.pages import Page, PageRequest, cut, nothing_after
from orchestrator.domain.profile_runs import LIVE, SILENT_S, ProfileRun, RunState
from orchestrator.errors import NotFoundError
from orchestrator.store.codec import is_name, shown, to_json
from orchestrator.store.database import Database, db_now
from orchestrator.store.sum_tables import profile_run

_ADDING = 0x6D757072
"""PostgreSQL's advisory lock of `add`; on SQLite the write lock serves."""

_LIVE = sorted(LIVE)


class SqlProfileRuns:
    """Runs of profiling."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, run: ProfileRun) -> bool:
        """See `ports.profile_runs`."""
        return self._db.transact(lambda conn: _add(conn, run))

    def run(self, run_id: str) -> ProfileRun:
        """See `ports.profile_runs`."""
        return self._db.fetch(lambda conn: _read(conn, run_id))

    def page(self, request: PageRequest) -> Page[ProfileRun]:
        """See `ports.profile_runs`."""
        return self._db.fetch(lambda conn: _page(conn, request))

    def change(
        self, run_id: str, change: Callable[[ProfileRun], ProfileRun], *, alive: bool = False
    ) -> ProfileRun:
        """See `ports.profile_runs`."""

        def write(conn: Connection) -> ProfileRun:
            changed = change(_read(conn, run_id, lock=True))
            row: dict[str, Any] = {"state": changed.state, "payload": to_json(changed)}
            if alive:
                row["seen_at"] = db_now()
            conn.execute(update(profile_run).where(profile_run.c.id == run_id).values(row))
            return changed

        return self._db.transact(write)


def _add(conn: Connection, run: ProfileRun) -> bool:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADDING})
    p = profile_run.c
    is_live = p.state.in_(_LIVE) & (p.seen_at >= db_now() - SILENT_S)
    if conn.execute(select(p.id).where(is_live).limit(1)).first() is not None:
        return False
    row = {"id": run.id, "state": run.state, "payload": to_json(run), "created_at": run.created_at}
    conn.execute(insert(profile_run).values({**row, "seen_at": db_now()}))
    return True


def _wanted() -> Any:
    p = profile_run.c
    return select(p.payload, (p.seen_at < db_now() - SILENT_S).label("is_silent"))


def _read(conn: Connection, run_id: str, *, lock: bool = False) -> ProfileRun:
    wanted = _wanted().where(profile_run.c.id == run_id)
    found = conn.execute(wanted.with_for_update() if lock else wanted).first() if is_name(run_id) else None
    if found is None:
        raise NotFoundError(
            f"there is no profile '{shown(run_id)}'.", param="id", remedy="List them: GET /v1/profiles."
        )
    return _run(found)


def _run(row: Any) -> ProfileRun:
    run = ProfileRun.model_validate_json(row.payload)
    return run.replaced(state=RunState.INTERRUPTED) if run.state in LIVE and row.is_silent else run


def _page(conn: Connection, request: PageRequest) -> Page[ProfileRun]:
    p = profile_run.c
    place, wanted = tuple_(p.created_at, p.id), _wanted()
    if request.after is not None:
        start = select(p.created_at, p.id).where(p.id == request.after)
        found = conn.execute(start).first() if is_name(request.after) else None
        if found is None:
            raise nothing_after(request.after)
        before = tuple_(found.created_at, found.id)
        wanted = wanted.where(place < before if request.is_newest_first else place > before)
    order = (p.created_at.desc(), p.id.desc()) if request.is_newest_first else (p.created_at, p.id)
    rows = conn.execute(wanted.order_by(*order).limit(request.limit + 1))
    return cut([_run(row) for row in rows], request.limit)
