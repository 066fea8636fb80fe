"""Experts vote; where they disagree, a model of the pool names the answer it believes."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from aggregators.outputs.votes import (
    Ballot,
    Group,
    expert_answer,
    group_equivalent,
    no_answer,
    read_ballots,
)
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response, Sampling
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import Message, Query
from orchestrator.errors import ConfigError
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator
from orchestrator.prompts import defuse


class RefereeOptions(Options):
    pass


class Referee:
    """Asks the first member of the pool with the role `aggregator`, and only about answers that were given.

    A referee that fails, or names none of them, leaves the answer to the most votes.
    """

    name = "referee"

    def __init__(self, context: AggregatorContext, referee: Expert) -> None:
        self._grader = context.grader
        self._referee = referee

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        if not groups:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        ruling = next((r for r in state.responses if r.role is CallRole.AGGREGATE), None)
        if len(groups) > 1 and ruling is None:
            return Ask(calls=(self._call(state.query, groups),))
        winner = self._named(state.query, groups, ruling) or max(groups, key=_size).best
        answer = expert_answer(self.name, state, expert_responses, ballots, winner=winner, weight=_one)
        return Done(answer=answer)

    def _call(self, query: Query, groups: Sequence[Group]) -> Call:
        return Call(
            expert_id=self._referee.id,
            role=CallRole.AGGREGATE,
            messages=(Message(role="user", content=prompt(query, [group.value for group in groups])),),
            sampling=Sampling(max_tokens=self._referee.max_tokens),
        )

    def _named(self, query: Query, groups: Sequence[Group], ruling: Response | None) -> Ballot | None:
        said = None if ruling is None or ruling.failed else self._grader.read(query, ruling)
        if said is None:
            return None
        return next((g.best for g in groups if self._grader.equivalent(query, g.value, said)), None)


def _size(group: Group) -> int:
    return len(group.ballots)


def _one(ballot: Ballot) -> float:
    return float(ballot.value is not None)


def prompt(query: Query, answers: Sequence[str]) -> str:
    """Answers in a fixed order, so that nobody's rank shows; what others wrote is defused."""
    listed = "\n".join(f"- {defuse(answer)}" for answer in sorted(answers))
    return f"{defuse(query.text)}\n\nExperts disagree:\n{listed}\n\nWhich of these answers is right?"


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    parse_options("aggregator 'referee'", RefereeOptions, options)
    if not context.pool.aggregators:
        raise ConfigError(
            "aggregator 'referee' asks a model, and no member of the pool has the role for it.",
            param="aggregator",
            remedy="Give a member the role 'aggregator'.",
        )
    return Referee(context, context.pool.aggregators[0])


ROW = AggregatorRow(make, asks_model=True)
