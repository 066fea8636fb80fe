"""Queries through their compositions: the part of the loop that needs no device."""

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import BACKGROUND, Ask, Done, Job, JobProgress, QueryState, Step
from orchestrator.domain.terms import Shape
from orchestrator.errors import (
    AllPausedError,
    EmbedderError,
    MusterError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.composing import Composition, CompositionFactory
from orchestrator.ports.jobs import JobReader, StepStore
from orchestrator.ports.questions import Begun
from orchestrator.runtime.context import bound
from orchestrator.runtime.garbage import no_cycle_collection
from orchestrator.tables import is_out_of_memory
from workers.leases.carrying import Taken
from workers.leases.resting import Patience, Resting
from workers.leases.stage_traces import StageTraces

log = logging.getLogger(__name__)

STEP_S = 30.0
"""A worker that died under a step is waited for no longer than this."""

LONE_FAILURES = 3
"""Queries of a chunk that fail alone while none succeeds, before the others are left for later."""

REMEMBERED = 10_000

PAUSED_S = 5.0
"""Between two looks whether an expert was resumed, for a query that may be asked of paused ones only."""

_SURROUNDINGS = (OSError, EmbedderError)
"""Errors that a query may have nothing to do with."""


class Advanced(NamedTuple):
    """Steps taken and applied, how many of them put new work on the books that not all of has begun, jobs
    that may have ended with them, and queries that are tried again later."""

    n_taken: int = 0
    n_steps: int = 0
    n_asked: int = 0
    job_ids: frozenset[str] = frozenset()
    n_postponed: int = 0

    def __bool__(self) -> bool:
        """Whether to look again. Steps that do not apply were cancelled, or took too long."""
        return self.n_steps > 0 or self.n_postponed > 0


class Advancer:
    """Takes every ready query one step further, in chunks of `chunk`.

    A composition that fails on a query is asked again, a few times and for that query alone; then the query
    fails with the error's code, and not its neighbours. Jobs whose composition this process does not know are
    left to others.

    Args:
        exclusive_s: how long queries are kept from others while their step is computed; 0 for one
            process that works alone, and may be killed and started again.
        min_priority: queries of lower priority are left to others.
        config_hash: of the configuration that this process runs with.
        clock: monotonic seconds.
        traces: tells of single questions and their stages; None = nobody listens.
        begin: stores steps, and begins calls of questions as they are put on the books; None = nobody does.
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
        min_priority: int = BACKGROUND,
        config_hash: str = "",
        patience: Patience | None = None,
        clock: Clock = time.monotonic,
        traces: StageTraces | None = None,
        begin: Callable[[Sequence[Taken]], Begun] | None = None,
    ) -> None:
        self._traces = traces
        self._begin = begin
        self._n_begun = 0
        self._not_begun: set[str] = set()
        self._taken: list[tuple[JobProgress, list[Taken]]] = []
        self._jobs = jobs
        self._store = steps
        self._compositions = compositions
        self._engine_of = engine_of
        self._chunk = chunk
        self._exclusive_s = exclusive_s
        self.min_priority = min_priority
        self._config_hash = config_hash
        self._patience = patience or Patience()
        self._clock = clock
        self._resting = Resting(self._patience, clock)
        self._succeeded_at = -math.inf
        self._failed_at: dict[int, float] = {}
        self._n_postponed = 0

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
                total.n_postponed + done.n_postponed,
            )
            if done.n_taken:
                between()
            if not done:
                return total

    @no_cycle_collection()
    def chunk(self, limit: int | None = None) -> Advanced:
        """One step of up to `limit` (default: `chunk`) ready queries, of the highest priority only."""
        states = self._store.take_ready(
            limit=limit or self._chunk,
            for_s=self._exclusive_s,
            without=self._resting(),
            min_priority=self.min_priority,
        )
        self._n_postponed = self._n_begun = 0
        self._not_begun.clear()
        steps = self.steps(states)
        n_steps = self._apply(steps) if steps else 0
        self.tell()
        asked = sum(isinstance(step, Ask) for _, step in steps) - self._n_begun
        job_ids = self._not_begun.union(state.job_id for state, step in steps if isinstance(step, Done))
        return Advanced(len(steps), n_steps, asked, frozenset(job_ids), self._n_postponed)

    def steps(self, states: Sequence[QueryState]) -> list[Taken]:
        """The next steps of these, without those that are tried again later; `tell` when they are stored."""
        return [taken for group in _by_shape(states) for taken in self._steps(group)]

    # ── one job's queries ─────────────────────────────────────────────────────────────────────────

    def _steps(self, states: Sequence[QueryState]) -> list[Taken]:
        if states[0].job is not None and self._traces is None:
            return self._steps_within(states[0].job, states)
        try:
            progress = self._jobs.job(states[0].job_id)
        except NotFoundError:
            return []  # it was deleted since
        if self._traces is None:
            return self._steps_within(progress.job, states)
        self._traces.waited(progress.job.shaped(states[0].query.terms), states)
        taken = self._steps_within(progress.job, states)
        self._taken.append((progress, taken))
        return taken

    def _steps_within(self, job: Job, states: Sequence[QueryState]) -> list[Taken]:
        job = job.shaped(states[0].query.terms)
        with bound(job=job.id):
            return self._steps_of(job, states)

    def _steps_of(self, job: Job, states: Sequence[QueryState]) -> list[Taken]:
        try:
            composition = self._compositions(job)
        except StoreError:
            raise
        except Exception as error:  # the loop must survive any composition
            return self._not_built(job, states, error)
        taken = self._step_by_step(job, composition, states)
        if taken:
            self._resting.over(job.id)
        return taken

    def tell(self) -> None:
        """Tell of what was answered, after that is stored."""
        taken, self._taken = self._taken, []
        for progress, steps in taken:
            if self._traces is not None:
                self._traces.stepped(progress, steps)

    def _step_by_step(self, job: Job, composition: Composition, states: Sequence[QueryState]) -> list[Taken]:
        """All at once, or, where that fails, by halves down to the queries that do; those that failed before
        come alone."""
        taken: list[Taken] = []
        n_failed = n_stepped = 0
        fresh = [state for state in states if not state.attempt]
        groups = deque([*([fresh] if fresh else []), *([state] for state in states if state.attempt)])
        while groups:
            if n_failed >= LONE_FAILURES and not n_stepped:
                self._resting.bears(job)
                self._postpone([state for group in groups for state in group], for_s=0.0, counted=False)
                break
            group = groups.popleft()
            try:
                steps = composition.step(group)
                done = list(zip(group, steps, strict=True))
            except StoreError:
                raise
            except Exception as error:  # the loop must survive any composition
                if len(group) > 1:
                    half = len(group) // 2
                    groups.extendleft([group[half:], group[:half]])
                    continue
                n_failed += 1
                taken += self._failed_alone(job, group[0], error)
            else:
                n_stepped += len(done)
                self._succeeded_at = self._clock()
                taken += self._known(job, done)
        return taken

    def _failed_alone(self, job: Job, state: QueryState, error: Exception) -> list[Taken]:
        """Its end, or nothing: it is tried again. What may lie in the surroundings is not the query's fault
        as long as no other one succeeded; what belongs to another configuration is left to it; where all are
        paused, it waits for somebody."""
        if job.config_hash != self._config_hash and self._resting.bears(job):
            log.info("job %s query %s: not stepped here: %r", job.id, state.id, error)
            self._postpone([state], for_s=0.0, counted=False)
            return []
        n = state.attempt + 1
        now = self._clock()
        since = self._failed_at.setdefault(state.id, now)
        if len(self._failed_at) > REMEMBERED:
            del self._failed_at[next(iter(self._failed_at))]
        if isinstance(error, AllPausedError) and now - since <= self._patience.limit_s(job):
            self._postpone([state], for_s=PAUSED_S, counted=False)
            return []
        is_own = self._succeeded_at > since if _lies_around(error) else True
        is_last = n >= self._patience.max_attempts
        if (is_last and is_own) or now - since > self._patience.limit_s(job):
            _tell(job, state, error)
            return [(state, _failed(error))]
        log.info("job %s query %s: step failed, attempt %d: %s", job.id, state.id, n, error)
        self._postpone([state], for_s=self._patience.pause_s(n), counted=True)
        return []

    def _not_built(self, job: Job, states: Sequence[QueryState], error: Exception) -> list[Taken]:
        """Others may know the composition, or it can be built later; else all of these fail alike."""
        is_stranger = job.config_hash != self._config_hash and isinstance(error, MusterError)
        if is_stranger or _lies_around(error):
            is_borne = self._resting.bears(job)
        elif isinstance(error, MusterError):
            is_borne = False
        else:
            is_borne = self._resting.bears(job, attempts=self._patience.max_attempts)
        if is_borne:
            log.info("job %s: its composition is not built here: %s", job.id, error)
            self._postpone(states, for_s=0.0, counted=False)
            return []
        _tell(job, states[0], error)
        return [(state, _failed(error)) for state in states]

    def _known(self, job: Job, taken: Sequence[Taken]) -> list[Taken]:
        """A call to an expert that is not in the pool cannot be put on the books: a job of another
        configuration is left to those who have it, for a while."""
        strange = {state.id for state, step in taken if self._missing(step)}
        if strange and job.config_hash != self._config_hash and self._resting.bears(job):
            self._postpone([s for s, _ in taken if s.id in strange], for_s=0.0, counted=False)
            return [(state, step) for state, step in taken if state.id not in strange]
        checked = [(state, self._checked(step)) for state, step in taken]
        return _followed(checked) if job.followed else checked

    def _missing(self, step: Step) -> list[str]:
        """Experts of its calls that are not in the pool."""
        if isinstance(step, Done) or all(call.expert_id in self._engine_of for call in step.calls):
            return []
        return sorted({call.expert_id for call in step.calls} - self._engine_of.keys())

    def _checked(self, step: Step) -> Step:
        gone = self._missing(step)
        if not gone:
            return step
        reason = f"expert '{gone[0]}' is not in the pool."
        return Done(answer=Answer(text="", error_code="expert_unavailable", error=reason))

    def _postpone(self, states: Sequence[QueryState], *, for_s: float, counted: bool) -> None:
        self._n_postponed += self._store.postpone(states, for_s=for_s, counted=counted)

    def _apply(self, steps: Sequence[Taken]) -> int:
        try:
            return self._stored(steps)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            if len(steps) > 1:
                return sum(self._apply([taken]) for taken in steps)
            state = steps[0][0]
            log.warning("job %s query %s: step refused: %s", state.job_id, state.id, error)
            return self._store.advance([(state, _failed(error))], self._engine_of)

    def _stored(self, steps: Sequence[Taken]) -> int:
        if self._begin is None:
            return self._store.advance(steps, self._engine_of)
        begun = self._begin(steps)
        n_of = Counter(assignment.query_id for assignment in begun.assignments)
        for state, step in steps:
            if isinstance(step, Ask):
                is_begun = n_of[state.id] == len(step.calls)
                self._n_begun += is_begun
                if not is_begun and state.job is not None:  # a question; its key may have no room for it
                    self._not_begun.add(state.job_id)
        return begun.n_steps


def _by_shape(states: Sequence[QueryState]) -> list[list[QueryState]]:
    """Queries of one job whose terms name the same composition and parts are stepped together."""
    groups: dict[tuple[str, Shape], list[QueryState]] = {}
    for state in states:
        terms = state.query.terms
        groups.setdefault((state.job_id, Shape() if terms is None else terms.shape), []).append(state)
    return list(groups.values())


def _followed(taken: Sequence[Taken]) -> list[Taken]:
    """Steps whose calls all tell what they write."""
    return [(state, step.followed if isinstance(step, Ask) else step) for state, step in taken]


def _lies_around(error: Exception) -> bool:
    """True if the machine may be at fault: no memory, a file or a model that cannot be read now."""
    return isinstance(error, _SURROUNDINGS) or is_out_of_memory(error)


def _tell(job: Job, state: QueryState, error: Exception) -> None:
    unexpected = not isinstance(error, MusterError)
    log.warning("job %s query %s: step failed: %s", job.id, state.id, error, exc_info=unexpected and error)


def _failed(error: Exception) -> Done:
    code = error.code if isinstance(error, MusterError) else "internal_error"
    text = str(error) if isinstance(error, MusterError) else f"{type(error).__name__} in the composition."
    return Done(answer=Answer(text="", error_code=code, error=text or type(error).__name__))
