"""Queries through their compositions: the part of the loop that needs no device."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import BATCH, Ask, Done, QueryState, Step
from orchestrator.errors import MusterError, NotFoundError, StoreError, StoreUnavailableError
from orchestrator.ports.composing import CompositionFactory
from orchestrator.ports.jobs import JobReader, StepStore

log = logging.getLogger(__name__)

Taken = tuple[QueryState, Step]

STEP_S = 30.0
"""A worker that died under a step is waited for no longer than this."""


class Advanced(NamedTuple):
    """Steps taken and applied, how many of them put new work on the books, and the jobs concerned."""

    n_taken: int = 0
    n_steps: int = 0
    n_asked: int = 0
    job_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Whether to look again. Steps that do not apply were cancelled, or took too long."""
        return self.n_steps > 0


class Advancer:
    """Takes every ready query one step further, in chunks of `chunk`.

    A composition that fails on a query fails that query, with the error's code, and not its neighbours.

    Args:
        exclusive_s: how long queries are kept from others while their step is computed; 0 for one
            process that works alone, and may be killed and started again.
        min_priority: queries of lower priority are left to others.
    """

    def __init__(
        self,
        *,
        jobs: JobReader,
        steps: StepStore,
        compositions: CompositionFactory,
        engine_of: Mapping[str, str],
        chunk: int = 512,
        exclusive_s: float = STEP_S,
        min_priority: int = BATCH,
    ) -> None:
        self._jobs = jobs
        self._store = steps
        self._compositions = compositions
        self._engine_of = engine_of
        self._chunk = chunk
        self._exclusive_s = exclusive_s
        self.min_priority = min_priority

    def run(self, *, between: Callable[[], None]) -> Advanced:
        """Until no query is ready; `between` is called after each chunk (heartbeats)."""
        total = Advanced()
        while True:
            done = self.chunk()
            total = Advanced(
                total.n_taken + done.n_taken,
                total.n_steps + done.n_steps,
                total.n_asked + done.n_asked,
                total.job_ids | done.job_ids,
            )
            if done.n_taken:
                between()
            if not done:
                return total

    def chunk(self, limit: int | None = None) -> Advanced:
        """One step of up to `limit` (default: `chunk`) ready queries, of the highest priority only."""
        states = self._store.take_ready(
            limit=limit or self._chunk, for_s=self._exclusive_s, min_priority=self.min_priority
        )
        steps = [taken for group in _by_job(states) for taken in self._steps(group)]
        n_steps = self._apply(steps) if steps else 0
        asked = sum(isinstance(step, Ask) for _, step in steps)
        return Advanced(len(steps), n_steps, asked, frozenset(state.job_id for state, _ in steps))

    def _steps(self, states: Sequence[QueryState]) -> list[Taken]:
        job_id = states[0].job_id
        try:
            composition = self._compositions(self._jobs.job(job_id).job)
            steps = composition.step(states)
            return [(state, self._checked(step)) for state, step in zip(states, steps, strict=True)]
        except NotFoundError:
            return []  # its job was deleted since
        except StoreError:
            raise
        except Exception as error:  # the loop must survive any composition
            if len(states) > 1:
                return [taken for state in states for taken in self._steps([state])]
            unexpected = not isinstance(error, MusterError)
            log.warning("job %s query %s: step failed: %s", job_id, states[0].id, error, exc_info=unexpected)
            return [(states[0], _failed(error))]

    def _checked(self, step: Step) -> Step:
        """A call to an expert that left the pool cannot be put on the books."""
        if isinstance(step, Done):
            return step
        gone = sorted({call.expert_id for call in step.calls} - self._engine_of.keys())
        if not gone:
            return step
        reason = f"expert '{gone[0]}' is not in the pool."
        return Done(answer=Answer(text="", error_code="expert_unavailable", error=reason))

    def _apply(self, steps: Sequence[Taken]) -> int:
        try:
            return self._store.advance(steps, self._engine_of)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(steps) > 1:
                return sum(self._apply([taken]) for taken in steps)
            state = steps[0][0]
            log.warning("job %s query %s: step refused: %s", state.job_id, state.id, error)
            return self._store.advance([(state, _failed(error))], self._engine_of)


def _by_job(states: Sequence[QueryState]) -> list[list[QueryState]]:
    groups: dict[str, list[QueryState]] = {}
    for state in states:
        groups.setdefault(state.job_id, []).append(state)
    return list(groups.values())


def _failed(error: Exception) -> Done:
    code = error.code if isinstance(error, MusterError) else "internal_error"
    text = str(error) if isinstance(error, MusterError) else f"{type(error).__name__} in the composition."
    return Done(answer=Answer(text="", error_code=code, error=text or type(error).__name__))
