"""Roll calls: the same experts on every query, for profiling; and the annotating model alone."""

from collections.abc import Sequence

from orchestrator.compositions.calls import aggregate_call, error_answer, expert_call
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import (
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Step,
)
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.queries import Query
from orchestrator.ports.skills import SkillAnnotator

ROLL_CALL, EXAM, ANNOTATE = "roll_call", "exam", "annotate"
"""Compositions of profiling, by name."""


class AnnotationRound:
    """Ask the annotating model for skills, and nothing more: what profiling needs of a question set."""

    name = "annotate"

    def __init__(self, annotator: SkillAnnotator) -> None:
        self._annotator = annotator

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def _step(self, state: QueryState) -> Step:
        ask = self._annotator.calls(state.query) if state.stage == 0 else None
        return ask or Done(answer=Answer(text="", aggregator=self.name, n_calls=len(state.responses)))


class RollCall:
    """Ask every listed expert once; the responses are what is wanted, the answer only closes the query."""

    def __init__(self, name: str, *, pool: Pool, job: Job, role: CallRole = CallRole.EXPERT) -> None:
        self.name = name
        self._pool = pool
        self._job = job
        self._role = role

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def _step(self, state: QueryState) -> Step:
        if state.stage > 0:
            return Done(answer=Answer(text="", aggregator=self.name, n_calls=len(state.responses)))
        by_id = self._pool.by_id
        experts = [by_id[expert_id] for expert_id in self._job.experts if expert_id in by_id]
        if not experts:
            return Done(answer=error_answer("expert_unavailable", "none of its experts is in the pool."))
        return Ask(calls=tuple(self._call(expert, state.query) for expert in experts))

    def _call(self, expert: Expert, query: Query) -> Call:
        if self._role is CallRole.AGGREGATE:
            return aggregate_call(expert, query, query.candidates, seed=self._job.seed)
        return expert_call(expert, query, self._job)
