"""Exchanges as they are stored."""

from typing import Protocol

from orchestrator.domain.exchanges import Exchange


class ExchangeStore(Protocol):
    """Exchanges of conversations; each goes with its job."""

    def keep(self, exchange: Exchange) -> None:
        """Store an exchange, in place of one of the same id."""

    def exchange(self, exchange_id: str) -> Exchange:
        """One exchange by its id.

        Raises:
            NotFoundError: no such exchange.
        """

    def chain(self, exchange_id: str, *, most: int) -> list[Exchange]:
        """The exchange with those that it goes on from, the oldest first; of more than `most`, the last ones.
        One whose beginning was deleted begins where that ended.

        Raises:
            NotFoundError: no such exchange.
        """

    def forget(self, exchange_id: str) -> None:
        """Delete an exchange; its job stays."""
