"""The store of exchanges: `ports.ExchangeStore` over the same database."""

from sqlalchemy import Connection, delete, select

from orchestrator.domain.exchanges import Exchange
from orchestrator.domain.keys import nothing_found
from orchestrator.store import tables as t
from orchestrator.store.codec import is_name, shown, to_json
from orchestrator.store.database import Database, insert_or_replace


class SqlExchangeStore:
    """Exchanges; each goes when its job is deleted (`store.deleting`)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def keep(self, exchange: Exchange) -> None:
        row = {"id": exchange.id, "job_id": exchange.job_id, "payload": to_json(exchange)}
        self._db.transact(lambda conn: conn.execute(insert_or_replace(conn, t.exchange).values(row)))

    def exchange(self, exchange_id: str) -> Exchange:
        found = self._db.fetch(lambda conn: _find(conn, exchange_id))
        if found is None:
            raise nothing_found("response", shown(exchange_id))
        return found

    def chain(self, exchange_id: str, *, most: int) -> list[Exchange]:
        def read(conn: Connection) -> list[Exchange]:
            found: list[Exchange] = []
            wanted: str | None = exchange_id
            while wanted is not None and len(found) < most and (one := _find(conn, wanted)) is not None:
                found.append(one)
                wanted = one.previous_id
            return found

        chain = self._db.fetch(read)
        if not chain:
            raise nothing_found("response", shown(exchange_id))
        return chain[::-1]

    def forget(self, exchange_id: str) -> None:
        gone = delete(t.exchange).where(t.exchange.c.id == exchange_id)
        self._db.transact(lambda conn: conn.execute(gone))


def _find(conn: Connection, exchange_id: str) -> Exchange | None:
    if not is_name(exchange_id):
        return None
    payload = conn.execute(select(t.exchange.c.payload).where(t.exchange.c.id == exchange_id)).scalar()
    return None if payload is None else Exchange.model_validate_json(payload)
