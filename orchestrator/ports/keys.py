"""Keys on the books."""

from collections.abc import Sequence
from typing import Protocol

from orchestrator.domain.keys import ApiKey
from orchestrator.domain.spending import Account


class KeyStore(Protocol):
    """Keys: kept, found by the hash of their secret, revoked. Every method is one transaction."""

    def add(self, key: ApiKey, digest: str) -> None:
        """Keep a new key.

        Args:
            digest: hash of its secret, by which `find` finds it.
        """

    def find(self, digest: str) -> ApiKey | None:
        """The key whose secret has this hash, also one that is revoked or over."""

    def listed(self) -> list[ApiKey]:
        """Every key, the newest first."""

    def revoke(self, key_id: str, *, now_s: float) -> ApiKey:
        """End a key for good; one that was revoked stays as it is.

        Raises:
            NotFoundError: no such key.
        """

    def accounts(self, keys: Sequence[ApiKey], *, now_s: float) -> dict[str, Account]:
        """Accounts of those of these keys that have a budget and used it in its present period."""

    def has_any(self) -> bool:
        """True if a key was ever made, revoked ones included."""
