"""Places of what was deleted, for a while: a page may begin after an item that has left the list."""

import hashlib
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Double, Index, Text, delete, select
from sqlmodel import Field

from orchestrator.store.codec import is_name
from orchestrator.store.database import db_now, insert_or_replace
from orchestrator.store.tables import METADATA, StoredRow

KEPT_S = 86_400.0
"""For how long a page may begin after what was deleted."""
AT_ONCE = 1000
"""Places that are forgotten with each deletion, at most."""


class DepartedRow(StoredRow, table=True):
    """Place of an item that was deleted. Of its id a hash is kept, and nothing else of it."""

    __table_args__ = (Index("ix_departed_left_at", "left_at"),)

    id_hash: str = Field(primary_key=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    place: int = Field(sa_type=BigInteger)
    left_at: float = Field(sa_type=Double)


departed = METADATA.tables["departed"]


def leave(conn: Connection, kind: str, item_id: str, *, owner: str, place: int) -> None:
    """An item of a list is about to be deleted. `place`: its number in the list's order."""
    d = departed.c
    old = select(d.id_hash).where(d.left_at < db_now() - KEPT_S).limit(AT_ONCE)
    gone = conn.execute(old.with_for_update(skip_locked=True)).scalars().all()
    if gone:
        conn.execute(delete(departed).where(d.id_hash.in_(gone)))
    row = {"id_hash": _hash(kind, item_id), "owner": owner, "place": place, "left_at": db_now()}
    conn.execute(insert_or_replace(conn, departed).values(row))


def place_of(conn: Connection, kind: str, item_id: str, *, owner: str | None) -> int | None:
    """The number that a deleted item had; None = there was none of this owner (None = of anybody)."""
    if not is_name(item_id):
        return None
    wanted: Any = select(departed.c.place).where(departed.c.id_hash == _hash(kind, item_id))
    if owner is not None:
        wanted = wanted.where(departed.c.owner == owner)
    place: int | None = conn.execute(wanted).scalar()
    return place


def beyond(pk: ColumnElement[int], place: int, *, is_left: bool, goes_down: bool) -> ColumnElement[bool]:
    """Condition of the rows after a place. `is_left`: of what was deleted, whose number a newer row may have;
    `goes_down`: the newest come first."""
    if goes_down:
        return pk < place
    return pk >= place if is_left else pk > place


def _hash(kind: str, item_id: str) -> str:
    return hashlib.sha256(f"{kind} {item_id}".encode()).hexdigest()
