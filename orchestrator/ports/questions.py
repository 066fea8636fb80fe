"""Questions as one loop carries them: what it begins and settles in one transaction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from orchestrator.domain.assignments import Assignment, QueryState, Step
from orchestrator.ports.jobs import Completion, Lessee


class Begun(NamedTuple):
    """Steps that were applied, and calls of theirs that are leased already."""

    n_steps: int
    assignments: tuple[Assignment, ...] = ()


class Carried(NamedTuple):
    """A step that was computed before the responses that it `needs`, by their assignments, were stored."""

    state: QueryState
    step: Step
    needs: frozenset[int]


class Settled(NamedTuple):
    """Assignments whose responses were accepted, steps that were applied, and calls of theirs that are leased
    already."""

    accepted: frozenset[int]
    n_steps: int = 0
    assignments: tuple[Assignment, ...] = ()


class QuestionStore(Protocol):
    """Store of questions that are carried."""

    def begin(
        self, steps: Sequence[tuple[QueryState, Step]], engine_of: Mapping[str, str], lessee: Lessee
    ) -> Begun:
        """`StepStore.advance`; calls of questions are the lessee's at once where its engines have room, and
        no other question waits for them."""

    def settle(
        self,
        completions: Sequence[Completion],
        carried: Sequence[Carried],
        engine_of: Mapping[str, str],
        lessee: Lessee,
    ) -> Settled:
        """`LeaseStore.complete`, and `begin` of those steps all of whose responses were accepted."""
