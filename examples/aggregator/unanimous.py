"""An answer if all who answered agree, else none: for questions where a wrong answer is worse than none."""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from aggregators.outputs.votes import expert_answer, group_equivalent, no_answer, read_ballots
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator
from orchestrator.ports.skills import Grader


class UnanimousOptions(Options):
    """
    Args:
        at_least: how many must have answered.
    """

    at_least: int = Field(default=2, ge=1)


class Unanimous:
    """Agreement is that of the grader: `1/2` and `0.5` are one answer."""

    name = "unanimous"

    def __init__(self, grader: Grader, at_least: int) -> None:
        self._grader = grader
        self._at_least = at_least

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        if len(groups) != 1 or len(groups[0].ballots) < self._at_least:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        winner = groups[0].best
        answer = expert_answer(
            self.name, state, expert_responses, ballots, winner=winner, weight=lambda _: 1.0
        )
        return Done(answer=answer)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    checked = parse_options("aggregator 'unanimous'", UnanimousOptions, options)
    return Unanimous(context.grader, checked.at_least)


ROW = AggregatorRow(make)
