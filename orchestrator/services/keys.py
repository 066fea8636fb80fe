"""Keys: made, listed, revoked, and asked for who calls."""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection, Sequence

from orchestrator.domain.keys import (
    KEYLESS,
    ApiKey,
    Caller,
    KeyTerms,
    digest_of,
    draw_secret,
    is_secret,
    shown_of,
)
from orchestrator.domain.spending import Account
from orchestrator.errors import InputError, InvalidKeyError, UnknownNameError
from orchestrator.ports.clock import Clock, EpochClock
from orchestrator.ports.keys import KeyStore

KNOWN_S = 2.0
"""For how long a process relies on what it read of a key: after so many seconds at most, all of a stack
know that it was revoked."""

MOST_KNOWN = 10_000
AGAIN_S = 60.0
"""For how long the secret of a key is told again to the form that it was made by."""

_REMEDY = "Send a key of `muster keys create` as a bearer token in `Authorization`."


class Keys:
    """Keys of the API.

    Args:
        experts: ids of the pool.
    """

    def __init__(
        self,
        store: KeyStore,
        *,
        experts: Collection[str],
        now_s: EpochClock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._experts = experts
        self._now_s = now_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._made: dict[str, tuple[float, ApiKey, str]] = {}
        self._making = threading.Lock()
        self._has_any = False
        self._looked_at = float("-inf")

    def create(self, terms: KeyTerms, *, nonce: str = "") -> tuple[ApiKey, str]:
        """Make a key; it, and its secret, which nobody can be shown again.

        Args:
            nonce: of the form that asks; one that comes again within a minute is told of the key that it has
                made. "" = each call makes one.

        Raises:
            UnknownNameError: an expert that is not in the pool.
            InputError: a key that would be over already, or that was made for this nonce before.
        """
        for expert_id in terms.experts or ():
            if expert_id not in self._experts:
                raise UnknownNameError("expert", expert_id, self._experts, param="experts")
        now = self._now_s()
        if terms.expires_at is not None and terms.expires_at <= now:
            raise InputError(
                "this key would be over already.", param="expires_at", remedy="Give a later time."
            )
        if not nonce:
            return self._create(terms, uuid.uuid4().hex[:16], now)
        name = digest_of(f"{nonce} {terms.name} {terms.scopes}")[:16]
        with self._making:
            return self._once(terms, name, now)

    def _once(self, terms: KeyTerms, name: str, now_s: float) -> tuple[ApiKey, str]:
        """The key of a name: made now, or a moment ago by this process."""
        now = self._clock()
        self._made = {name: made for name, made in self._made.items() if now - made[0] <= AGAIN_S}
        if name in self._made:
            return self._made[name][1:]
        if any(key.id == _id_of(name) for key in self._store.listed()):
            raise InputError(
                "this form has made a key before.",
                remedy="Load the page anew. A key whose secret nobody has seen is to be revoked.",
            )
        key, secret = self._create(terms, name, now_s)
        self._made[name] = (now, key, secret)
        return key, secret

    def _create(self, terms: KeyTerms, name: str, now_s: float) -> tuple[ApiKey, str]:
        secret = draw_secret()
        key = ApiKey(id=_id_of(name), shown=shown_of(secret), terms=terms, created_at=now_s)
        self._store.add(key, digest_of(secret))
        self._has_any = True
        return key, secret

    def listed(self) -> list[ApiKey]:
        """Every key, the newest first."""
        return self._store.listed()

    def accounts(self, keys: Sequence[ApiKey]) -> dict[str, Account]:
        """Accounts of those of these keys that have a budget and used it in its present period."""
        return self._store.accounts(keys, now_s=self._now_s())

    def revoke(self, key_id: str) -> ApiKey:
        """End a key for good. Other processes notice within `KNOWN_S`.

        Raises:
            NotFoundError: no such key.
        """
        key = self._store.revoke(key_id, now_s=self._now_s())
        with self._lock:
            self._known.clear()
        return key

    def are_known_not_to_be_needed(self) -> bool:
        """True if nobody was asked for a key a moment ago; looks at no book."""
        return not self._has_any and self._clock() - self._looked_at <= KNOWN_S / 2

    def are_needed(self) -> bool:
        """True if a call needs a key: one was made at some time. That all are revoked opens nothing."""
        if self._has_any:
            return True
        if not self.are_known_not_to_be_needed():
            now = self._clock()
            self._has_any = self._store.has_any()
            self._looked_at = now
        return self._has_any

    def recall(self, secret: str | None) -> ApiKey | None:
        """The key of a secret, if it is known without a look at the books, and valid."""
        if secret is None:
            return None
        with self._lock:
            read_at, key = self._known.get(digest_of(secret), (0.0, None))
        if key is None or self._clock() - read_at > KNOWN_S or not key.is_valid(self._now_s()):
            return None
        return key

    def identify(self, secret: str | None) -> ApiKey | None:
        """The key that a call came with; None = none is needed.

        Raises:
            InvalidKeyError: one is needed, and there is none, or it is unknown, revoked or over.
        """
        if not self.are_needed():
            return None
        if secret is None:
            raise InvalidKeyError("no API key was given.", remedy=_REMEDY)
        digest = digest_of(secret)
        key = self._store.find(digest) if is_secret(secret) else None
        if key is None or not key.is_valid(self._now_s()):
            # The same words for all: nobody learns whether a key was one.
            raise InvalidKeyError("this API key is not valid: unknown, revoked or expired.", remedy=_REMEDY)
        with self._lock:
            self._known[digest] = (self._clock(), key)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return key


def caller_of(key: ApiKey | None) -> Caller:
    """The caller that comes with a key; None = nobody was asked for one."""
    return KEYLESS if key is None else key.caller


def _id_of(name: str) -> str:
    return f"key-{name}"
