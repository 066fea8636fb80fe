"""Keys: who calls the API, what that allows, and whose things are."""

from collections.abc import Sequence
from enum import StrEnum

from orchestrator.domain.values import Value
from orchestrator.errors import NotFoundError

NOBODY = ""
"""Owner of what was asked for without a key: by who sits at the machine."""


class Scope(StrEnum):
    """Scope of a key: to ask questions, to submit sets of them, or everything, of everybody."""

    ASK = "ask"
    BATCH = "batch"
    ADMIN = "admin"


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

    @property
    def is_admin(self) -> bool:
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


KEYLESS = Caller()
"""Caller without a key, who sits at the machine: may do everything, and what it makes is nobody's."""


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
