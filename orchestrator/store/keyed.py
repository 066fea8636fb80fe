"""The store of keyed requests: `ports.KeyedRequests` over the same database."""

from sqlalchemy import ColumnElement, Connection, delete, select, update

from orchestrator.domain.keyed import KeyedRequest, Reply, RequestKey
from orchestrator.store import tables as t
from orchestrator.store.codec import to_json
from orchestrator.store.database import Database, db_now, insert_or_ignore

Condition = ColumnElement[bool]


class SqlKeyedRequestStore:
    """Requests that came with an Idempotency-Key, and their replies."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin(self, key: RequestKey, *, unique: str, fingerprint: str) -> KeyedRequest:
        return self._db.transact(lambda conn: _begin(conn, key, unique, fingerprint))

    def finish(self, key: RequestKey, *, unique: str, reply: Reply) -> Reply:
        return self._db.transact(lambda conn: _finish(conn, [*_of(key), _is(unique)], reply))

    def abandon(self, key: RequestKey, *, unique: str) -> None:
        open_ = t.keyed_request.c.reply.is_(None)
        gone = delete(t.keyed_request).where(*_of(key), _is(unique), open_)
        self._db.transact(lambda conn: conn.execute(gone))

    def forget(self, resource_id: str) -> None:
        self._db.transact(lambda conn: forget(conn, resource_id))

    def drop_old(self, kept_s: float, *, limit: int) -> int:
        k = t.keyed_request.c
        old = select(k.pk).where(k.created_at < db_now() - kept_s).order_by(k.created_at).limit(limit)

        def drop(conn: Connection) -> int:
            pks = conn.execute(old.with_for_update(skip_locked=True)).scalars().all()
            return conn.execute(delete(t.keyed_request).where(k.pk.in_(pks))).rowcount if pks else 0

        return self._db.transact(drop)


def forget(conn: Connection, resource_id: str) -> None:
    """Drop the requests that made the thing of this id: it ends in their `unique`, after `-` or `_`."""
    unique = resource_id.replace("_", "-").rpartition("-")[2]
    conn.execute(delete(t.keyed_request).where(_is(unique)))


def _begin(conn: Connection, key: RequestKey, unique: str, fingerprint: str) -> KeyedRequest:
    row = {**key._asdict(), "unique_id": unique, "fingerprint": fingerprint}
    k = t.keyed_request.c
    wanted = select(k.unique_id, k.fingerprint, k.created_at, k.reply).where(*_of(key))
    found = None
    while found is None:  # another may free the key between the two
        conn.execute(insert_or_ignore(conn, t.keyed_request).values(**row, created_at=db_now()))
        found = conn.execute(wanted).first()
    reply = None if found.reply is None else Reply.model_validate_json(found.reply)
    return KeyedRequest(
        unique=found.unique_id, fingerprint=found.fingerprint, created_at=found.created_at, reply=reply
    )


def _finish(conn: Connection, its: list[Condition], reply: Reply) -> Reply:
    k = t.keyed_request.c
    conn.execute(update(t.keyed_request).where(*its, k.reply.is_(None)).values(reply=to_json(reply)))
    stored = conn.execute(select(k.reply).where(*its)).scalar()
    return reply if stored is None else Reply.model_validate_json(stored)


def _of(key: RequestKey) -> list[Condition]:
    k = t.keyed_request.c
    return [k.owner == key.owner, k.path == key.path, k.key_hash == key.key_hash]


def _is(unique: str) -> Condition:
    return t.keyed_request.c.unique_id == unique
