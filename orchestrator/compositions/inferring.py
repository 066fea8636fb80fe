"""Inferring: a question that says no type is answered as one of the type that its nearest neighbours have."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from orchestrator.compositions.alone import asks_one
from orchestrator.compositions.nearest import UNPROFILED, Inference, TypesOfProfile, nearest_types
from orchestrator.compositions.structured import as_json, schema_of
from orchestrator.compositions.typed import Routing
from orchestrator.domain.answers import Decision, as_typed
from orchestrator.domain.assignments import Ask, CallRole, Done, Job, QueryState, Step
from orchestrator.domain.cards import Profile
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.terms import Terms
from orchestrator.ports.skills import Embedder, Grader
from orchestrator.questions.chats import text_read

UNREAD = 2
"""Responses, without an answer of the inferred type in any of them, that show a question to be open."""

AS_OPEN = Inference(AnswerType.OPEN)
AS_TEXT = Inference(AnswerType.TEXT)


class TypeReader:
    """Infers the types of queries; what they are compared with is made when the first comes.

    Args:
        profile: of the pool; None = it has none.
        embedder: of their texts: the router's, which remembers the vectors.
    """

    def __init__(self, profile: Callable[[], Profile | None], embedder: Callable[[], Embedder]) -> None:
        self._profile = profile
        self._embedder = embedder
        self._nearest = cache(self._made)

    def infer(self, queries: Sequence[Query]) -> list[Inference]:
        """Types of queries that say none, in their order; open, and no text is embedded, where there is no
        profile."""
        nearest = self._nearest() if queries else None
        if nearest is None:
            return [UNPROFILED] * len(queries)
        vectors = self._embedder().encode([text_read(query) for query in queries])
        return nearest.infer(queries, vectors)

    def _made(self) -> TypesOfProfile | None:
        profile = self._profile()
        return None if profile is None else nearest_types(profile, self._embedder())


class _Typed(NamedTuple):
    """A query's state with its type. `inference`: made just now; `decision`: changed just now."""

    state: QueryState
    inference: Inference | None = None
    decision: Decision | None = None


class Inferring:
    """A composition, for queries that may leave their type to it.

    The decision keeps what was inferred, so that a resumed process, feedback and shadows go by the same type.
    Where nobody gives an answer of that type, the question is open after all.

    Args:
        job: the terms of queries that say nothing else themselves.
        types: None = nobody votes here, and no text is embedded for it: what says no type is `otherwise`.
        otherwise: the type of queries that say none, where none is inferred.
        grader: says which responses can be read.
    """

    def __init__(
        self,
        inner: Routing,
        *,
        job: Job,
        types: TypeReader | None,
        grader: Grader,
        otherwise: Inference = AS_OPEN,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._job = job
        self._types = types
        self._grader = grader
        self._otherwise = otherwise

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        typed = self._typed(states)
        steps = self._inner.step([each.state for each in typed])
        return [self._told(step, each) for step, each in zip(steps, typed, strict=True)]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        found = self._inferred(queries)
        asked = [
            query if inference is None else query.typed(inference.answer_type)
            for query, inference in zip(queries, found, strict=True)
        ]
        decisions = self._inner.route(asked)
        return [
            decision if inference is None else inference.on(decision)
            for decision, inference in zip(decisions, found, strict=True)
        ]

    def _typed(self, states: Sequence[QueryState]) -> list[_Typed]:
        new = [state.query if state.decision is None else None for state in states]
        found = iter(self._inferred([query for query in new if query is not None]))
        return [
            self._known(state) if query is None else _begun(state, next(found))
            for state, query in zip(states, new, strict=True)
        ]

    def _inferred(self, queries: Sequence[Query]) -> list[Inference | None]:
        """One for each query; None = it says its type itself."""
        found = [self._at_once(query) if query.infers else None for query in queries]
        left = [i for i, query in enumerate(queries) if query.infers and found[i] is None]
        if self._types is not None:
            for i, inference in zip(left, self._types.infer([queries[i] for i in left]), strict=True):
                found[i] = inference
        return found

    def _at_once(self, query: Query) -> Inference | None:
        """JSON of a schema is a text until it is read; nobody votes on what one expert goes on with."""
        terms = self._terms(query)
        if schema_of(terms) is not None:
            return AS_TEXT
        one = self._types is None or asks_one(query, terms)
        return self._otherwise if one else None

    def _terms(self, query: Query) -> Terms:
        return self._job.under(query.terms)

    def _known(self, state: QueryState) -> _Typed:
        """The state of a query that was routed before."""
        decision = state.decision
        if not state.query.infers or decision is None:
            return _Typed(state)
        state = state.model_copy(update={"query": as_typed(state.query, decision)})
        if not self._is_open_after_all(state):
            return _Typed(state)
        note = f"no response has an answer of the type {decision.answer_type}: the question is open"
        decision = Inference(AnswerType.OPEN, note).on(decision)
        query = state.query.typed(AnswerType.OPEN)
        return _Typed(state.model_copy(update={"query": query, "decision": decision}), decision=decision)

    def _is_open_after_all(self, state: QueryState) -> bool:
        """True if experts answered, and none of them as the inferred type would have it."""
        if state.query.answer_type.is_graded or schema_of(self._terms(state.query)) is not None:
            return False
        said = [r for r in state.responses if r.role is CallRole.EXPERT and not r.failed]
        reserves = state.decision.reserves if state.decision is not None else ()
        if len(said) < (UNREAD if reserves else 1):
            return False
        return all(self._grader.read(state.query, response) is None for response in said)

    def _told(self, step: Step, typed: _Typed) -> Step:
        """The step with what was inferred in its decision, and with the type in its answer."""
        if isinstance(step, Ask):
            decision = step.decision or typed.decision  # kept, lest a later response changes what was found
            if decision is not None and typed.inference is not None:
                decision = typed.inference.on(decision)
            return step if decision is step.decision else step.model_copy(update={"decision": decision})
        if step.answer.error_code is not None:
            return step
        query = typed.state.query
        is_json = schema_of(self._terms(query)) is not None
        answer_type = (as_json(query) if is_json else query).answer_type
        return Done(answer=step.answer.model_copy(update={"answer_type": answer_type}))


def _begun(state: QueryState, inference: Inference | None) -> _Typed:
    if inference is None:
        return _Typed(state)
    query = state.query.typed(inference.answer_type)
    return _Typed(state.model_copy(update={"query": query}), inference)
