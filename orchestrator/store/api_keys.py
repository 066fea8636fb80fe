"""The store of keys: `ports.KeyStore` over the same database."""

import hmac
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from orchestrator.domain.keys import ApiKey, nothing_found
from orchestrator.domain.spending import Account
from orchestrator.store.codec import checked_name, is_name, shown, to_json
from orchestrator.store.database import Database
from orchestrator.store.key_tables import api_key
from orchestrator.store.spending import accounts_of


class SqlKeyStore:
    """Keys of the API."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, key: ApiKey, digest: str) -> None:
        row = {"id": checked_name("key", key.id), "digest": digest}
        values = {**row, "payload": to_json(key), "created_at": key.created_at}
        self._db.transact(lambda conn: conn.execute(insert(api_key).values(values)))

    def find(self, digest: str) -> ApiKey | None:
        k = api_key.c
        row = self._db.fetch(
            lambda conn: conn.execute(select(k.digest, k.payload).where(k.digest == digest)).first()
        )
        # The index found it by comparing digests, which says nothing of the secret; this says it is the same.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return ApiKey.model_validate_json(row.payload)

    def listed(self) -> list[ApiKey]:
        k = api_key.c
        wanted = select(k.payload).order_by(k.created_at.desc(), k.id)
        rows = self._db.fetch(lambda conn: conn.execute(wanted).scalars().all())
        return [ApiKey.model_validate_json(payload) for payload in rows]

    def revoke(self, key_id: str, *, now_s: float) -> ApiKey:
        def write(conn: Connection) -> ApiKey:
            key = _locked(conn, key_id)
            if key.revoked_at is None:
                key = key.replaced(revoked_at=now_s)
                changed = update(api_key).where(api_key.c.id == key_id)
                conn.execute(changed.values(payload=to_json(key)))
            return key

        return self._db.transact(write)

    def accounts(self, keys: Sequence[ApiKey], *, now_s: float) -> dict[str, Account]:
        return self._db.fetch(lambda conn: accounts_of(conn, keys, now_s=now_s))

    def has_any(self) -> bool:
        wanted = select(api_key.c.id).limit(1)
        return self._db.fetch(lambda conn: conn.execute(wanted).first()) is not None


def _locked(conn: Connection, key_id: str) -> ApiKey:
    """
    Raises:
        NotFoundError: no such key.
    """
    wanted = select(api_key.c.payload).where(api_key.c.id == key_id).with_for_update()
    payload = conn.execute(wanted).scalar() if is_name(key_id) else None
    if payload is None:
        raise nothing_found("key", shown(key_id))
    return ApiKey.model_validate_json(payload)
