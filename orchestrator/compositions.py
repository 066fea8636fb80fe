"""Compositions: how experts become one answer, as pure resumable steps.

    Ensemble          annotate -> recruit -> ask the recruits -> aggregate (perhaps asking an aggregator)
    DryRun            annotate -> recruit, and end with the decision
    RollCall          ask the same experts on every query: profiling, and the aggregator exam
    AnnotationRound   ask the annotating model only

A composition never generates: it asks for calls and is stepped again when their responses are in.
"""

import random
from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator import prompts
from orchestrator.domain.answers import NOT_SURE, Answer, Decision, FinishReason
from orchestrator.domain.assignments import (
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Response,
    Sampling,
    Step,
)
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.domain.values import content_hash
from orchestrator.errors import MusterError
from orchestrator.garbage import no_cycle_collection
from orchestrator.ports import (
    Aggregator,
    Composition,
    Embedder,
    Router,
    RoutingInput,
    SkillAnnotator,
    SkillMatcher,
)
from orchestrator.settings import CompositionSettings
from orchestrator.waves import Waves

EXPERT_PREFIX = "expert:"
"""`expert:<id>` is the composition that asks one expert and returns its words."""

ROUTE_PREFIX = "route:"
"""`route:<composition>` ends with the decision of that composition."""

STOCK_COMPOSITIONS: Mapping[str, CompositionSettings] = {
    # What pays and what does not: docs/decisions/0012.
    "auto": CompositionSettings(router="posterior", aggregator="learned", waves={}),
    # Equally good experts in one order for all questions: fewer loads in batches (docs/decisions/0016).
    "auto_few_loads": CompositionSettings(
        router="posterior", router_options={"within": 0.05}, aggregator="learned", waves={}
    ),
    # The same three at once: fewest loads, more calls.
    "auto_k3": CompositionSettings(
        router="posterior", router_options={"k": 3, "first": 3}, aggregator="learned"
    ),
    # Reading the texts pays where the profile is large: docs/decisions/0015.
    "auto_verifier": CompositionSettings(
        router="posterior",
        aggregator="verifiers",
        waves={"confidence": 0.4, "lookahead_share": 1.0},
    ),
    "posterior": CompositionSettings(
        router="posterior", router_options={"k": 3, "first": 3}, aggregator="majority"
    ),
    "symbolic": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "sample", "replacement": True, "score": "paper"},
        aggregator="synthesize",
    ),
    "synthesize": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "top", "score": "posterior"},
        aggregator="synthesize",
    ),
    "knn": CompositionSettings(router="knn", router_options={"k": 3}, aggregator="majority"),
    "skills": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "top", "score": "posterior"},
        aggregator="weighted",
    ),
    "cluster": CompositionSettings(router="cluster", router_options={"k": 3}, aggregator="majority"),
    "category": CompositionSettings(router="category", router_options={"k": 3}, aggregator="majority"),
    "centroid": CompositionSettings(router="centroid", router_options={"k": 3}, aggregator="majority"),
    "kshot": CompositionSettings(router="kshot", router_options={"k": 3}, aggregator="majority"),
    "best_single": CompositionSettings(router="best_single", aggregator="first"),
    "static_top_3": CompositionSettings(router="static_top_3", aggregator="majority"),
    "random_3": CompositionSettings(router="random", router_options={"k": 3}, aggregator="majority"),
    "self_consistency": CompositionSettings(
        router="self_consistency", router_options={"k": 3}, aggregator="majority", temperature=0.7
    ),
    "majority_all": CompositionSettings(router="all", aggregator="majority"),
}


_NO_VECTOR = np.zeros(0, dtype=np.float32)


class SkillReader:
    """Query text to matched skills and an embedding: the half of routing that needs no cards."""

    def __init__(
        self, annotator: SkillAnnotator, matcher: SkillMatcher | None, embedder: Embedder | None
    ) -> None:
        self._annotator = annotator
        self._matcher = matcher
        self._embedder = embedder

    def calls(self, query: Query) -> Ask | None:
        return self._annotator.calls(query)

    @no_cycle_collection()
    def read(self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]) -> list[RoutingInput]:
        """One routing input per query, in order; annotation and embedding run as one batch each."""
        if not queries:
            return []
        tags = self._annotator.annotate(queries, responses)
        skills: Sequence[tuple[SkillTag, ...]] = self._matcher.match(tags) if self._matcher else tags
        vectors = self._embedder.encode([q.text for q in queries]) if self._embedder else None
        return [
            RoutingInput(query, known, _NO_VECTOR if vectors is None else vectors[row])
            for row, (query, known) in enumerate(zip(queries, skills, strict=True))
        ]


