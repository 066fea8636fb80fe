"""Several members check each answer; how far each is trusted is learnt from where they agree, without labels.

Source: Weaver, arXiv:2506.18203. Statistics are those of the job's queries so far;
docs/decisions/0031.

Shapes: I items (an answer of a query each), V verifiers.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, JsonValue

from aggregators.outputs.asking import (
    AskingOptions,
    Chair,
    Desk,
    Reading,
    candidate_text,
    failures,
    is_compact,
    leading,
    rounds,
    score_of,
    standing,
    stated,
)
from aggregators.outputs.label_model import (
    LEAST_VERIFIERS,
    MOST_TRUST,
    Floats,
    Objective,
    agreement,
    binarised,
    dawid_skene,
    informative,
    min_max,
    objective,
    posterior,
    reliabilities,
)
from aggregators.outputs.recent import Recent
from aggregators.outputs.votes import Group, without_reasoning
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.domain.cards import RIGHT, UNKNOWN, clipped_accuracy, summed
from orchestrator.domain.experts import Expert
from orchestrator.errors import UnknownNameError
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator, InFlight

NAME = "weak_verifiers"

HIGHEST = 10.0
"""The best score a verifier gives."""

_SCORE = re.compile(r"\bscore\W{1,6}(\d{1,2}(?:\.\d{1,3})?)", re.IGNORECASE)

Trust = Literal["label_model", "dawid_skene", "unweighted"]


class WeakVerifiersOptions(AskingOptions):
    """
    Args:
        verifiers: ids of the members that verify; none = all with the role `aggregator`.
        objective: `mean` = the posterior by trusted votes (or the mean score, where trust is `unweighted`);
            `wco` = the worst score; `uwo` = the mean less `penalty` times the variance.
        trust: how verifiers' accuracies are learnt from their agreement: moments (`label_model`) or EM
            (`dawid_skene`); `unweighted` = not at all.
        threshold: of a score, after scaling to [0, 1] over the batch, from which on it is a yes.
        penalty: lambda of `uwo`.
        least_items: verified answers of the job, so far, below which nothing is learnt from agreement.
    """

    verifiers: tuple[str, ...] = Field(default=(), max_length=64)
    objective: Objective = "mean"
    trust: Trust = "label_model"
    threshold: float = Field(default=0.5, ge=0, le=1)
    penalty: float = Field(default=0.5, ge=0)
    least_items: int = Field(default=20, ge=1)


class Learnt(NamedTuple):
    """Lesson of a batch about its verifiers.

    Attributes:
        probability: that each item is right, [I]; or its score by the objective.
        kept: verifiers that counted.
        trust: reliability of each of these; empty = they counted alike.
        why: why nothing was learnt from agreement; "" where something was.
    """

    probability: Floats
    kept: tuple[int, ...]
    trust: tuple[float, ...]
    why: str


def verified(scores: Floats, options: WeakVerifiersOptions, *, balance: float) -> Learnt:
    """Each item's probability of being right, or its score by the objective.

    Args:
        scores: [I, V], in any unit of each verifier's own; nan = not given. Not modified.
        balance: share of items that are right, in (0, 1).
    """
    scaled = min_max(scores)
    votes = binarised(scaled, options.threshold)
    able = informative(votes)
    kept = np.flatnonzero(able)
    why = ""
    if options.objective != "mean" or options.trust == "unweighted":
        why = "not asked for"
    elif len(scores) < options.least_items:
        why = f"{len(scores)} answers were verified together, {options.least_items} are needed"
    elif len(kept) < LEAST_VERIFIERS:
        why = f"{len(kept)} verifiers told answers apart, {LEAST_VERIFIERS} are needed"
    if why:
        used = kept if len(kept) else np.arange(scores.shape[1])
        values = [_one_score(row[used], options) for row in scaled]
        return Learnt(np.array(values), tuple(used.tolist()), (), why)
    votes = votes[:, kept]
    if options.trust == "dawid_skene":
        right = dawid_skene(votes, balance)
        return Learnt(right, tuple(kept.tolist()), tuple(_trust_in(votes, right)), "")
    trust = reliabilities(agreement(votes))
    right = np.array([posterior(row, trust, balance) for row in votes.tolist()])
    return Learnt(right, tuple(kept.tolist()), tuple(trust), "")


def _one_score(row: Floats, options: WeakVerifiersOptions) -> float:
    given = row[~np.isnan(row)].tolist()
    return objective(given, options.objective, penalty=options.penalty) if given else np.nan


def _trust_in(votes: Floats, right: Floats) -> list[float]:
    """Mean of v·y of each verifier, y by the posterior."""
    y = 2 * right - 1
    mean = (votes * y[:, None]).sum(axis=0) / np.maximum(np.abs(votes).sum(axis=0), 1)
    return [float(a) for a in np.clip(mean, -MOST_TRUST, MOST_TRUST)]


# ── the aggregator ───────────────────────────────────────────────────────────────────────────────


class _Item(NamedTuple):
    """A candidate of a query in the batch, with the scores that its verifiers gave."""

    query_id: int
    place: int
    scores: Mapping[str, float]


class WeakVerifiers:
    """Has every different answer verified, unless the experts agree; the most probable one wins.

    Ties: the weighted vote, then the better recruit. Without a readable score the weighted vote decides.
    """

    name = NAME

    def __init__(
        self,
        context: AggregatorContext,
        options: WeakVerifiersOptions,
        *,
        known: Mapping[tuple[int, int], float] | None = None,
        said: dict[str, JsonValue] | None = None,
    ) -> None:
        """
        Args:
            known: scores of the batch's candidates, by query id and place.
            said: what was learnt, for the answers.
        """
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._verifiers = _verifiers(context, options)
        self._balance = class_balance(context)
        self._known = known
        self._said = said or {}
        self._recent = Recent()

    def learn(self, batch: Sequence[InFlight]) -> Aggregator:
        """Trust in the verifiers, from all candidates of these queries."""
        heard = self._recent.joined([one for one in batch if rounds(one[0], CallRole.VERIFY)])
        items = [item for state, responses in heard for item in self._items(state, responses)]
        names = sorted({name for item in items for name in item.scores})
        if not names:
            return self
        scores = np.array([[item.scores.get(name, np.nan) for name in names] for item in items])
        learnt = verified(scores, self._options, balance=self._balance)
        known = {
            (item.query_id, item.place): float(value)
            for item, value in zip(items, learnt.probability, strict=True)
            if not np.isnan(value)
        }
        return WeakVerifiers(
            self._context, self._options, known=known, said=self._told(learnt, names, n_items=len(items))
        )

    def _told(self, learnt: Learnt, names: Sequence[str], *, n_items: int) -> dict[str, JsonValue]:
        kept = [names[i] for i in learnt.kept]
        trust: dict[str, JsonValue] = {
            name: round(a, 6) for name, a in zip(kept, learnt.trust, strict=False) if learnt.trust
        }
        dropped: list[JsonValue] = [name for name in names if name not in kept]
        told: dict[str, JsonValue] = {"objective": self._options.objective, "items": n_items, "trust": trust}
        told |= {"class_balance": round(self._balance, 6), "dropped": dropped}
        return told | ({"unweighted": learnt.why} if learnt.why else {})

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        candidates = self._candidates(state, reading)
        if len(candidates) < 2:
            return self._desk.by_vote(state, expert_responses, note="one answer only: nothing to verify")
        if not rounds(state, CallRole.VERIFY):
            return self._ask(state, candidates)
        if self._known is None:
            alone = self.learn([(state, expert_responses)])
            if alone is not self:
                return alone.step(state, expert_responses)
        return self._finish(state, expert_responses, reading, candidates)

    def _candidates(self, state: QueryState, reading: Reading) -> list[Group]:
        return leading(reading.groups, state.query, self._options.max_candidates)

    def _ask(self, state: QueryState, candidates: Sequence[Group]) -> Ask:
        texts = [candidate_text(group.best, self._options.max_candidate_chars) for group in candidates]
        calls = [
            self._desk.call(
                verifier,
                state,
                prompts.verify(
                    state.query, text, style=verifier.synthesize_prompt, fence=prompts.draw_fence()
                ),
                role=CallRole.VERIFY,
                place=place,
            )
            for verifier in self._verifiers
            for place, text in enumerate(texts)
        ]
        return Ask(calls=tuple(calls))

    def _items(self, state: QueryState, responses: Sequence[Response]) -> list[_Item]:
        replies = [r for r in state.responses if r.role is CallRole.VERIFY and not r.failed]
        if not replies:
            return []
        candidates = self._candidates(state, self._desk.read(state, responses))
        scores: dict[int, dict[str, float]] = {}
        for reply in replies:
            if reply.sample_ix < len(candidates):
                value = self._score(state, reply, candidates[reply.sample_ix].value)
                if value is not None:
                    scores.setdefault(reply.sample_ix, {})[reply.expert_id] = value
        return [_Item(state.id, place, found) for place, found in sorted(scores.items())]

    def _score(self, state: QueryState, reply: Response, value: str) -> float | None:
        """A verifier's score in [0, 10]; one that is asked in the compact form says yes by its answer."""
        verifier = self._desk.member(reply.expert_id)
        if verifier is None:
            return None
        if is_compact(verifier):
            own = self._context.grader.read(state.query, reply)
            same = stated(self._context, state.query, reply, (value,))
            return None if own is None else HIGHEST * (same is not None)
        return read_score(without_reasoning(reply.text))

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        candidates: Sequence[Group],
    ) -> Done:
        known = self._known or {}
        scores = [known.get((state.id, place)) for place in range(len(candidates))]
        said = [r for r in state.responses if r.role is CallRole.VERIFY]
        listed: dict[str, JsonValue] = {
            group.value: None if score is None else round(score, 6)
            for group, score in zip(candidates, scores, strict=True)
        }
        extras: dict[str, JsonValue] = {NAME: {**self._said, "scores": listed}}
        if all(score is None for score in scores):
            note = "no verifier gave a readable score: decided by weighted vote"
            return self._desk.by_vote(state, responses, note=note, degraded=True, extras=extras)
        # Rounded: equal evidence must tie whatever the order it was added in. What nobody scored comes last.
        values = [-np.inf if score is None else round(score, 9) for score in scores]
        votes = standing(candidates, state.query)
        winner = max(range(len(candidates)), key=lambda i: (values[i], votes[i], -i))
        return self._desk.chosen(
            state,
            responses,
            reading.ballots,
            candidates[winner].best,
            weight=score_of(candidates, [score or 0.0 for score in scores]),
            notes=failures(said),
            extras=extras,
        )


