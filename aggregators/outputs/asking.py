"""Parts of aggregators that ask for more: reading, early exit, a judge, the way back to a vote.

A step is a function of the stored responses alone. A call of an aggregator has its place in the step as
`sample_ix`, and its step as `stage`, so that a resumed process finds which reply answers which call.
Ours: what the papers' methods, each in a module of its own, have in common here.
"""

import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field, JsonValue

from aggregators.outputs.first import FirstReadable
from aggregators.outputs.votes import (
    Ballot,
    Group,
    abstentions,
    expert_answer,
    group_equivalent,
    most_votes,
    read_ballots,
    usage_by_role,
    used,
    votes,
    without_reasoning,
)
from aggregators.outputs.weighted import WeightedOptions, WeightedVote, summed_log_odds
from orchestrator import prompts
from orchestrator.compositions.calls import further_call
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import AGGREGATING, Call, CallRole, Done, QueryState, Response
from orchestrator.domain.cards import Tally, shrunk_posterior
from orchestrator.domain.experts import Expert
from orchestrator.domain.queries import Message, Query
from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.options import Options

BY_VOTE, BY_RANK = "decided by weighted vote", "the best expert's answer was taken"
"""What a note says where nobody wrote or judged; answers to an open question are no votes."""

WRONG_ANSWERS = 20
"""Effective number of different wrong answers to a question without options; as in `weighted`."""

_BETTER = re.compile(r"\bbetter\W{1,6}(1|2|tie)\b", re.IGNORECASE)


class AskingOptions(Options):
    """
    Args:
        aggregator: id of the member that writes or judges; None = the best by its aggregator exam.
        min_agree: readable answers that must all agree for nobody else to be asked.
        max_candidate_chars: of each text that is shown; the end is kept, where answers are stated.
        max_candidates: different answers that are compared, the best by the weighted vote first.
    """

    aggregator: str | None = None
    min_agree: int = Field(default=2, ge=1)
    max_candidate_chars: int = Field(default=4000, ge=80)
    max_candidates: int = Field(default=4, ge=2, le=26)


class Reading(NamedTuple):
    """Responses as they were read: every ballot, and the different answers, the best recruit's first."""

    ballots: list[Ballot]
    groups: list[Group]

    @property
    def readable(self) -> list[Ballot]:
        """Ballots that are no abstentions, the best recruit's first."""
        return [ballot for ballot in self.ballots if ballot.value is not None]


def one_each(ballot: Ballot) -> float:
    """The weight of a vote where all count alike."""
    del ballot
    return 1.0


