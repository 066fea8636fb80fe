"""What a loop owes the store: finished responses to commit, leases to renew and to give back."""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from orchestrator.domain.assignments import INTERACTIVE, Assignment
from orchestrator.errors import StoreError, StoreUnavailableError
from orchestrator.ports import Clock, Completion, JobStore
from workers.seat import Outcome, failed_outcome

log = logging.getLogger(__name__)


class LeaseStore(JobStore, Protocol):
    """A job store that can tell leases by their owners."""

    def lease_owners(self) -> list[str]:
        """Who holds leases now, expired ones included."""

    def release_owner(self, owner: str, *, refund_attempt: bool) -> int:
        """Give back everything an owner holds; returns how many assignments."""


class Ledger:
    """Writes are kept until the store has taken them, so an unreachable store loses nothing.

    Args:
        commit_size: outcomes per commit; `commit_s`: seconds that one waits at most.
    """

    def __init__(
        self, store: LeaseStore, *, owner: str, clock: Clock, commit_size: int, commit_s: float
    ) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock
        self._commit_size = commit_size
        self._commit_s = commit_s
        self._outcomes: list[Outcome] = []
        self._returns: list[tuple[list[int], bool]] = []
        self._oldest_at = 0.0

    @property
    def n_pending(self) -> int:
        return len(self._outcomes)

    @property
    def is_due(self) -> bool:
        """Whether to commit now: enough, old enough, or somebody waits for it."""
        return bool(self._returns) or (
            bool(self._outcomes)
            and (
                len(self._outcomes) >= self._commit_size
                or self._clock() - self._oldest_at >= self._commit_s
                or any(o.assignment.priority >= INTERACTIVE for o in self._outcomes)
            )
        )

    def add(self, outcomes: Iterable[Outcome]) -> None:
        if not self._outcomes:
            self._oldest_at = self._clock()
        self._outcomes += outcomes

    def give_back(self, assignments: Iterable[Assignment], *, refund_attempt: bool) -> None:
        ids = [assignment.id for assignment in assignments]
        if ids:
            self._returns.append((ids, refund_attempt))

    def settle(self) -> int:
        """Write everything owed; returns how many responses were written (late ones count too)."""
        while self._returns:
            ids, refund = self._returns[0]
            self._store.release(self._owner, ids, refund_attempt=refund)
            del self._returns[0]
        n = len(self._outcomes)
        if n:
            self._complete(self._outcomes)
            self._outcomes = []
        return n

    def forget(self) -> None:
        """Drop what is owed: its leases are gone."""
        self._outcomes, self._returns = [], []

    def _complete(self, outcomes: Sequence[Outcome]) -> None:
        try:
            self._store.complete(self._owner, [_completion(outcome) for outcome in outcomes])
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(outcomes) > 1:  # one bad response must not hold up its neighbours
                for outcome in outcomes:
                    self._complete([outcome])
                return
            assignment = outcomes[0].assignment
            log.warning("assignment %s: response refused: %s", assignment.id, error)
            failed = failed_outcome(assignment, error.code, "The response could not be stored.")
            self._store.complete(self._owner, [_completion(failed)])


def _completion(outcome: Outcome) -> Completion:
    return Completion(outcome.assignment.id, outcome.assignment.attempt, outcome.response)