class Ensemble:
    """Recruit k experts for each query, ask them, aggregate. Source: arXiv:2503.05641, section 3.

    Args:
        job: supplies the seed and per-job overrides of max_tokens and temperature.
        quotes: a lone recruit's words will be the answer; nobody else is asked.
        waves: when to ask reserves; None = never.
        abstain_below: confidence under which an answer is withheld; None = never.
    """

    def __init__(
        self,
        name: str,
        *,
        pool: Pool,
        reader: SkillReader,
        router: Router,
        aggregator: Aggregator,
        job: Job,
        later_engines: tuple[str, ...] = (),
        quotes: bool = False,
        waves: Waves | None = None,
        abstain_below: float | None = None,
    ) -> None:
        self.name = name
        self._pool = pool
        self._quotes = quotes
        self._reader = reader
        self._router = router
        self._aggregator = aggregator
        self._job = job
        self._later_engines = later_engines
        self._waves = waves
        self._abstain_below = abstain_below

    def later_engines(self) -> tuple[str, ...]:
        return self._later_engines

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        steps: dict[int, Step] = {}
        unrouted: list[QueryState] = []
        for state in states:
            if state.decision is not None:
                steps[state.id] = self._aggregate(state)
            elif state.stage == 0 and (ask := self._annotation(state.query)) is not None:
                steps[state.id] = ask
            else:
                unrouted.append(state)
        steps.update(self._recruit(unrouted))
        return [steps[state.id] for state in states]

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        """Decisions without asking anyone: a dry run. Needs an annotator that makes no calls.

        Raises:
            RoutingError: nobody may answer.
        """
        inputs = self._inputs(queries, [()] * len(queries))
        return self._router.recruit(inputs, rng=random.Random(self._job.seed))

    def _recruit(self, states: Sequence[QueryState]) -> dict[int, Step]:
        if not states:
            return {}
        try:
            inputs = self._inputs([s.query for s in states], [s.responses for s in states])
            decisions = self._router.recruit(inputs, rng=random.Random(self._job.seed))
        except MusterError as error:
            return {s.id: Done(answer=error_answer(error.code, str(error))) for s in states}
        return {
            state.id: self._opening(state, decision)
            for state, decision in zip(states, decisions, strict=True)
        }

    def _opening(self, state: QueryState, decision: Decision) -> Ask:
        if self._waves is not None:
            decision = self._waves.opened(state, decision)
        return Ask(calls=self._expert_calls(state.query, decision.expert_ids), decision=decision)

    def _annotation(self, query: Query) -> Ask | None:
        return self._reader.calls(query) if self._router.reads_text else None

    def _inputs(
        self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]
    ) -> list[RoutingInput]:
        if self._router.reads_text:
            return self._reader.read(queries, responses)
        return [RoutingInput(query, (), _NO_VECTOR) for query in queries]

    def _expert_calls(self, query: Query, expert_ids: Sequence[str]) -> tuple[Call, ...]:
        asked: dict[str, int] = {}
        calls = []
        stream = self._job.stream and self._quotes and len(expert_ids) == 1
        for expert_id in expert_ids:
            expert, sample_ix = self._pool.by_id[expert_id], asked.get(expert_id, 0)
            calls.append(expert_call(expert, query, self._job, sample_ix=sample_ix, stream=stream))
            asked[expert_id] = sample_ix + 1
        return tuple(calls)

    def _aggregate(self, state: QueryState) -> Step:
        responses = [r for r in state.responses if r.role is CallRole.EXPERT]
        try:
            if self._waves and (decision := self._waves.next(state, responses)) is not None:
                asked = decision.expert_ids[len(state.decision.expert_ids if state.decision else ()) :]
                return Ask(calls=self._expert_calls(state.query, asked), decision=decision)
            step = self._aggregator.step(state, responses)
        except MusterError as error:
            return Done(answer=error_answer(error.code, str(error)))
        if isinstance(step, Ask):
            return step
        answer = step.answer.model_copy(update={"decision": state.decision})
        return Done(answer=withheld(answer, below=self._abstain_below))