class Desk:
    """Reads the experts' responses and writes answers under the aggregator's name.

    `notes` stand after those on abstentions, `extras` as they are; `weight`: of a readable ballot's vote.
    """

    def __init__(self, name: str, context: AggregatorContext) -> None:
        self.name = name
        self.context = context
        self._vote = WeightedVote(context, WeightedOptions())
        self._rank = FirstReadable(context)

    def read(self, state: QueryState, responses: Iterable[Response]) -> Reading:
        """The responses as they count, whatever their order."""
        ballots = read_ballots(self.context.grader, state, responses)
        return Reading(ballots, group_equivalent(self.context.grader, state.query, ballots))

    def settled(
        self, state: QueryState, responses: Sequence[Response], reading: Reading, *, min_agree: int
    ) -> Done | None:
        """The answer where nobody needs to be asked: no response can be read, or all readable ones agree."""
        if not reading.readable:
            return self.by_vote(state, responses)
        if len(reading.groups) == 1 and len(reading.readable) >= min_agree:
            return self.by_vote(state, responses, note="the experts agree: nobody else was asked")
        return None

    def by_vote(
        self,
        state: QueryState,
        responses: Sequence[Response],
        *,
        note: str | None = None,
        degraded: bool = False,
        extras: Mapping[str, JsonValue] | None = None,
    ) -> Done:
        """The weighted vote's answer, with a note that says why; of an open question the best expert's."""
        is_open = state.query.answer_type.is_graded
        answer = (self._rank if is_open else self._vote).step(state, responses).answer
        if note and is_open:
            note = note.replace(BY_VOTE, BY_RANK)
        changes = {
            "aggregator": self.name,
            "degraded": answer.degraded or degraded,
            "notes": (*answer.notes, note) if note else answer.notes,
            "extras": dict(extras or {}),
        }
        return Done(answer=answer.model_copy(update=changes))

    def by_majority(
        self,
        state: QueryState,
        responses: Sequence[Response],
        ballots: Sequence[Ballot],
        *,
        first: Sequence[Ballot],
        notes: Iterable[str] = (),
        extras: Mapping[str, JsonValue] | None = None,
    ) -> Done:
        """The answer with most of these votes; by the weighted vote of the responses if there are none."""
        groups = group_equivalent(self.context.grader, state.query, ballots)
        if not groups:
            return self.by_vote(state, responses, extras=extras)
        winner = most_votes(groups).best
        return self.chosen(state, responses, ballots, winner, first=first, notes=notes, extras=extras)

    def chosen(
        self,
        state: QueryState,
        responses: Sequence[Response],
        ballots: Sequence[Ballot],
        winner: Ballot,
        *,
        first: Sequence[Ballot] | None = None,
        weight: Callable[[Ballot], float] = one_each,
        notes: Iterable[str] = (),
        extras: Mapping[str, JsonValue] | None = None,
    ) -> Done:
        """The answer in the winner's words.

        Args:
            first: ballots of the experts' own responses, if others vote, too.
        """
        answer = expert_answer(
            self.name,
            state,
            responses,
            ballots,
            winner=winner,
            weight=weight,
        )
        absent = abstentions(ballots if first is None else first)
        changes = {
            "degraded": bool(absent),
            "notes": (*absent, *further(ballots, first), *notes),
            "extras": dict(extras or {}),
        }
        return Done(answer=answer.model_copy(update=changes))

    def composed(
        self,
        state: QueryState,
        responses: Sequence[Response],
        ballots: Sequence[Ballot],
        *,
        text: str,
        value: str,
        first: Sequence[Ballot] | None = None,
        weight: Callable[[Ballot], float] = one_each,
        notes: Iterable[str] = (),
        extras: Mapping[str, JsonValue] | None = None,
    ) -> Done:
        """An answer in nobody's words.

        Args:
            first: ballots of the experts' own responses, if others vote, too.
        """
        calls = used(state, responses)
        absent = abstentions(ballots if first is None else first)
        answer = Answer(
            text=text,
            value=value,
            aggregator=self.name,
            degraded=bool(absent),
            notes=(*absent, *further(ballots, first), *notes),
            votes=votes(ballots, weight),
            decision=state.decision,
            usage_by_role=usage_by_role(calls),
            n_calls=len(calls),
            extras=dict(extras or {}),
        )
        return Done(answer=answer)

    def call(
        self,
        expert: Expert,
        state: QueryState,
        messages: tuple[Message, ...],
        *,
        role: CallRole,
        place: int,
        temperature: float | None = None,
    ) -> Call:
        """A call of this step; `place` tells its reply from others', `temperature` None = the expert's."""
        return further_call(
            expert,
            state,
            messages,
            role=role,
            sample_ix=place,
            seed=self.context.seed_of(state),
            temperature=temperature,
        )

    def rng(self, state: QueryState) -> random.Random:
        """The same draws whenever the query's step is taken."""
        return random.Random(f"{self.context.seed_of(state)}:{state.query.content_hash}")

    def member(self, expert_id: str) -> Expert | None:
        """The expert, unless it has left the pool."""
        return self.context.pool.by_id.get(expert_id)


# ── who writes or judges ─────────────────────────────────────────────────────────────────────────


