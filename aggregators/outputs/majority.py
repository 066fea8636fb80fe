"""Plurality over equivalent answers."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from aggregators.outputs.context import AggregatorContext
from aggregators.outputs.votes import Group, expert_answer, group_equivalent, no_answer, read_ballots
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports import Aggregator


class MajorityOptions(Options):
    pass


class MajorityVote:
    """One response, one vote. Ties: larger summed weight of the router, then the better recruit.

    A router that does not look at the query gives equal weights, so its vote stays a plain one.
    """

    name = "majority"

    def __init__(self, context: AggregatorContext) -> None:
        self._grader = context.grader

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        if not groups:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        winner = max(groups, key=_standing).best
        answer = expert_answer(
            self.name, state, expert_responses, ballots, winner=winner, weight=lambda _: 1.0
        )
        return Done(answer=answer)


def _standing(group: Group) -> tuple[int, float]:
    # Rounded: sums of equal weights must tie whatever the order they were added in.
    return len(group.ballots), round(sum(b.weight for b in group.ballots), 9)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    parse_options("aggregator 'majority'", MajorityOptions, options)
    return MajorityVote(context)
