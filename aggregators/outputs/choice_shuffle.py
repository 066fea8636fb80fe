"""A multiple-choice question asked again with permuted options, after solved ones like it; votes mapped back.

Source: Medprompt, arXiv:2311.16452.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from aggregators.outputs.asking import Desk, Reading, failures, one_each, rounds
from aggregators.outputs.permuting import Permutation, drawn, permuted, read_permuted, spelled
from aggregators.outputs.votes import Ballot, group_equivalent, in_order, most_votes
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.cards import RIGHT, Profile
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator

NAME = "choice_shuffle"


class ChoiceShuffleOptions(Options):
    """
    Args:
        permutations: of the options, a call each, for each expert that is asked again.
        shots: solved questions shown before; fewer where the profile has fewer that the expert solved.
        experts: recruits that are asked again, best first.
        temperature: of these calls; None = each expert's.
        min_agree: readable answers that must all agree for nobody to be asked again.
        max_shot_chars: of each shown reply; a question whose reply is longer is not shown.
    """

    permutations: int = Field(default=5, ge=1, le=64)
    shots: int = Field(default=5, ge=0, le=64)
    experts: int = Field(default=1, ge=1, le=64)
    temperature: float | None = Field(default=None, ge=0, le=2)
    min_agree: int = Field(default=2, ge=1)
    max_shot_chars: int = Field(default=2000, ge=1)


class ChoiceShuffle:
    """Asks the best recruits again with permuted options, unless the experts agree. Every response has one
    vote, the first ones, too; ties as `majority`. A question without options is decided by weighted vote."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: ChoiceShuffleOptions) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        if state.query.answer_type is not AnswerType.CHOICE:
            note = "the question has no options to permute: decided by weighted vote"
            return self._desk.by_vote(state, expert_responses, note=note)
        heard = rounds(state, CallRole.SAMPLE)
        if not heard:
            calls = self._calls(state, reading)
            if calls:
                return Ask(calls=tuple(calls))
        replies = heard[0] if heard else {}
        return self._finish(state, expert_responses, reading, replies)

    def _orders(self, state: QueryState) -> list[Permutation]:
        return drawn(len(state.query.options), self._options.permutations, self._desk.rng(state))

    def _calls(self, state: QueryState, reading: Reading) -> list[Call]:
        ids = dict.fromkeys(ballot.expert_id for ballot in reading.readable)
        present = [expert for i in ids if (expert := self._desk.member(i)) is not None]
        orders = self._orders(state)
        return [
            self._desk.call(
                expert,
                state,
                prompts.with_shots(
                    permuted(state.query, order),
                    shots,
                    style=expert.prompt,
                    system_prompt=expert.system_prompt,
                ),
                role=CallRole.SAMPLE,
                place=place * len(orders) + number,
                temperature=self._options.temperature,
            )
            for place, expert in enumerate(present[: self._options.experts])
            for shots in [self._shots(state.query, expert)]
            for number, order in enumerate(orders)
        ]

    def _shots(self, query: Query, expert: Expert) -> list[prompts.Shot]:
        profile, embedder = self._context.profile, self._context.embedder
        if not self._options.shots or profile is None or embedder is None:
            return []
        vector = embedder().encode([query.text])[0]
        return nearest_solved(
            profile,
            expert.id,
            query,
            np.asarray(vector, dtype=np.float64),
            n=self._options.shots,
            max_chars=self._options.max_shot_chars,
        )

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        replies: Mapping[int, Response],
    ) -> Done:
        orders = self._orders(state)
        shuffled = [(reply, orders[place % len(orders)]) for place, reply in replies.items()]
        more = read_permuted(self._context.grader, state, shuffled)
        extras: dict[str, JsonValue] = {NAME: {"calls": len(replies), "permutations": len(orders)}}
        return own_letters(
            self._desk,
            state,
            responses,
            reading.ballots,
            more,
            notes=failures(replies.values()),
            extras=extras,
        )


def own_letters(
    desk: Desk,
    state: QueryState,
    responses: Sequence[Response],
    first: Sequence[Ballot],
    more: Sequence[Ballot],
    *,
    weight: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    extras: Mapping[str, JsonValue] | None = None,
) -> Done:
    """The answer that leads a vote, in words that use the question's own letters.

    Args:
        first: ballots of responses to the question as it stands.
        more: ballots of responses to the permuted question, mapped back.
        weight: of a vote, by expert id, 0 for others; None = all votes count alike.
    """
    ballots = in_order([*first, *more])
    groups = group_equivalent(desk.context.grader, state.query, ballots)
    if not groups:
        return desk.by_vote(state, responses, extras=extras)
    winner = most_votes(groups)
    if weight is not None:
        scores = [round(sum(weight.get(b.expert_id, 0.0) for b in group.ballots), 9) for group in groups]
        winner = groups[scores.index(max(scores))]
    quoted = next((b for b in in_order(winner.ballots) if b in first), None)
    of_vote = one_each if weight is None else lambda ballot: weight.get(ballot.expert_id, 0.0)
    if quoted is not None:
        return desk.chosen(
            state, responses, ballots, quoted, first=first, weight=of_vote, notes=notes, extras=extras
        )
    return desk.composed(
        state,
        responses,
        ballots,
        text=spelled(winner.value),
        value=winner.value,
        first=first,
        weight=of_vote,
        notes=notes,
        extras=extras,
    )


def nearest_solved(
    profile: Profile,
    expert_id: str,
    query: Query,
    vector: np.ndarray,
    *,
    n: int,
    max_chars: int,
) -> list[prompts.Shot]:
    """Profile questions like a query that the expert answered right, in its own words: n, the nearest last.

    Only multiple-choice questions, never the query itself; where the texts were not kept, the bare answer.

    Args:
        vector: of the query's text, float [D], of unit length.
        max_chars: of a reply that is shown; what is longer is left out.
    """
    transcript = profile.transcript
    if transcript is None or expert_id not in profile.expert_ids:
        return []
    row = profile.expert_ids.index(expert_id)
    likeness = np.round(profile.embeddings @ vector.astype(np.float32), 6)
    shots: list[prompts.Shot] = []
    for column in np.argsort(-likeness, kind="stable").tolist():
        solved, answer = transcript.queries[column], transcript.queries[column].answer
        if profile.outcomes[row, column] != RIGHT or not isinstance(answer, int):
            continue
        reply = transcript.texts[row][column] if transcript.texts else spelled(LETTERS[answer])
        if solved.content_hash != query.content_hash and len(reply) <= max_chars:
            shots.append(prompts.Shot(solved, reply))
        if len(shots) == n:
            break
    return shots[::-1]


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `choice_shuffle` with its options, `ChoiceShuffleOptions`.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    return ChoiceShuffle(context, parse_options(f"aggregator '{NAME}'", ChoiceShuffleOptions, options))