class Chair:
    """The members that may write or judge: those with the role `aggregator`, or `wanted` alone if named.

    Raises:
        ConfigError: no member may.
        UnknownNameError: the wanted one is not in the pool.
    """

    def __init__(self, owner: str, context: AggregatorContext, wanted: str | None = None) -> None:
        self._context = context
        self.members = _eligible(owner, context, wanted)
        self._skill = {expert.id: aggregation_skill(context, expert) for expert in self.members}

    def choose(self, state: QueryState) -> Expert:
        """Best aggregation skill; ties: an engine the query needs anyway, then cost, then id."""
        return self._best(state, self.members)

    def choose_without(self, state: QueryState, barred: Collection[str]) -> Expert | None:
        """The best that is not barred; None = all are."""
        free = [expert for expert in self.members if expert.id not in barred]
        return self._best(state, free) if free else None

    def _best(self, state: QueryState, members: Sequence[Expert]) -> Expert:
        recruits = state.decision.expert_ids if state.decision else ()
        by_id = self._context.pool.by_id
        needed = {by_id[expert_id].engine.id for expert_id in recruits if expert_id in by_id}
        return min(
            members,
            key=lambda e: (-self._skill[e.id], e.engine.id not in needed, price_per_token(e), e.id),
        )


def aggregation_skill(context: AggregatorContext, expert: Expert) -> float:
    """Lower end, in [0, 1], of the 90 % interval of the expert's accuracy in the exam (methods 1.4)."""
    card = context.cards.get(expert.id)
    exam = card.aggregation_total if card else Tally()
    return shrunk_posterior(exam, prior_mean=0.5).low


def price_per_token(expert: Expert) -> float:
    """USD for a token in and one out."""
    return expert.input_cost_per_token + expert.output_cost_per_token


def _eligible(owner: str, context: AggregatorContext, wanted: str | None) -> tuple[Expert, ...]:
    if wanted is not None:
        if wanted not in context.pool.by_id:
            raise UnknownNameError("expert", wanted, context.pool.by_id, param="aggregator")
        return (context.pool.by_id[wanted],)
    if not context.pool.aggregators:
        raise ConfigError(
            f"aggregator '{owner}' needs a member that writes or judges the answer.",
            param="aggregator",
            remedy="Give an expert the role 'aggregator', or use the aggregator 'weighted'.",
        )
    return context.pool.aggregators


# ── replies ──────────────────────────────────────────────────────────────────────────────────────


def rounds(state: QueryState, *roles: CallRole) -> list[dict[int, Response]]:
    """Replies to an aggregator's calls, a mapping from place to reply for each step that asked, in order.

    Args:
        roles: none = all that an aggregator may ask in.
    """
    wanted = frozenset(roles) or AGGREGATING
    by_stage: dict[int, dict[int, Response]] = {}
    for response in state.responses:
        if response.role in wanted:
            by_stage.setdefault(response.stage, {})[response.sample_ix] = response
    return [dict(sorted(by_stage[stage].items())) for stage in sorted(by_stage)]


def failures(replies: Iterable[Response]) -> tuple[str, ...]:
    """A note that names models that failed, and why; empty where all replied."""
    lost = sorted({f"{r.expert_id} ({r.error_code})" for r in replies if r.failed})
    return (f"not heard: {', '.join(lost)}",) if lost else ()


def further(ballots: Sequence[Ballot], first: Sequence[Ballot] | None) -> tuple[str, ...]:
    """A note on further responses that could not be read; empty where all could."""
    more = [] if first is None else [ballot for ballot in ballots if ballot not in first]
    n_read = sum(ballot.value is not None for ballot in more)
    return (f"{n_read} of {len(more)} further responses counted",) if n_read < len(more) else ()


def candidate_text(ballot: Ballot, budget: int) -> str:
    """A response as it is shown to others: without reasoning blocks, `shortened` to `budget` characters.

    Of one that speaks to its reader, only the answer that it states.
    """
    text = without_reasoning(ballot.response.text)
    return shortened((ballot.value if prompts.has_aside(text) else text) or ballot.value or "", budget)


