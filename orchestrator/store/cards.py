"""The card store: `ports.CardStore` over the same database."""

from collections.abc import Sequence

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select

from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.cards import OutcomeRow
from orchestrator.store import tables as t
from orchestrator.store.codec import to_json
from orchestrator.store.database import Database, chunked, insert_or_replace

CHUNK = 500

_OUTCOME: TypeAdapter[OutcomeRow] = TypeAdapter(OutcomeRow)
_PROFILE: TypeAdapter[list[tuple[Query, tuple[SkillTag, ...]]]] = TypeAdapter(
    list[tuple[Query, tuple[SkillTag, ...]]]
)


class SqlCardStore:
    """Outcomes, cards and profile sets. The last outcome of an expert on a question counts."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known_outcomes(self, fingerprint: str, query_hashes: Sequence[str]) -> dict[str, OutcomeRow]:
        o = t.outcome.c
        found: dict[str, OutcomeRow] = {}
        with self._db.read() as conn:
            for chunk in chunked(query_hashes, CHUNK):
                wanted = select(o.query_hash, o.payload)
                rows = conn.execute(wanted.where(o.fingerprint == fingerprint, o.query_hash.in_(chunk)))
                found |= {query_hash: _OUTCOME.validate_json(payload) for query_hash, payload in rows}
        return found

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
        with self._db.write() as conn:
            for chunk in chunked(records, CHUNK):
                conn.execute(insert_or_replace(conn, t.outcome), chunk)

    def save_card(self, card: CompetenceCard) -> None:
        row = {"expert_id": card.expert_id, "profile_hash": card.profile_hash, "payload": to_json(card)}
        with self._db.write() as conn:
            conn.execute(insert(t.card), row)

    def cards(self, profile_hash: str | None = None) -> dict[str, CompetenceCard]:
        """Newest card per expert of a profile set; by default of the set that was last given a card."""
        with self._db.read() as conn:
            if profile_hash is None:
                last = select(t.card.c.profile_hash).order_by(t.card.c.pk.desc()).limit(1)
                profile_hash = conn.execute(last).scalar()
            wanted = select(t.card.c.expert_id, t.card.c.payload).order_by(t.card.c.pk)
            rows = conn.execute(wanted.where(t.card.c.profile_hash == profile_hash)).all()
        newest = {row.expert_id: row.payload for row in rows}
        return {
            expert_id: CompetenceCard.model_validate_json(payload) for expert_id, payload in newest.items()
        }

    def save_profile_set(
        self, profile_hash: str, queries: Sequence[Query], skills: Sequence[tuple[SkillTag, ...]]
    ) -> None:
        """Store a profile set, or replace it; either way it is the newest then."""
        pairs = list(zip(queries, skills, strict=True))
        row = {"profile_hash": profile_hash, "payload": _PROFILE.dump_json(pairs).decode()}
        with self._db.write() as conn:
            conn.execute(delete(t.profile_set).where(t.profile_set.c.profile_hash == profile_hash))
            conn.execute(insert(t.profile_set), row)

    def profile_set(self, profile_hash: str) -> list[tuple[Query, tuple[SkillTag, ...]]] | None:
        wanted = select(t.profile_set.c.payload).where(t.profile_set.c.profile_hash == profile_hash)
        with self._db.read() as conn:
            payload = conn.execute(wanted).scalar()
        return None if payload is None else _PROFILE.validate_json(payload)

    def latest_profile_hash(self) -> str | None:
        last = select(t.profile_set.c.profile_hash).order_by(t.profile_set.c.pk.desc()).limit(1)
        with self._db.read() as conn:
            return conn.execute(last).scalar()
