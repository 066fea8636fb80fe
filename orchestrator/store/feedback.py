"""The feedback store: `ports.FeedbackStore` over the same database."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from orchestrator.domain.cards import Tally
from orchestrator.domain.feedback import Feedback, FeedbackCount
from orchestrator.domain.grades import GradeSource, GradeTally
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name, to_json
from orchestrator.store.database import Database, chunked, insert_or_ignore, upsert

CHUNK = 500
_DIGITS = 9


class SqlFeedbackStore:
    """Judgements of answers, and counts that are added up in the same transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def save_feedback(self, feedback: Feedback, counts: Sequence[FeedbackCount]) -> Feedback:
        checked_name("key", feedback.key)
        return self._db.transact(lambda conn: _save(conn, feedback, counts))

    def feedback_counts(self, fingerprints: Sequence[str], *, since_day: int) -> list[FeedbackCount]:
        c = t.feedback_count.c
        wanted = select(t.feedback_count).where(c.day >= since_day).order_by(c.fingerprint, c.skill, c.day)

        def read(conn: Connection) -> list[FeedbackCount]:
            chunks = chunked(fingerprints, CHUNK)
            return [
                _count(*row)
                for chunk in chunks
                for row in conn.execute(wanted.where(c.fingerprint.in_(chunk)))
            ]

        return self._db.fetch(read)

    def feedback_grades(self, fingerprints: Sequence[str]) -> dict[str, GradeTally]:
        s = t.score.c
        sums = (func.count(), func.sum(s.score), func.sum(s.score * s.score))
        wanted = select(s.fingerprint, *sums).where(s.source == GradeSource.FEEDBACK.value)

        def read(conn: Connection) -> dict[str, GradeTally]:
            return {
                row[0]: _tally(*row[1:])
                for chunk in chunked(fingerprints, CHUNK)
                for row in conn.execute(
                    wanted.where(s.fingerprint.in_(chunk)).group_by(s.fingerprint).order_by(s.fingerprint)
                )
            }

        return self._db.fetch(read)


def _tally(n: int, total: float, squares: float) -> GradeTally:
    # Databases add in any order: sums of the same scores must be the same.
    return GradeTally(n=n, total=round(total, _DIGITS), squares=round(squares, _DIGITS))


def _save(conn: Connection, feedback: Feedback, counts: Sequence[FeedbackCount]) -> Feedback:
    names = {"job_id": feedback.job_id, "query_id": feedback.query_id, "key": feedback.key}
    row = {**names, "payload": to_json(feedback)}
    inserted = insert_or_ignore(conn, t.feedback).returning(t.feedback.c.key)
    if conn.execute(inserted, row).first() is None:
        kept = select(t.feedback.c.payload).where(*(t.feedback.c[n] == v for n, v in names.items()))
        return Feedback.model_validate_json(conn.execute(kept).scalar_one())
    # In one order everywhere, so that no two transactions wait for each other.
    for count in sorted(counts, key=lambda count: count[:3]):
        _add(conn, count)
    return feedback


def _add(conn: Connection, count: FeedbackCount) -> None:
    statement = upsert(conn, t.feedback_count)
    sums = {name: t.feedback_count.c[name] + statement.excluded[name] for name in Tally.model_fields}
    added = statement.on_conflict_do_update(index_elements=list(t.feedback_count.primary_key), set_=sums)
    conn.execute(
        added,
        {
            "fingerprint": count.fingerprint,
            "skill": count.skill,
            "day": count.day,
            **count.tally.model_dump(),
        },
    )


def _count(
    fingerprint: str, skill: str, day: int, n_right: float, n_wrong: float, n_abstain: float
) -> FeedbackCount:
    return FeedbackCount(
        fingerprint, skill, day, Tally(n_right=n_right, n_wrong=n_wrong, n_abstain=n_abstain)
    )
