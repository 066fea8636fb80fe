"""Keys: who calls the API, what that allows, and whose things are."""

import hashlib
import secrets
import string
from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from orchestrator.domain.values import Value
from orchestrator.errors import NotFoundError

PREFIX = "sk-muster-"
N_BYTES = 32
"""Random bytes of a secret: 256 bits need no slow hash."""

N_SHOWN = 4
N_CHARS = 43
"""Characters of these bytes in base64."""
_CHARS = frozenset(string.ascii_letters + string.digits + "-_")

NOBODY = ""
"""Owner of what was asked for without a key: by who sits at the machine."""


class Scope(StrEnum):
    """Scope of a key: to ask questions, to submit sets of them, or everything, of everybody."""

    ASK = "ask"
    BATCH = "batch"
    ADMIN = "admin"


class Period(StrEnum):
    """Period after which a budget is whole again, by the calendar in UTC; a `total` one never is."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class KeyBudget(Value):
    """Budget of a key: what its questions may use in one period; None = no limit.

    Attributes:
        tokens: of prompts and outputs, of everybody who is asked. usd: by the costs per token of the pool.
        engine_s: seconds of engines, from measured rates.
    """

    per: Period = Period.MONTH
    tokens: int | None = Field(default=None, ge=1)
    usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    engine_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class KeyTerms(Value):
    """Terms of a key: what it allows, and how much of it.

    Attributes:
        name: for people.
        experts: ids of those that may be asked; None = every one of the pool.
        expires_at: seconds since 1970; None = never.
        requests_per_minute, tokens_per_minute: None = no limit.
    """

    name: str = Field(default="", max_length=128)
    scopes: tuple[Scope, ...] = Field(default=(Scope.ASK,), min_length=1)
    experts: tuple[str, ...] | None = Field(default=None, min_length=1)
    expires_at: float | None = Field(default=None, allow_inf_nan=False)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    budget: KeyBudget | None = None


class ApiKey(Value):
    """Key as it is kept: everything but the secret, of which only a hash is.

    Attributes:
        shown: how the secret begins, so that people can tell keys apart.
        created_at, revoked_at: seconds since 1970.
    """

    id: str
    shown: str
    terms: KeyTerms
    created_at: float
    revoked_at: float | None = None

    def is_valid(self, now_s: float) -> bool:
        """True if it is neither revoked nor over."""
        expires_at = self.terms.expires_at
        return self.revoked_at is None and (expires_at is None or now_s < expires_at)

    @property
    def caller(self) -> "Caller":
        """The caller that shows this key, whether or not it was revoked."""
        terms = self.terms
        return Caller(key_id=self.id, scopes=frozenset(terms.scopes), experts=terms.experts)


class Caller(Value):
    """Caller that a request acts for: a key, or whoever sits at the machine.

    Attributes:
        key_id: None = nobody was asked for a key.
        experts: ids of those that may be asked; None = every one of the pool.
    """

    key_id: str | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    experts: tuple[str, ...] | None = None

    @property
    def owner_id(self) -> str:
        """The owner of what this caller makes: `NOBODY` without a key."""
        return NOBODY if self.key_id is None else self.key_id

    def may_ask(self, expert_id: str) -> bool:
        """True if an expert exists for the caller."""
        return self.experts is None or expert_id in self.experts

    @property
    def is_admin(self) -> bool:
        """True if all scopes are its own, and all owners' things; whom it may ask is another matter."""
        return Scope.ADMIN in self.scopes

    def may(self, scopes: Sequence[Scope]) -> bool:
        """True if one of these scopes is the caller's; an admin has all, and no scope at all is anybody's."""
        return not scopes or self.is_admin or not self.scopes.isdisjoint(scopes)

    def owns(self, owner: str) -> bool:
        """True if a thing of this owner exists for the caller; for an admin everything does."""
        return self.is_admin or owner == self.owner_id

    @property
    def sees_of(self) -> str | None:
        """The owner whose things a list shows; None = everybody's."""
        return None if self.is_admin else self.owner_id


def draw_secret() -> str:
    """A new secret: shown once, and kept by nobody here."""
    return PREFIX + secrets.token_urlsafe(N_BYTES)


def digest_of(secret: str) -> str:
    """Hash by which a secret is looked up: SHA-256, in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_secret(text: str) -> bool:
    """True if a text has the form of a secret; no other one is looked up."""
    drawn = text.removeprefix(PREFIX)
    return len(text) - len(drawn) == len(PREFIX) and len(drawn) == N_CHARS and _CHARS.issuperset(drawn)


def shown_of(secret: str) -> str:
    """Beginning of a secret, too little of it to be of use."""
    return f"{secret[: len(PREFIX) + N_SHOWN]}…"


KEYLESS = Caller()
"""Caller without a key, who sits at the machine: may do everything, and what it makes is nobody's."""

ANYBODY = Caller(key_id="anybody", scopes=frozenset())
"""Caller of what is open to everybody, where others need a key: may do nothing else, and owns nothing."""


def require_own(owner: str, caller: Caller, *, kind: str, name: str) -> None:
    """Requirement: a thing of `owner` is the caller's to see and to change.

    Args:
        kind, name: for the message, which says the same as for a thing that there is not.

    Raises:
        NotFoundError: it is somebody else's.
    """
    if not caller.owns(owner):
        raise nothing_found(kind, name)


def nothing_found(kind: str, name: str) -> NotFoundError:
    """The error for a name that is nobody's, or somebody else's: no caller can tell the two apart."""
    return NotFoundError(f"no {kind} '{name}'.", remedy=f"List the {kind}s to see their ids.")
