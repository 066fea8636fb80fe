"""A model of the pool reads the experts' answers and writes the final one.

Sources: Symbolic-MoE, arXiv:2503.05641, section 3; Mixture-of-Agents, arXiv:2406.04692.
"""

import random
from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from aggregators.outputs.asking import Chair, Desk, aside_notes, candidate_text
from aggregators.outputs.votes import (
    Ballot,
    abstentions,
    group_equivalent,
    read_ballots,
    usage_by_role,
    used,
    votes,
    without_reasoning,
)
from orchestrator.compositions.calls import aggregate_call
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator

PROSE = frozenset({AnswerType.TEXT, AnswerType.OPEN})

SHORT_TEXT_CHARS = 80
"""Free-text answers up to this length are compared with the candidates; longer ones never match."""


class SynthesizeOptions(Options):
    """
    Args:
        aggregator: id of the expert that writes the answer; None = the best by its aggregator exam.
        min_agree: readable answers that must all agree for the aggregator to be skipped.
        allow_new: accept an answer that no expert gave (noted); otherwise the vote decides.
        max_candidate_chars: of each expert's text; the end is kept, where answers are stated.
    """

    aggregator: str | None = None
    min_agree: int = Field(default=2, ge=1)
    allow_new: bool = True
    max_candidate_chars: int = Field(default=4000, ge=80)


class Synthesize:
    """Ask an aggregator, unless the experts agree; the weighted vote decides where it fails.

    Unlike the published code, unreadable responses are not shown to the aggregator, and an answer that
    cannot be read is never guessed from its text.
    """

    def __init__(
        self, context: AggregatorContext, options: SynthesizeOptions, *, name: str = "synthesize"
    ) -> None:
        """
        Args:
            name: that of the aggregator that writes so.
        """
        self.name = name
        self._context = context
        self._options = options
        self._desk = Desk(name, context)
        self._chair = Chair(self.name, context, options.aggregator)

    def choose(self, state: QueryState) -> Expert:
        """Best aggregation skill; ties: an engine the query needs anyway, then cost, then id."""
        return self._chair.choose(state)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        ballots = read_ballots(self._context.grader, state, expert_responses)
        readable = [ballot for ballot in ballots if ballot.value is not None]
        written = [r for r in state.responses if r.role is CallRole.AGGREGATE]
        if not readable:
            return self._desk.by_vote(state, expert_responses)
        if written:
            return self._finish(state, expert_responses, ballots, written[-1])
        groups = group_equivalent(self._context.grader, state.query, readable)
        if len(groups) == 1 and len(readable) >= self._options.min_agree:
            return self._desk.by_vote(state, expert_responses, note="the experts agree: no aggregator asked")
        return self._ask(state, readable)

    def _ask(self, state: QueryState, readable: list[Ballot]) -> Ask:
        texts = [candidate_text(ballot, self._options.max_candidate_chars) for ballot in readable]
        seed = self._context.seed_of(state)
        random.Random(f"{seed}:{state.query.content_hash}").shuffle(texts)
        call = aggregate_call(
            self.choose(state),
            state.query,
            texts,
            seed=seed,
            terms=state.terms,
            stream=self._is_final(state),
        )
        return Ask(calls=(call,))

    def _is_final(self, state: QueryState) -> bool:
        """True if what is written will be the answer, so that it may be heard while it is written."""
        return state.stream and self._options.allow_new and state.query.answer_type in PROSE

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        ballots: Sequence[Ballot],
        written: Response,
    ) -> Done:
        if written.failed:
            return self._fall_back(state, responses, written, f"failed ({written.error_code})")
        value = self._context.grader.read(state.query, written)
        if value is None:
            return self._fall_back(state, responses, written, "gave no readable answer")
        is_new = self._is_new(state.query, value, ballots)
        asides = aside_notes(ballots)
        if is_new and (asides or not self._options.allow_new):
            return self._fall_back(state, responses, written, "gave an answer that no expert gave")
        note = (f"aggregator {written.expert_id} gave an answer that no expert gave",) if is_new else ()
        notes = (*asides, *note)
        return Done(answer=self._written_answer(state, responses, ballots, written, value, notes))

    def _is_new(self, query: Query, value: str, ballots: Sequence[Ballot]) -> bool:
        long_form = query.answer_type is AnswerType.TEXT and len(value) > SHORT_TEXT_CHARS
        if long_form or query.answer_type in (AnswerType.CODE, AnswerType.OPEN):
            return False
        given = {ballot.value for ballot in ballots if ballot.value is not None}
        return not any(self._context.grader.equivalent(query, other, value) for other in sorted(given))

    def _written_answer(
        self,
        state: QueryState,
        responses: Sequence[Response],
        ballots: Sequence[Ballot],
        written: Response,
        value: str,
        notes: tuple[str, ...],
    ) -> Answer:
        calls = used(state, responses)
        absent = abstentions(ballots)
        return Answer(
            text=without_reasoning(written.text) or value,
            finish_reason=written.finish_reason,
            value=value,
            aggregator=self.name,
            degraded=bool(absent),
            notes=(*absent, *notes),
            votes=votes(ballots, lambda ballot: ballot.accuracy),
            decision=state.decision,
            usage_by_role=usage_by_role(calls),
            n_calls=len(calls),
            extras={"written_by": written.expert_id},
        )

    def _fall_back(
        self, state: QueryState, responses: Sequence[Response], written: Response, why: str
    ) -> Done:
        note = f"aggregator {written.expert_id} {why}: decided by weighted vote"
        return self._desk.by_vote(state, responses, note=note, degraded=True)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `synthesize` with its options, `SynthesizeOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may write or judge.
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return Synthesize(context, parse_options("aggregator 'synthesize'", SynthesizeOptions, options))
