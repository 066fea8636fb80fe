"""Keys that the processes of a stack share: whoever may read the database is one of them."""

import secrets

from sqlalchemy import select

from orchestrator.store import tables as t
from orchestrator.store.database import Database, db_now, insert_or_ignore

N_BYTES = 32


def shared_key(database: Database, purpose: str) -> bytes:
    """The key for a purpose; the first who asks draws it, and everybody gets the same.

    Raises:
        StoreError: the database cannot be used.
    """
    k = t.shared_key.c
    wanted = select(k.value).where(k.purpose == purpose)
    known = database.fetch(lambda conn: conn.execute(wanted).scalar())
    if known is None:
        drawn = {"purpose": purpose, "value": secrets.token_hex(N_BYTES), "created_at": db_now()}
        database.transact(lambda conn: conn.execute(insert_or_ignore(conn, t.shared_key).values(drawn)))
        known = database.fetch(lambda conn: conn.execute(wanted).scalar_one())
    return bytes.fromhex(known)