def read_score(text: str) -> float | None:
    """The last `Score: N` of a reply, in [0, 10]; None = it has none."""
    found = _SCORE.findall(text)
    score = float(found[-1]) if found else None
    return score if score is not None and score <= HIGHEST else None


def class_balance(context: AggregatorContext) -> float:
    """Share of the profile's responses that are right, in [0.02, 0.98]; of the cards' where there is no
    profile; .5 where nothing was measured."""
    profile = context.profile
    if profile is not None and (measured := int((profile.outcomes != UNKNOWN).sum())):
        return clipped_accuracy(int((profile.outcomes == RIGHT).sum()) / measured)
    total = summed(card.total for card in context.cards.values())
    return clipped_accuracy(total.accuracy) if total.n else 0.5


def _verifiers(context: AggregatorContext, options: WeakVerifiersOptions) -> tuple[Expert, ...]:
    """
    Raises:
        UnknownNameError: one that is named is not in the pool.
        ConfigError: none is named, and nobody has the role.
    """
    for expert_id in options.verifiers:
        if expert_id not in context.pool.by_id:
            raise UnknownNameError("expert", expert_id, context.pool.by_id, param="verifiers")
    if options.verifiers:
        return tuple(context.pool.by_id[expert_id] for expert_id in dict.fromkeys(options.verifiers))
    return Chair(NAME, context, options.aggregator).members


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `weak_verifiers` with its options, `WeakVerifiersOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may verify.
        UnknownNameError: one of `verifiers`, or `aggregator`, is not in the pool.
    """
    return WeakVerifiers(context, parse_options(f"aggregator '{NAME}'", WeakVerifiersOptions, options))


def asks_model(options: Mapping[str, JsonValue]) -> bool:
    """True if it needs a member with the role `aggregator`: not where verifiers are named."""
    return not options.get("verifiers")