class DryRun:
    """A composition up to its decision: who would answer, and nobody is asked to."""

    def __init__(self, name: str, inner: Composition) -> None:
        self.name = name
        self._inner = inner

    def later_engines(self) -> tuple[str, ...]:
        return ()

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._ended(step) for step in self._inner.step(states)]

    def _ended(self, step: Step) -> Step:
        """Calls without a decision annotate; they are needed for one."""
        if isinstance(step, Done) or step.decision is None:
            return step
        return Done(answer=Answer(text="", aggregator=self.name, decision=step.decision))


class AnnotationRound:
    """Ask the annotating model for skills, and nothing more: what profiling needs of a question set."""

    name = "annotate"

    def __init__(self, annotator: SkillAnnotator) -> None:
        self._annotator = annotator

    def later_engines(self) -> tuple[str, ...]:
        return ()

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

    def later_engines(self) -> tuple[str, ...]:
        return ()

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        return [self._step(state) for state in states]

    def _step(self, state: QueryState) -> Step:
        if state.stage > 0:
            return Done(answer=Answer(text="", aggregator=self.name, n_calls=len(state.responses)))
        experts = [self._pool.by_id[expert_id] for expert_id in self._job.experts]
        return Ask(calls=tuple(self._call(expert, state.query) for expert in experts))

    def _call(self, expert: Expert, query: Query) -> Call:
        if self._role is CallRole.AGGREGATE:
            return aggregate_call(expert, query, query.candidates, seed=self._job.seed)
        return expert_call(expert, query, self._job)


def withheld(answer: Answer, *, below: float | None) -> Answer:
    """The answer, or an abstention where it is less sure than that: reasons and votes stay, a note says how
    sure it was."""
    if below is None or answer.confidence is None or answer.confidence >= below:
        return answer
    sure = f"withheld: confidence {answer.confidence:.2f} is below {below:.2f}"
    return answer.model_copy(
        update={
            "text": NOT_SURE,
            "finish_reason": FinishReason.STOP,
            "value": None,
            "confidence": None,
            "answered_by": None,
            "notes": (*answer.notes, f"{sure}; the votes led to {answer.value!r}"),
        }
    )


def expert_call(expert: Expert, query: Query, job: Job, *, sample_ix: int = 0, stream: bool = False) -> Call:
    """The call that asks one expert a query; its seed depends on the job, query, expert and sample only."""
    return Call(
        expert_id=expert.id,
        role=CallRole.EXPERT,
        messages=prompts.expert(query, style=expert.prompt, system_prompt=expert.system_prompt),
        sampling=Sampling(
            max_tokens=min(job.max_tokens or expert.max_tokens, expert.max_tokens),
            temperature=expert.temperature if job.temperature is None else job.temperature,
            seed=call_seed(job.seed, query, expert.id, sample_ix),
            stream=stream,
        ),
        sample_ix=sample_ix,
    )


def aggregate_call(expert: Expert, query: Query, candidates: Sequence[str], *, seed: int) -> Call:
    """The call that asks an aggregator to write the final answer from candidate answers."""
    fence = f"{call_seed(seed, query, expert.id, 0):08x}"
    return Call(
        expert_id=expert.id,
        role=CallRole.AGGREGATE,
        messages=prompts.synthesize(query, candidates, style=expert.synthesize_prompt, fence=fence),
        sampling=Sampling(
            max_tokens=expert.max_tokens,
            temperature=expert.temperature,
            seed=call_seed(seed, query, expert.id, 0),
        ),
    )


def call_seed(seed: int, query: Query, expert_id: str, sample_ix: int) -> int:
    """31-bit seed of one generation: equal inputs, equal text, whatever else runs in the batch."""
    return int(content_hash([seed, query.content_hash, expert_id, sample_ix]), 16) & 0x7FFF_FFFF


def error_answer(code: str, message: str) -> Answer:
    return Answer(text="", error_code=code, error=message)
