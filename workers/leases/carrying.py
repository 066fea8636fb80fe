"""Carrying: a loop keeps in mind the questions whose calls it began itself, so that their next step needs no
look at the books. Whatever happens to it, the books have all that others need to go on."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.domain.assignments import Ask, Assignment, Done, QueryState, Response, Step
from orchestrator.ports.jobs import Completion, Lessee
from orchestrator.ports.questions import Begun, Carried, QuestionStore

Taken = tuple[QueryState, Step]

MOST = 10_000
"""Questions that are kept in mind; the oldest are left to the books."""


class Answered(NamedTuple):
    """The state of a question all of whose calls have ended, and those of their assignments whose responses
    are not stored yet."""

    state: QueryState
    needs: frozenset[int]


@dataclass
class _Question:
    """A question that waits for calls: its state when they have ended, but for their responses."""

    state: QueryState
    assignment_ids: tuple[int, ...]
    responses: dict[int, Response] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        return len(self.responses) == len(self.assignment_ids)

    def with_responses(self) -> QueryState:
        new = (self.responses[number] for number in self.assignment_ids)
        return self.state.model_copy(update={"responses": (*self.state.responses, *new)})


class Carrier:
    """Questions of one loop; for its thread.

    Args:
        lessee: under which name calls are begun, and of which engines how many.
    """

    def __init__(
        self, store: QuestionStore, engine_of: Mapping[str, str], *, lessee: Callable[[], Lessee]
    ) -> None:
        self._n_steps = 0
        self._store = store
        self._engine_of = engine_of
        self._lessee = lessee
        self._questions: dict[int, _Question] = {}
        self._query_of: dict[int, int] = {}
        self._begun: list[Assignment] = []
        self._moved: set[str] = set()

    def begin(self, steps: Sequence[Taken]) -> Begun:
        """Store steps, and begin calls of theirs."""
        begun = self._store.begin(steps, self._engine_of, self._lessee())
        self._remember(steps, begun.assignments)
        return begun

    def answered(self, completions: Iterable[Completion]) -> list[Answered]:
        """Questions that these responses, which are not stored yet, are the last ones of."""
        fresh: dict[int, set[int]] = defaultdict(set)
        for completion in completions:
            query_id = self._query_of.get(completion.assignment_id)
            if query_id is not None:
                self._questions[query_id].responses[completion.assignment_id] = completion.response
                fresh[query_id].add(completion.assignment_id)
        mine = ((self._questions[query_id], needs) for query_id, needs in fresh.items())
        return [Answered(each.with_responses(), frozenset(needs)) for each, needs in mine if each.is_answered]

    def settle(self, completions: Sequence[Completion], carried: Sequence[Carried]) -> int:
        """Store responses, and the steps of those questions that they answer; returns how many responses
        still wait for a step that others take."""
        settled = self._store.settle(completions, carried, self._engine_of, self._lessee())
        ids = {completion.assignment_id for completion in completions}
        stepped = {each.state.id for each in carried if each.needs <= settled.accepted}
        waits = {number for number in ids if self._query_of.get(number) not in stepped}
        waits -= {number for number in waits & settled.accepted if self._is_kept(number)}
        self.forget(ids - settled.accepted)
        for each in carried:
            self._forget_question(each.state.id)
        self._n_steps += settled.n_steps
        self._moved |= {each.state.job_id for each in carried if isinstance(each.step, Done)}
        self._remember([(each.state, each.step) for each in carried], settled.assignments)
        return len(waits)

    def forget(self, assignment_ids: Collection[int] | None = None) -> None:
        """Leave questions of these assignments, or all, to the books. Args: assignment_ids: None = all."""
        if assignment_ids is None:
            self._questions.clear()
            self._query_of.clear()
            self._begun = []
            return
        for number in assignment_ids:
            query_id = self._query_of.get(number)
            if query_id is not None:
                self._forget_question(query_id)

    def take_begun(self) -> list[Assignment]:
        """Calls that were begun on the books since this was asked before."""
        begun, self._begun = self._begun, []
        return begun

    def take_steps(self) -> int:
        """Steps that were stored with the responses that they needed, since this was asked before."""
        n, self._n_steps = self._n_steps, 0
        return n

    def take_moved(self) -> set[str]:
        """Jobs whose questions ended with their responses since this was asked before."""
        moved, self._moved = self._moved, set()
        return moved

    def _is_kept(self, assignment_id: int) -> bool:
        """Whether its question waits for other calls, here."""
        query_id = self._query_of.get(assignment_id)
        return query_id is not None and not self._questions[query_id].is_answered

    def _remember(self, steps: Iterable[Taken], assignments: Sequence[Assignment]) -> None:
        """Questions all of whose calls were begun."""
        self._begun += assignments
        ids_of: dict[int, list[int]] = defaultdict(list)
        for assignment in assignments:
            ids_of[assignment.query_id].append(assignment.id)
        for state, step in steps:
            ids = tuple(ids_of.get(state.id, ()))
            if not ids or not isinstance(step, Ask) or len(ids) != len(step.calls):
                continue
            decision = state.decision if step.decision is None else step.decision
            waiting = {"stage": state.stage + 1, "decision": decision, "attempt": 0}
            self._questions[state.id] = _Question(state.model_copy(update=waiting), ids)
            self._query_of.update(dict.fromkeys(ids, state.id))
        while len(self._questions) > MOST:
            self._forget_question(next(iter(self._questions)))

    def _forget_question(self, query_id: int) -> None:
        question = self._questions.pop(query_id, None)
        if question is not None:
            for number in question.assignment_ids:
                self._query_of.pop(number, None)
