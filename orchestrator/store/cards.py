"""The card store: `ports.CardStore` over the same database."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

from orchestrator.domain.cards import CompetenceCard, DatedCard
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.cards import OutcomeRow, ScoreKey, ScoreRow
from orchestrator.store import tables as t
from orchestrator.store.codec import checked_name, to_json
from orchestrator.store.database import Database, chunked, db_now, insert_or_replace

CHUNK = 500

_OUTCOME: TypeAdapter[OutcomeRow] = TypeAdapter(OutcomeRow)
_PROFILE: TypeAdapter[list[tuple[Query, tuple[SkillTag, ...]]]] = TypeAdapter(
    list[tuple[Query, tuple[SkillTag, ...]]]
)


_LAST_CARD = select(t.card.c.pk, t.card.c.profile_hash).order_by(t.card.c.pk.desc()).limit(1)
_CARDS_OF = (
    select(t.card.c.pk, t.card.c.expert_id, t.card.c.payload)
    .where(t.card.c.profile_hash == bindparam("wanted"))
    .order_by(t.card.c.pk)
)


class SqlCardStore:
    """Outcomes, cards and profile sets. The last outcome of an expert on a question counts."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: tuple[int | None, dict[str, CompetenceCard]] = (None, {})

    def known_outcomes(self, fingerprint: str, query_hashes: Sequence[str]) -> dict[str, OutcomeRow]:
        o = t.outcome.c
        wanted = select(o.query_hash, o.payload).where(o.fingerprint == fingerprint)

        def read(conn: Connection) -> list[Row[Any]]:
            found: list[Row[Any]] = []
            for chunk in chunked(query_hashes, CHUNK):
                found += conn.execute(wanted.where(o.query_hash.in_(chunk)))
            return found

        return {row.query_hash: _OUTCOME.validate_json(row.payload) for row in self._db.fetch(read)}

    def save_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        records = [
            {
                "fingerprint": row.fingerprint,
                "query_hash": row.query_hash,
                "outcome": row.outcome,
                "payload": _OUTCOME.dump_json(row).decode(),
            }
            for row in rows
        ]

        def write(conn: Connection) -> None:
            for chunk in chunked(records, CHUNK):
                conn.execute(insert_or_replace(conn, t.outcome), chunk)

        self._db.transact(write)

    def known_scores(
        self, source: GradeSource, judge: str, fingerprint: str, query_hashes: Sequence[str]
    ) -> dict[str, ScoreRow]:
        s = t.score.c
        given = (s.source == source.value, s.judge == judge, s.fingerprint == fingerprint)
        wanted = select(s.query_hash, s.score, s.basis).where(*given)

        def read(conn: Connection) -> list[Row[Any]]:
            found: list[Row[Any]] = []
            for chunk in chunked(query_hashes, CHUNK):
                found += conn.execute(wanted.where(s.query_hash.in_(chunk)))
            return found

        rows = self._db.fetch(read)
        return {
            r.query_hash: ScoreRow(source, judge, fingerprint, r.query_hash, r.score, r.basis) for r in rows
        }

    def save_scores(self, rows: Sequence[ScoreRow], *, forgotten: Sequence[ScoreKey] = ()) -> None:
        # In one order everywhere, so that no two transactions wait for each other.
        ordered = sorted(rows, key=lambda row: row[:4])
        records = [{**row._asdict(), "source": row.source.value} for row in ordered]
        s = t.score.c
        for judge in {row.judge for row in rows}:
            checked_name("judge", judge)

        def write(conn: Connection) -> None:
            for chunk in chunked(records, CHUNK):
                conn.execute(insert_or_replace(conn, t.score), chunk)
            for source, judge, fingerprint, query_hash in sorted(forgotten):
                key = (s.source == source.value, s.judge == judge)
                of = (s.fingerprint == fingerprint, s.query_hash == query_hash)
                conn.execute(delete(t.score).where(*key, *of))

        self._db.transact(write)

    def save_card(self, card: CompetenceCard) -> None:
        row = {"expert_id": card.expert_id, "profile_hash": card.profile_hash, "payload": to_json(card)}
        self._db.transact(lambda conn: conn.execute(insert(t.card).values(**row, created_at=db_now())))

    def cards(self, profile_hash: str | None = None) -> dict[str, CompetenceCard]:
        """Newest card per expert of a profile set; by default of the set that was last given a card, which
        are read once: cards are added and never changed, so that the last one tells whether there are others.
        """
        if profile_hash is not None:
            rows = self._db.fetch(lambda conn: conn.execute(_CARDS_OF, {"wanted": profile_hash}).all())
            return _newest(rows)
        last = self._db.fetch(lambda conn: conn.execute(_LAST_CARD).first())
        if last is None:
            return {}
        pk, cards = self._known
        if pk != last.pk:
            of_last = {"wanted": last.profile_hash}
            rows = self._db.fetch(lambda conn: conn.execute(_CARDS_OF, of_last).all())
            cards = _newest(rows)
            self._known = (max(row.pk for row in rows), cards)
        return dict(cards)

    def history(self, expert_id: str, *, limit: int) -> list[DatedCard]:
        """See `ports.cards.CardHistory`."""
        c = t.card.c
        newest = select(func.max(c.pk)).where(c.expert_id == expert_id).group_by(c.profile_hash)
        wanted = select(c.payload, c.created_at).where(c.pk.in_(newest)).order_by(c.pk.desc()).limit(limit)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).all())
        return [DatedCard(CompetenceCard.model_validate_json(row.payload), row.created_at) for row in rows]

    def dates(self, profile_hash: str) -> dict[str, float]:
        """See `ports.cards.CardHistory`."""
        c = t.card.c
        newest = select(func.max(c.pk)).where(c.profile_hash == profile_hash).group_by(c.expert_id)
        wanted = select(c.expert_id, c.created_at).where(c.pk.in_(newest), c.created_at.is_not(None))
        rows = self._db.fetch(lambda conn: conn.execute(wanted).all())
        return {row.expert_id: row.created_at for row in rows}

    def save_profile_set(
        self, profile_hash: str, queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]
    ) -> None:
        """Store a profile set, or replace it; either way it is the newest then."""
        pairs = list(zip(queries, skills, strict=True))
        row = {"profile_hash": profile_hash, "payload": _PROFILE.dump_json(pairs).decode()}

        def write(conn: Connection) -> None:
            conn.execute(delete(t.profile_set).where(t.profile_set.c.profile_hash == profile_hash))
            conn.execute(insert(t.profile_set), row)

        self._db.transact(write)

    def profile_set(self, profile_hash: str) -> list[tuple[Query, tuple[SkillTag, ...]]] | None:
        wanted = select(t.profile_set.c.payload).where(t.profile_set.c.profile_hash == profile_hash)
        payload = self._db.fetch(lambda conn: conn.execute(wanted).scalar())
        return None if payload is None else _PROFILE.validate_json(payload)

    def latest_profile_hash(self) -> str | None:
        last = select(t.profile_set.c.profile_hash).order_by(t.profile_set.c.pk.desc()).limit(1)
        return self._db.fetch(lambda conn: conn.execute(last).scalar())


def _newest(rows: Sequence[Row[Any, Any, Any]]) -> dict[str, CompetenceCard]:
    newest = {row.expert_id: row.payload for row in rows}
    return {expert_id: CompetenceCard.model_validate_json(payload) for expert_id, payload in newest.items()}
