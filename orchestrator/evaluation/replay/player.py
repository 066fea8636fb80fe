"""Steps a composition with recorded responses until every query has its answer."""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple, Protocol

from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, Call, Done, QueryState, Response
from orchestrator.domain.queries import Query
from orchestrator.errors import CompositionError
from orchestrator.ports.composing import Composition

MAX_STAGES = 1_000
CHUNK = 1_000
"""Queries in flight at once: bounds the memory, and is of the size in which a batch job is stepped."""


class Responder(Protocol):
    """A stand-in for the experts."""

    def respond(self, call: Call, query: Query, *, stage: int) -> Response:
        """The response to a call.

        Args:
            stage: of the query, from 0: step of its composition that asks.

        Raises:
            UnsupportedError: it was not recorded.
        """


class Played(NamedTuple):
    """An answer, and which experts were asked for it."""

    answer: Answer
    experts: frozenset[str]

    @property
    def n_experts(self) -> int:
        """Different experts that were asked, each counted once however often it was."""
        return len(self.experts)


def play(composition: Composition, queries: Sequence[Query], recording: Responder) -> list[Played]:
    """Answers in the order of `queries`: what a batch job gives when its experts respond as recorded.

    Raises:
        UnsupportedError: the composition asks for what was not recorded.
        CompositionError: it never ends.
    """
    played: list[Played] = []
    for start in range(0, len(queries), CHUNK):
        played += _play(composition, queries[start : start + CHUNK], recording)
    return played


def _play(composition: Composition, queries: Sequence[Query], recording: Responder) -> list[Played]:
    played: dict[int, Played] = {}
    blank = QueryState(id=0, job_id="replay", query=queries[0]) if queries else None
    states = [blank.model_copy(update={"id": i, "query": q}) for i, q in enumerate(queries)] if blank else []
    for stage in count():
        if not states:
            return [played[i] for i in range(len(queries))]
        if stage == MAX_STAGES:
            raise CompositionError(f"'{composition.name}' still asks after {MAX_STAGES} stages.")
        waiting = []
        for state, step in zip(states, composition.step(states), strict=True):
            if isinstance(step, Done):
                played[state.id] = Played(step.answer, frozenset(r.expert_id for r in state.responses))
            else:
                waiting.append(_answered(state, step, recording))
        states = waiting
    raise AssertionError("unreachable: stages are counted without end")


def _answered(state: QueryState, ask: Ask, recording: Responder) -> QueryState:
    """The state after the calls of `ask`; later calls of an expert on this query are further samples."""
    responses = tuple(recording.respond(call, state.query, stage=state.stage) for call in ask.calls)
    # Copied, not validated: every part is a checked value.
    return state.model_copy(
        update={
            "stage": state.stage + 1,
            "decision": ask.decision or state.decision,
            "responses": (*state.responses, *responses),
        }
    )
