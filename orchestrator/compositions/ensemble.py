"""The ensemble: annotate, recruit, ask the recruits, aggregate."""

import random
from collections.abc import Callable, Mapping, Sequence

from orchestrator.compositions.alone import alone, asks_one, called, gone_on, with_details
from orchestrator.compositions.calls import Sampled, Worded, error_answer, expert_call, length_notes
from orchestrator.compositions.floors import floored, is_below
from orchestrator.compositions.reading import _NO_VECTOR, SkillReader
from orchestrator.compositions.shots import Shots, shown
from orchestrator.compositions.stand_ins import with_stand_ins
from orchestrator.compositions.structured import as_json, kept, schema_of, screened
from orchestrator.domain.answers import NOT_SURE, Answer, Decision, FinishReason
from orchestrator.domain.assignments import (
    AGGREGATING,
    INTERACTIVE,
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    QueryState,
    Response,
    Step,
)
from orchestrator.domain.experts import Pool
from orchestrator.domain.fusions import FusionTrace
from orchestrator.domain.metrics import Stage
from orchestrator.domain.queries import Query
from orchestrator.errors import AggregationError, AllPausedError, RoutingError
from orchestrator.ports.composing import Aggregator, BatchAggregator, InFlight, Pace, Router, RoutingInput
from orchestrator.ports.telemetry import StageWatch, unwatched
from orchestrator.prompts import Shot


