"""Best of n by pairs: a model says of every two answers which is better, in both orders; most wins wins.

In the spirit of LLM-Blender's pairwise ranking, arXiv:2306.02561; a model of the pool compares, no ranker is
trained, and nothing is fused.
"""

from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue

from aggregators.outputs.asking import (
    AskingOptions,
    Chair,
    Desk,
    Reading,
    Shown,
    both_orders,
    candidate_text,
    failures,
    leading,
    rounds,
    score_of,
    standing,
    verdict_of,
)
from aggregators.outputs.votes import Group
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator

NAME = "ranker"


class RankerOptions(AskingOptions):
    """
    Args:
        temperature: of the comparisons; n answers cost n·(n − 1) of them.
    """

    temperature: float = Field(default=0.0, ge=0, le=2)


def wins(n: int, verdicts: Mapping[Shown, int]) -> list[int]:
    """Comparisons won by each of n candidates, 0 to 2 (n − 1).

    Args:
        verdicts: 1 = the first shown is better, −1 = the second, 0 = neither; pairs that could not be read
            are missing.
    """
    won = [0] * n
    for shown, verdict in verdicts.items():
        if verdict:
            won[shown.first if verdict > 0 else shown.second] += 1
    return won


class Ranker:
    """Counts wins over all ordered pairs, unless the experts agree. Ties: the weighted vote, then the better
    recruit. A comparison that cannot be read is nobody's win; without any the weighted vote decides."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: RankerOptions) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._chair = Chair(NAME, context, options.aggregator)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        candidates = leading(reading.groups, state.query, self._options.max_candidates)
        if len(candidates) < 2:
            return self._desk.by_vote(state, expert_responses, note="one answer only: nothing to compare")
        replies = rounds(state, CallRole.JUDGE)
        if not replies:
            return self._ask(state, candidates)
        return self._finish(state, expert_responses, reading, candidates, replies[0])

    def _ask(self, state: QueryState, candidates: Sequence[Group]) -> Ask:
        judge = self._chair.choose(state)
        texts = [candidate_text(group.best, self._options.max_candidate_chars) for group in candidates]
        calls = [
            self._desk.call(
                judge,
                state,
                prompts.compare(
                    state.query,
                    (texts[shown.first], texts[shown.second]),
                    style=judge.synthesize_prompt,
                    fence=prompts.draw_fence(),
                ),
                role=CallRole.JUDGE,
                place=place,
                temperature=self._options.temperature,
            )
            for place, shown in enumerate(both_orders(len(candidates)))
        ]
        return Ask(calls=tuple(calls))

    def _verdicts(
        self, state: QueryState, candidates: Sequence[Group], replies: Mapping[int, Response]
    ) -> dict[Shown, int]:
        found = {}
        for place, shown in enumerate(both_orders(len(candidates))):
            reply = replies.get(place)
            judge = None if reply is None else self._desk.member(reply.expert_id)
            if reply is None or judge is None:
                continue
            values = (candidates[shown.first].value, candidates[shown.second].value)
            verdict = verdict_of(self._context, judge, state.query, reply, values)
            if verdict is not None:
                found[shown] = verdict
        return found

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        candidates: Sequence[Group],
        replies: Mapping[int, Response],
    ) -> Done:
        verdicts = self._verdicts(state, candidates, replies)
        judge_id = next(iter(replies.values())).expert_id
        if not verdicts:
            note = f"ranker {judge_id} made no readable comparison: decided by weighted vote"
            return self._desk.by_vote(state, responses, note=note, degraded=True)
        won = wins(len(candidates), verdicts)
        votes = standing(candidates, state.query)
        winner = max(range(len(candidates)), key=lambda i: (won[i], votes[i], -i))
        listed: dict[str, JsonValue] = {group.value: n for group, n in zip(candidates, won, strict=True)}
        read: dict[str, JsonValue] = {"asked": len(replies), "read": len(verdicts)}
        return self._desk.chosen(
            state,
            responses,
            reading.ballots,
            candidates[winner].best,
            weight=score_of(candidates, [float(n) for n in won]),
            notes=failures(replies.values()),
            extras={"ranker": {"model": judge_id, "wins": listed, "comparisons": read}},
        )


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `ranker` with its options, `RankerOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may write or judge.
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return Ranker(context, parse_options(f"aggregator '{NAME}'", RankerOptions, options))
