"""Plurality over equivalent answers. Ours: which answers are equivalent, and ties (methods 3.1)."""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import JsonValue

from aggregators.outputs.votes import (
    Group,
    expert_answer,
    group_equivalent,
    most_votes,
    no_answer,
    read_ballots,
)
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator


class MajorityOptions(Options):
    """
    Args:
        ties: `weight` = larger summed weight of the router, then the better recruit; `random` = any of the
            tied answers, by the seed and the query alone.
    """

    ties: Literal["weight", "random"] = "weight"


class MajorityVote:
    """One response, one vote."""

    name = "majority"

    def __init__(self, context: AggregatorContext, options: MajorityOptions) -> None:
        self._grader = context.grader
        self._seed_of = context.seed_of
        self._options = options

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        groups = group_equivalent(self._grader, state.query, ballots)
        if not groups:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        winner = self._winner(groups, state).best
        answer = expert_answer(
            self.name, state, expert_responses, ballots, winner=winner, weight=lambda _: 1.0
        )
        return Done(answer=answer)

    def _winner(self, groups: Sequence[Group], state: QueryState) -> Group:
        if self._options.ties == "weight":
            return most_votes(groups)
        most = max(len(group.ballots) for group in groups)
        tied = sorted((g for g in groups if len(g.ballots) == most), key=lambda g: g.value)
        return random.Random(f"{self._seed_of(state)}:{state.query.content_hash}").choice(tied)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `majority` with its options, `MajorityOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return MajorityVote(context, parse_options("aggregator 'majority'", MajorityOptions, options))
