"""Keys in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.domain.keys import ApiKey, nothing_found
from orchestrator.domain.spending import Account


@dataclass
class FakeKeyStore:
    """Counts how often it is looked at."""

    by_digest: dict[str, ApiKey] = field(default_factory=dict)
    n_finds: int = 0

    def add(self, key: ApiKey, digest: str) -> None:
        self.by_digest[digest] = key

    def find(self, digest: str) -> ApiKey | None:
        self.n_finds += 1
        return self.by_digest.get(digest)

    def listed(self) -> list[ApiKey]:
        return sorted(self.by_digest.values(), key=lambda key: -key.created_at)

    def revoke(self, key_id: str, *, now_s: float) -> ApiKey:
        for digest, key in self.by_digest.items():
            if key.id == key_id:
                self.by_digest[digest] = key.replaced(revoked_at=now_s)
                return self.by_digest[digest]
        raise nothing_found("key", key_id)

    def accounts(self, keys: Sequence[ApiKey], *, now_s: float) -> dict[str, Account]:
        return {}

    def has_any(self) -> bool:
        return bool(self.by_digest)
