"""The store of merges: `ports.MergedExperts` and `ports.MergeJobs` over the same database."""

from collections.abc import Callable

from sqlalchemy import Connection, delete, func, insert, select, text, update

from orchestrator.domain.merges import LIVE_STATES, MergedExpert, MergeJob, MergeState
from orchestrator.errors import NotFoundError, StaleLeaseError
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name, is_name, shown, to_json
from orchestrator.store.database import Database, db_now, insert_or_replace

LIVE = sorted(LIVE_STATES)
OWNED = (MergeState.RUNNING, MergeState.CANCELLING)

_ADDING = 0x6D757367
"""PostgreSQL's advisory lock of `add`; on SQLite the write lock serves."""


class SqlMergeStore:
    """Merged experts, and jobs that merge."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def merged_experts(self) -> list[MergedExpert]:
        m = t.merged_expert.c
        wanted = select(m.payload).order_by(m.created_at, m.expert_id)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).scalars().all())
        return [MergedExpert.model_validate_json(payload) for payload in rows]

    def register(self, expert: MergedExpert) -> None:
        checked_name("expert", expert.id)
        row = {"expert_id": expert.id, "payload": to_json(expert), "created_at": db_now()}
        self._db.transact(lambda conn: conn.execute(insert_or_replace(conn, t.merged_expert).values(row)))

    def unregister(self, expert_id: str) -> bool:
        if not is_name(expert_id):
            return False
        gone = delete(t.merged_expert).where(t.merged_expert.c.expert_id == expert_id)
        return bool(self._db.transact(lambda conn: conn.execute(gone).rowcount))

    def add(self, job: MergeJob, *, most_live: int) -> bool:
        m = t.merge_job.c

        def write(conn: Connection) -> bool:
            if conn.dialect.name == "postgresql":
                conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADDING})
            n = conn.execute(select(func.count()).where(m.state.in_(LIVE))).scalar_one()
            if n >= most_live:
                return False
            row = {"id": job.id, "state": job.state, "payload": to_json(job), "created_at": job.created_at}
            conn.execute(insert(t.merge_job).values({**row, "owner": None, "seen_at": db_now()}))
            return True

        return self._db.transact(write)

    def merge_job(self, job_id: str) -> MergeJob:
        return self._db.fetch(lambda conn: _read(conn, job_id)[0])

    def merge_jobs(self, *, limit: int) -> list[MergeJob]:
        m = t.merge_job.c
        wanted = select(m.payload).order_by(m.created_at.desc(), m.id).limit(limit)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).scalars().all())
        return [MergeJob.model_validate_json(payload) for payload in rows]

    def change(
        self,
        job_id: str,
        change: Callable[[MergeJob], MergeJob],
        *,
        owner: str | None,
        keeps_owner: bool = False,
        held_by: str | None = None,
    ) -> MergeJob:
        def write(conn: Connection) -> MergeJob:
            job, holder = _read(conn, job_id, lock=True)
            if held_by is not None and holder != held_by:
                raise StaleLeaseError(f"merge '{job_id}' is another's, or nobody's, by now.")
            changed = change(job)
            _write(conn, changed, owner, keeps_owner=keeps_owner)
            return changed

        return self._db.transact(write)

    def take(self, owner: str, *, silent_s: float) -> MergeJob | None:
        m = t.merge_job.c
        # What another locks, another takes: no job is anybody's twice.
        free = select(m.payload).order_by(m.created_at, m.id).with_for_update(skip_locked=True)
        lost = free.where(m.state.in_(OWNED), m.seen_at < db_now() - silent_s)
        oldest = free.where(m.state == MergeState.QUEUED).limit(1)

        def write(conn: Connection) -> MergeJob | None:
            for payload in conn.execute(lost).scalars().all():
                job = MergeJob.model_validate_json(payload)
                ended = job.state is MergeState.CANCELLING
                state = MergeState.CANCELLED if ended else MergeState.INTERRUPTED
                _write(conn, job.replaced(state=state, progress=""), None)
            payload = conn.execute(oldest).scalar()
            if payload is None:
                return None
            job = MergeJob.model_validate_json(payload).replaced(state=MergeState.RUNNING)
            _write(conn, job, owner)
            return job

        return self._db.transact(write)


def _read(conn: Connection, job_id: str, *, lock: bool = False) -> tuple[MergeJob, str | None]:
    """A job and its owner.

    Raises:
        NotFoundError: no such job.
    """
    m = t.merge_job.c
    wanted = select(m.payload, m.owner).where(m.id == job_id)
    found = conn.execute(wanted.with_for_update() if lock else wanted).first() if is_name(job_id) else None
    if found is None:
        raise NotFoundError(
            f"there is no merge '{shown(job_id)}'.", param="id", remedy="List them: GET /v1/merges."
        )
    return MergeJob.model_validate_json(found.payload), found.owner


def _write(conn: Connection, job: MergeJob, owner: str | None, *, keeps_owner: bool = False) -> None:
    row: dict[str, object] = {"state": job.state, "payload": to_json(job)}
    if not keeps_owner:
        row |= {"owner": owner, "seen_at": db_now()}
    conn.execute(update(t.merge_job).where(t.merge_job.c.id == job.id).values(row))
