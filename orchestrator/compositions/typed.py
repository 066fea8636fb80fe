"""One composition for questions of both kinds: with exact answers, and open ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from orchestrator.compositions.calls import error_answer
from orchestrator.compositions.graded import as_open
from orchestrator.compositions.structured import schema_of
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Done, Job, QueryState, Step
from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.queries import Query
from orchestrator.domain.terms import Terms
from orchestrator.errors import NotProfiledError
from orchestrator.ports.composing import Composition


@runtime_checkable
class Routing(Composition, Protocol):
    """A composition that can also say whom it would ask."""

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Decisions without asking anyone."""


def is_open(query: Query, terms: Terms) -> bool:
    """True if the answer is worth a score; one that keeps to a schema is JSON, and has a value."""
    return query.answer_type.is_graded and schema_of(terms) is None


class OpenAnswers:
    """A composition of open questions: its answers have a grade to expect, never confidence or votes.

    Args:
        cards: with the grades of the pool.
        note: added to each answer; None = nothing needs to be said.
    """

    def __init__(self, inner: Routing, cards: Mapping[str, CompetenceCard], note: str | None) -> None:
        self.name = inner.name
        self._inner = inner
        self._cards = cards
        self._note = note

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._told(step) for step in self._inner.step(states)]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        return self._inner.route(queries)

    def _told(self, step: Step) -> Step:
        if not isinstance(step, Done):
            return step
        return Done(answer=as_open(step.answer, self._cards, note=self._note))


class Unmeasured:
    """A composition that needs to know how the pool does on exact questions, and does not: says so."""

    def __init__(self, name: str, error: NotProfiledError) -> None:
        self.name = name
        self._error = error

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [Done(answer=error_answer(self._error.code, str(self._error))) for _ in states]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        del queries
        raise self._error


class Typed:
    """Steps each question by the parts of its kind.

    Args:
        job: the terms of queries that say nothing else themselves.
        open_: makes the parts for open questions, when the first comes.
    """

    def __init__(self, exact: Routing, open_: Callable[[], Routing], *, job: Job) -> None:
        self.name = exact.name
        self._exact = exact
        self._make = open_
        self._open: Routing | None = None
        self._job = job

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        kinds = [self._is_open(state.query) for state in states]
        of_kind = {
            kind: iter(self._of(kind).step([s for s, k in zip(states, kinds, strict=True) if k is kind]))
            for kind in set(kinds)
        }
        return [next(of_kind[kind]) for kind in kinds]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        kinds = [self._is_open(query) for query in queries]
        of_kind = {
            kind: iter(self._of(kind).route([q for q, k in zip(queries, kinds, strict=True) if k is kind]))
            for kind in set(kinds)
        }
        return [next(of_kind[kind]) for kind in kinds]

    def _is_open(self, query: Query) -> bool:
        return is_open(query, self._job.under(query.terms))

    def _of(self, kind: bool) -> Routing:
        if not kind:
            return self._exact
        if self._open is None:
            self._open = self._make()
        return self._open
