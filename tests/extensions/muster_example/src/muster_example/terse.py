"""A vote in which few words weigh more."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from aggregators.outputs.votes import Ballot, Group, expert_answer, group_equivalent, no_answer, read_ballots
from orchestrator.compositions.voting import AggregatorContext, AggregatorRow
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator
from orchestrator.ports.skills import Grader


class TerseOptions(Options):
    pass


class Terse:
    """A vote weighs one over the words of its response; the better recruit decides between equals."""

    name = "terse"

    def __init__(self, grader: Grader) -> None:
        self._grader = grader

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        if not groups:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        winner = max(groups, key=total).best
        answer = expert_answer(self.name, state, expert_responses, ballots, winner=winner, weight=weight)
        return Done(answer=answer)


def weight(ballot: Ballot) -> float:
    return 1 / max(1, len(ballot.response.text.split()))


def total(group: Group) -> float:
    return round(sum(map(weight, group.ballots)), 9)  # equal sums tie, whatever the order of the terms


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    parse_options("aggregator 'terse'", TerseOptions, options)
    return Terse(context.grader)


ROW = AggregatorRow(make)