class Ensemble:
    """Recruit k experts for each query, ask them, aggregate. Source: arXiv:2503.05641, section 3.

    Args:
        reader: None where the router reads no text.
        job: the terms of queries that say nothing else themselves; its seed draws who is recruited.
        quotes: a lone recruit's words will be the answer; nobody else is asked.
        waves: whom to ask first, and when to ask reserves; None = all recruits at once, and no reserve.
        abstain_below: confidence under which an answer is withheld; None = never.
        quoting: gives the words of the one expert that a question on such terms is asked of; None = the
            aggregator does.
        watch: times the stages.
        kept: experts of the last turn of a session.
        shots: chooses the solved questions that experts are shown; None = they are shown none.
        floor: confidence of votes below which the best recruit answers, and says why; 0 = never.
        note: of every answer; None = nothing needs to be said.
    """

    def __init__(
        self,
        name: str,
        *,
        pool: Pool,
        reader: SkillReader | None,
        router: Router,
        aggregator: Aggregator,
        job: Job,
        quotes: bool = False,
        waves: Pace | None = None,
        abstain_below: float | None = None,
        quoting: Aggregator | None = None,
        watch: StageWatch = unwatched,
        kept: Callable[[str], tuple[str, ...]] = lambda _session: (),
        shots: Shots | None = None,
        floor: float = 0.0,
        note: str | None = None,
    ) -> None:
        self._floor = floor
        self._note = () if note is None else (note,)
        self._watch = watch
        self.name = name
        self._pool = pool
        self._quotes = quotes
        self._reader = reader if router.reads_text else None
        self._router = router
        self._aggregator = aggregator
        self._learner = aggregator if isinstance(aggregator, BatchAggregator) else None
        self._job = job
        self._waves = waves
        self._abstain_below = abstain_below
        self._quoting = quoting or aggregator
        self._kept = kept
        self._shots = shots
        self._sampled: Sampled = {}

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        steps: dict[int, Step] = {}
        unrouted: list[QueryState] = []
        routed: list[QueryState] = []
        for state in states:
            if state.decision is not None:
                routed.append(state)
            elif state.stage == 0 and (ask := self._annotation(state.query)) is not None:
                steps[state.id] = ask
            else:
                unrouted.append(state)
        steps.update(self._aggregate_all(routed))
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
            with self._watch(Stage.ANNOTATE, self._job, n=len(states)):
                inputs = self._inputs([s.query for s in states], [s.responses for s in states])
            with self._watch(Stage.RECRUIT, self._job, n=len(states)):
                decisions = self._router.recruit(inputs, rng=random.Random(self._job.seed))
        except RoutingError as error:
            if len(states) > 1:  # it may be one query's terms
                return {i: step for state in states for i, step in self._recruit([state]).items()}
            if isinstance(error, AllPausedError) and self._job.priority < INTERACTIVE:
                raise  # whoever steps a batch waits
            return {s.id: Done(answer=error_answer(error.code, str(error))) for s in states}
        return {
            state.id: self._opening(state, decision)
            for state, decision in zip(states, decisions, strict=True)
        }

    def _opening(self, state: QueryState, decision: Decision) -> Ask:
        if asks_one(state.query, self._terms(state.query)):
            decision = alone(decision)
        elif self._waves is not None:
            decision = self._waves.opened(state, decision)
        return self._ask(state.query, decision.expert_ids, decision)

    def _terms(self, query: Query) -> Job:
        """What holds for a query."""
        return self._job.under(query.terms)

    def _annotation(self, query: Query) -> Ask | None:
        return self._reader.calls(query) if self._reader is not None else None

    def _inputs(
        self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]
    ) -> list[RoutingInput]:
        if self._reader is not None:
            read = self._reader.read(queries, responses)
        else:
            read = [RoutingInput(query, (), _NO_VECTOR) for query in queries]
        return [self._on_terms(item) for item in read]

    def _on_terms(self, item: RoutingInput) -> RoutingInput:
        terms = self._terms(item.query)
        return item._replace(terms=terms, kept=self._kept(terms.session) if terms.session else ())

    def _ask(self, query: Query, expert_ids: Sequence[str], decision: Decision) -> Ask:
        """The decision with calls to these experts; it notes what they are shown before the question."""
        shots = self._shots_of(query, expert_ids)
        calls = self._expert_calls(query, expert_ids, decision, shots)
        notes = tuple(shown(expert_id, some) for expert_id, some in shots.items() if some)
        if notes:
            decision = decision.model_copy(update={"notes": (*decision.notes, *notes)})
        return Ask(calls=calls, decision=decision)

    def _shots_of(self, query: Query, expert_ids: Sequence[str]) -> dict[str, tuple[Shot, ...]]:
        terms = self._terms(query)
        if self._shots is None or asks_one(query, terms):
            return {}
        known = self._pool.known
        return {name: self._shots.of(query, known[name], terms) for name in dict.fromkeys(expert_ids)}

    def _expert_calls(
        self,
        query: Query,
        expert_ids: Sequence[str],
        decision: Decision,
        shots: Mapping[str, tuple[Shot, ...]],
    ) -> tuple[Call, ...]:
        mixtures = {recruit.expert_id: recruit.mixture for recruit in decision.recruits}
        asked: dict[str, int] = {}
        calls = []
        job = self._terms(query)
        quotes = self._quotes or asks_one(query, job)
        stream = job.stream and quotes and len(expert_ids) == 1 and schema_of(job) is None
        worded: Worded = {}
        sampled = self._sampled if job is self._job else None
        for expert_id in expert_ids:
            expert, sample_ix = self._pool.known[expert_id], asked.get(expert_id, 0)
            mixture = mixtures.get(expert_id, ())
            call = expert_call(
                expert,
                query,
                job,
                sample_ix=sample_ix,
                stream=stream,
                mixture=mixture,
                shots=shots.get(expert_id, ()),
                worded=worded,
                sampled=sampled,
            )
            calls.append(call)
            asked[expert_id] = sample_ix + 1
        return tuple(calls)

    def _aggregate_all(self, states: Sequence[QueryState]) -> dict[int, Step]:
        if not states:
            return {}
        with self._watch(Stage.AGGREGATE, self._job, n=len(states)):
            batch = [self._in_flight(state) for state in states]
            aggregator = self._aggregator if self._learner is None else self._learner.learn(batch)
            return {state.id: self._aggregate(state, responses, aggregator) for state, responses in batch}

    def _in_flight(self, state: QueryState) -> InFlight:
        """The query with what its job asks of an aggregator's calls, and its experts' responses."""
        job = self._terms(state.query)
        stream = job.stream and self._abstain_below is None and schema_of(job) is None
        ours = {"seed": job.seed, "max_tokens": job.max_tokens, "terms": job, "stream": stream}
        state = self._without_gone(state).model_copy(update=ours)
        schema = schema_of(job)
        if schema is not None:
            asked = {"query": as_json(state.query), "responses": screened(state.responses, schema)}
            state = state.model_copy(update=asked)
        return state, [r for r in state.responses if r.role is CallRole.EXPERT]

    def _aggregate(self, state: QueryState, responses: Sequence[Response], aggregator: Aggregator) -> Step:
        aggregating = any(r.role in AGGREGATING for r in state.responses)
        try:
            replaced = None if aggregating else self._replaced(state, responses)
            step = self._judge(state, responses, aggregator) if replaced is None else replaced
        except AggregationError as error:
            return Done(answer=error_answer(error.code, str(error)))
        if isinstance(step, Decision):
            asked = step.expert_ids[len(state.decision.expert_ids if state.decision else ()) :]
            return self._ask(state.query, asked, step)
        schema = schema_of(state.terms)
        if isinstance(step, Done) and schema is not None:
            step = kept(step, state, schema, job=self._terms(state.query), pool=self._pool)
        if isinstance(step, Ask):
            return step
        recruits = state.decision.expert_ids if state.decision else ()
        by_id = self._pool.by_id
        job = self._terms(state.query)
        notes = length_notes(job, [by_id[expert_id] for expert_id in recruits if expert_id in by_id])
        answer = step.answer.model_copy(
            update={
                "decision": state.decision,
                "notes": (*step.answer.notes, *notes, *self._note),
                "fusion": fusion_of(step.answer, responses),
            }
        )
        if schema is None and is_below(answer, self._floor):
            answer = self._best_alone(answer, state, responses)
        return Done(answer=withheld(with_details(answer, responses), below=self._abstain_below))

    def _best_alone(self, answer: Answer, state: QueryState, responses: Sequence[Response]) -> Answer:
        """The answer in the words of the best recruit that can be read."""
        best = self._quoting.step(state, responses)
        if isinstance(best, Ask) or best.answer.error_code is not None:
            return answer
        return floored(answer, best.answer, floor=self._floor)

    def _replaced(self, state: QueryState, responses: Sequence[Response]) -> Decision | None:
        """The decision with stand-ins for experts that could not be asked; None = there are none."""
        if state.decision is None or all(not response.failed for response in responses):
            return None
        return with_stand_ins(state.decision, responses, self._pool)

    def _without_gone(self, state: QueryState) -> QueryState:
        """The query, with no reserve that has left the pool since the decision: it could not be asked."""
        decision = state.decision
        if decision is None or all(r.expert_id in self._pool.by_id for r in decision.reserves):
            return state
        left = tuple(r for r in decision.reserves if r.expert_id in self._pool.by_id)
        return state.model_copy(update={"decision": decision.model_copy(update={"reserves": left})})

    def _judge(
        self, state: QueryState, responses: Sequence[Response], aggregator: Aggregator
    ) -> Decision | Ask | Done:
        """The aggregator's step, or the decision with more reserves recruited."""
        if asks_one(state.query, state.terms):
            answer = called(state, responses) or gone_on(state, responses)
            return self._quoting.step(state, responses) if answer is None else Done(answer=answer)
        if self._waves is None:
            return aggregator.step(state, responses)
        return self._waves.next(state, responses)


def fusion_of(answer: Answer, responses: Sequence[Response]) -> FusionTrace | None:
    """Account of how the words of the answer were fused; None where they are no fusion's."""
    quoted = [r.fusion for r in responses if r.expert_id == answer.answered_by and r.text == answer.text]
    said = quoted or [r.fusion for r in responses if r.expert_id == answer.answered_by]
    return next((trace for trace in said if trace is not None), None)


def withheld(answer: Answer, *, below: float | None) -> Answer:
    """The answer, or an abstention where it is less sure than that: reasons and votes stay, a note says how
    sure it was.

    Args:
        below: confidence in [0, 1]; None = every answer is given. An answer without confidence is given, too.
    """
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
            "fusion": None,
            "notes": (*answer.notes, f"{sure}; the votes led to {answer.value!r}"),
        }
    )