def aside_notes(ballots: Iterable[Ballot]) -> tuple[str, ...]:
    """Note of each response of which no more than the stated answer is shown to others."""
    return tuple(
        f"{ballot.expert_id} speaks to whoever reads its answer: only what it states was shown"
        for ballot in ballots
        if ballot.value is not None and prompts.has_aside(without_reasoning(ballot.response.text))
    )


def shortened(text: str, budget: int) -> str:
    """The last `budget` characters, after `[…] `, of a text that is longer; else the text."""
    return text if len(text) <= budget else f"[…] {text[-budget:]}"


def standing(groups: Sequence[Group], query: Query) -> list[float]:
    """Summed log-odds of each answer, nats: what `weighted` decides by, and what settles ties here."""
    n_answers = len(query.options) or WRONG_ANSWERS + 1
    return [summed_log_odds(group, n_answers) for group in groups]


def leading(groups: Sequence[Group], query: Query, n: int) -> list[Group]:
    """The first n answers by `standing`; equals in the order of their best recruits."""
    scores = standing(groups, query)
    order = sorted(range(len(groups)), key=lambda i: (-scores[i], -len(groups[i].ballots), i))
    return [groups[i] for i in order[:n]]


def better_of_two(text: str) -> int | None:
    """The last `Better: 1`, `Better: 2` or `Better: tie` of a reply: 1, −1 or 0; None = it has none.

    `"... Better: 2"` -> −1.
    """
    found = _BETTER.findall(text)
    return {"1": 1, "2": -1, "tie": 0}[found[-1].lower()] if found else None


def is_compact(expert: Expert) -> bool:
    """True if the model replies with an answer of its own, whatever it is asked."""
    return expert.synthesize_prompt == prompts.COMPACT


def stated(context: AggregatorContext, query: Query, reply: Response, values: Sequence[str]) -> int | None:
    """Place of the one answer among `values` that a reply states; None = none of them, or several."""
    value = None if reply.failed else context.grader.read(query, reply)
    if value is None:
        return None
    same = [i for i, other in enumerate(values) if context.grader.equivalent(query, other, value)]
    return same[0] if len(same) == 1 else None


def verdict_of(
    context: AggregatorContext, expert: Expert, query: Query, reply: Response, values: tuple[str, str]
) -> int | None:
    """1 if the first shown answer was found better, −1 if the second, 0 for a tie; None = not readable.

    A model that is asked in the compact form says which of `values`, in the order shown, by stating it.
    """
    if reply.failed:
        return None
    if is_compact(expert):
        return {0: 1, 1: -1, None: None}[stated(context, query, reply, values)]
    return better_of_two(without_reasoning(reply.text))


class Shown(NamedTuple):
    """Two of the candidates, by their places, in the order in which they are shown."""

    first: int
    second: int


def both_orders(n: int) -> list[Shown]:
    """Every pair of n candidates in either order, the two orders of a pair side by side: n·(n − 1).

    `both_orders(2)` -> (0, 1), (1, 0).
    """
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    return [shown for i, j in pairs for shown in (Shown(i, j), Shown(j, i))]


def score_of(groups: Sequence[Group], scores: Sequence[float]) -> Callable[[Ballot], float]:
    """The weight of a vote that is its answer's score, one for each group; 0 for an answer that has none."""
    pairs = zip(groups, scores, strict=True)
    by_value = {ballot.value: score for group, score in pairs for ballot in group.ballots}
    return lambda ballot: by_value.get(ballot.value, 0.0)


def under_name(
    done: Done, first: Sequence[Ballot], extras: Mapping[str, JsonValue], *, notes: Iterable[str] = ()
) -> Done:
    """An answer made of later responses, with a note on the experts that abstained at first.

    Args:
        first: ballots of the experts' own responses.
    """
    absent = [note for note in abstentions(first) if note not in done.answer.notes]
    changes = {
        "notes": (*absent, *done.answer.notes, *notes),
        "degraded": done.answer.degraded or bool(absent),
        "extras": {**done.answer.extras, **extras},
    }
    return Done(answer=done.answer.model_copy(update=changes))
