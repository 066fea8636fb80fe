"""A model scores the answers in pairs, evidence first, in both orders; the highest mean score wins.

Source: FairEval, arXiv:2305.17926 (several samples with evidence before scores, both orders, entropy of the
verdicts). Where we differ: pairs are of different answers, not of responses; docs/decisions/0031.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    is_compact,
    leading,
    rounds,
    score_of,
    standing,
    stated,
)
from aggregators.outputs.recent import Recent
from aggregators.outputs.votes import Group, without_reasoning
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, QueryState, Response
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, InFlight

NAME = "judge"

BEST, WORST = 10.0, 1.0
"""Ends of the scale of scores."""

FOR_PEOPLE = 0.2
"""Share of a batch, that with the largest entropy, which is marked for people to look at."""

_NUMBER = r"(\d{1,2}(?:\.\d{1,3})?)"
_SCORES = re.compile(rf"^\W{{0,9}}scores?\W{{1,9}}{_NUMBER}[^\d\n]{{1,20}}{_NUMBER}", re.I | re.M)
_CRITERION = re.compile(
    rf"^\W{{0,9}}criterion\s(\d{{1,3}})\W{{1,9}}{_NUMBER}[^\d\n]{{1,20}}{_NUMBER}", re.I | re.M
)
_HARD = re.compile(r"^\W{0,9}hard\s(\d{1,3})\W{1,9}(pass|fail)\W{1,20}(pass|fail)", re.I | re.M)


class Criterion(Options):
    """A criterion of a rubric. `weight`: > 0, relative to the other criteria's."""

    criterion: str = Field(min_length=1, max_length=2000)
    weight: float = Field(default=1.0, gt=0)


class JudgeOptions(AskingOptions):
    """
    Args:
        k: samples per order of a pair; two answers cost 2k calls.
        temperature: of the samples.
        rubric: criteria that are scored one by one, and their weights; none = one score.
        veto: hard criteria; an answer that most samples see fail one cannot win.
    """

    k: int = Field(default=3, ge=1, le=32)
    temperature: float = Field(default=1.0, ge=0, le=2)
    rubric: tuple[Criterion, ...] = Field(default=(), max_length=32)
    veto: tuple[str, ...] = Field(default=(), max_length=32)


class Scored(NamedTuple):
    """One reply: scores of the candidates as shown, in [1, 10], and whether each fails a hard criterion."""

    first: float
    second: float
    fails_first: tuple[bool, ...] = ()
    fails_second: tuple[bool, ...] = ()

    @property
    def turned(self) -> "Scored":
        """The reply as if the candidates had been shown the other way round."""
        return Scored(self.second, self.first, self.fails_second, self.fails_first)


class Shares(NamedTuple):
    """Shares of verdicts for A, for neither and for B; they sum to 1."""

    win: float
    tie: float
    loss: float


class Balanced(NamedTuple):
    """Mean scores of A and B over both orders, in [1, 10], and the shares of verdicts."""

    a: float
    b: float
    shares: Shares

    @property
    def entropy(self) -> float:
        """Entropy of the verdicts, nats, in [0, log 3]."""
        return entropy(self.shares)


def balanced(a_first: Sequence[Scored], b_first: Sequence[Scored]) -> Balanced | None:
    """Means over the replies of both orders, each with its scores as shown; None = there are none.

    A shown first: A 8 B 6, A 7 B 6; B shown first: A 6 B 7 -> A 7, B 6.33, shares (2/3, 0, 1/3), entropy
    .637.

    Args:
        a_first, b_first: replies where A, and where B, was shown first.
    """
    all_scores = [*((s.first, s.second) for s in a_first), *((s.second, s.first) for s in b_first)]
    if not all_scores:
        return None
    n = len(all_scores)
    wins, losses = sum(a > b for a, b in all_scores), sum(a < b for a, b in all_scores)
    shares = Shares(wins / n, (n - wins - losses) / n, losses / n)
    return Balanced(math.fsum(a for a, _ in all_scores) / n, math.fsum(b for _, b in all_scores) / n, shares)


def entropy(shares: Sequence[float]) -> float:
    """Entropy of verdicts, nats, in [0, log 3]: 0 where all samples say the same.

    `(2/3, 0, 1/3)` -> .637.
    """
    return -math.fsum(share * math.log(share) for share in shares if share > 0) + 0.0


def most_divided(entropies: Mapping[int, float], *, share: float = FOR_PEOPLE) -> frozenset[int]:
    """The part of a batch over which the judge is most of two minds; never where it is of one.

    Args:
        entropies: of each query, by its id.
        share: in [0, 1], of the batch, rounded down.
    """
    order = sorted(entropies, key=lambda query_id: (-entropies[query_id], query_id))
    return frozenset(i for i in order[: int(share * len(order) + 1e-9)] if entropies[i] > 0)


def read_scores(text: str, *, weights: Sequence[float] = (), n_hard: int = 0) -> Scored | None:
    """The scores that a reply ends with, in [1, 10]; None = not readable, or off the scale.

    Args:
        weights: of the criteria, > 0; none = one score each. All criteria must have been scored.
        n_hard: hard criteria, all of which must have been decided.
    """
    pairs = _of_criteria(text, len(weights)) if weights else _of_answers(text)
    hard = {int(number): (a.lower() == "fail", b.lower() == "fail") for number, a, b in _HARD.findall(text)}
    decided = [hard.get(number) for number in range(1, n_hard + 1)]
    if pairs is None or not all(WORST <= score <= BEST for pair in pairs for score in pair):
        return None
    fails = [one for one in decided if one is not None]
    if len(fails) < n_hard:
        return None
    shares = [weight / math.fsum(weights) for weight in weights] or [1.0]
    first, second = (
        math.fsum(w * pair[side] for w, pair in zip(shares, pairs, strict=True)) for side in (0, 1)
    )
    return Scored(first, second, tuple(a for a, _ in fails), tuple(b for _, b in fails))


def _of_answers(text: str) -> list[tuple[float, float]] | None:
    found = _SCORES.findall(text)
    return [(float(found[-1][0]), float(found[-1][1]))] if found else None


def _of_criteria(text: str, n: int) -> list[tuple[float, float]] | None:
    found = {int(number): (float(a), float(b)) for number, a, b in _CRITERION.findall(text)}
    pairs = [found[number] for number in range(1, n + 1) if number in found]
    return pairs if len(pairs) == n else None


class Judged(NamedTuple):
    """Outcome of all samples.

    Attributes:
        scores: mean over each candidate's pairs; None = no sample of any of its pairs could be read.
        entropy: of the verdicts on the two best, nats.
        vetoed: candidates that failed a hard criterion.
        n_read: samples that could be read.
    """

    scores: list[float | None]
    entropy: float
    vetoed: frozenset[int]
    n_read: int


def judged(n: int, samples: Mapping[Shown, Sequence[Scored]]) -> Judged:
    """Scores of n candidates, in [1, 10], from the samples of each pair in each order.

    Args:
        n: >= 2.
        samples: of a pair as it was shown; an order without any is missing or empty.
    """
    of: dict[int, list[float]] = {i: [] for i in range(n)}
    pairs: dict[tuple[int, int], Balanced] = {}
    for shown in both_orders(n)[::2]:
        turned = Shown(shown.second, shown.first)
        if (pair := balanced(samples.get(shown, ()), samples.get(turned, ()))) is not None:
            pairs[shown.first, shown.second] = pair
            of[shown.first].append(pair.a)
            of[shown.second].append(pair.b)
    # Rounded: equal sums must tie whatever the order they were added in.
    scores = [round(math.fsum(of[i]) / len(of[i]), 9) if of[i] else None for i in range(n)]
    best = sorted(range(n), key=lambda i: (-(scores[i] or 0.0), i))[:2]
    leaders = pairs.get((min(best), max(best))) if len(best) == 2 else None
    return Judged(
        scores,
        leaders.entropy if leaders else 0.0,
        vetoed(n, samples),
        sum(len(found) for found in samples.values()),
    )


def vetoed(n: int, samples: Mapping[Shown, Sequence[Scored]]) -> frozenset[int]:
    """Places, of n candidates, that more than half of their samples saw fail some hard criterion."""
    seen: dict[int, list[tuple[bool, ...]]] = {i: [] for i in range(n)}
    for shown, found in samples.items():
        for one in found:
            seen[shown.first].append(one.fails_first)
            seen[shown.second].append(one.fails_second)
    return frozenset(
        i
        for i, fails in seen.items()
        if any(2 * sum(of_criterion) > len(fails) for of_criterion in zip(*fails, strict=True))
    )


class Judge:
    """Scores the different answers in pairs, unless the experts agree.

    Samples that cannot be read are left out; where none is left the judge abstains, and the weighted vote
    decides. Of the queries of a job so far the fifth over which the judge is most divided is for people.
    """

    name = NAME

    def __init__(
        self, context: AggregatorContext, options: JudgeOptions, *, for_people: frozenset[int] = frozenset()
    ) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._chair = Chair(NAME, context, options.aggregator)
        self._for_people = for_people
        self._recent = Recent()

    def learn(self, batch: Sequence[InFlight]) -> Aggregator:
        """The judge that knows which queries of the batch are for people."""
        entropies = {}
        for state, responses in self._recent.joined([one for one in batch if rounds(one[0], CallRole.JUDGE)]):
            candidates = self._candidates(state, self._desk.read(state, responses))
            replies = rounds(state, CallRole.JUDGE)[0]
            entropies[state.id] = self._judged(state, candidates, replies).entropy
        return Judge(self._context, self._options, for_people=most_divided(entropies))

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        candidates = self._candidates(state, reading)
        if len(candidates) < 2:
            return self._desk.by_vote(state, expert_responses, note="one answer only: nothing to compare")
        replies = rounds(state, CallRole.JUDGE)
        if not replies:
            return self._ask(state, candidates)
        return self._finish(state, expert_responses, reading, candidates, replies[0])

    def _candidates(self, state: QueryState, reading: Reading) -> list[Group]:
        return leading(reading.groups, state.query, self._options.max_candidates)

    def _ask(self, state: QueryState, candidates: Sequence[Group]) -> Ask:
        judge, options = self._chair.choose(state), self._options
        texts = [candidate_text(group.best, options.max_candidate_chars) for group in candidates]
        calls: list[Call] = []
        for shown in both_orders(len(candidates)):
            messages = prompts.judge(
                state.query,
                (texts[shown.first], texts[shown.second]),
                style=judge.synthesize_prompt,
                fence=prompts.draw_fence(),
                rubric=[one.criterion for one in options.rubric],
                hard=options.veto,
            )
            calls += [
                self._desk.call(
                    judge,
                    state,
                    messages,
                    role=CallRole.JUDGE,
                    place=len(calls) + sample,
                    temperature=options.temperature,
                )
                for sample in range(options.k)
            ]
        return Ask(calls=tuple(calls))

    def _judged(
        self, state: QueryState, candidates: Sequence[Group], replies: Mapping[int, Response]
    ) -> Judged:
        orders = both_orders(len(candidates))
        values = [group.value for group in candidates]
        samples: dict[Shown, list[Scored]] = {}
        for place, reply in replies.items():
            if place >= len(orders) * self._options.k:
                continue  # an option was changed since
            shown = orders[place // self._options.k]
            found = self._read(state, reply, (values[shown.first], values[shown.second]))
            if found is not None:
                samples.setdefault(shown, []).append(found)
        return judged(len(candidates), samples)

    def _read(self, state: QueryState, reply: Response, values: tuple[str, str]) -> Scored | None:
        judge = self._desk.member(reply.expert_id)
        if reply.failed or judge is None:
            return None
        if is_compact(judge):
            place = stated(self._context, state.query, reply, values)
            return {0: Scored(BEST, WORST), 1: Scored(WORST, BEST), None: None}[place]
        weights = [one.weight for one in self._options.rubric]
        return read_scores(without_reasoning(reply.text), weights=weights, n_hard=len(self._options.veto))

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        reading: Reading,
        candidates: Sequence[Group],
        replies: Mapping[int, Response],
    ) -> Done:
        found = self._judged(state, candidates, replies)
        judge_id = next(iter(replies.values())).expert_id
        extras = self._extras(state, judge_id, candidates, found, n_asked=len(replies))
        left = [i for i, score in enumerate(found.scores) if score is not None and i not in found.vetoed]
        if not left:
            why = "every answer failed a hard criterion" if found.vetoed else "gave no readable scores"
            return self._desk.by_vote(
                state,
                responses,
                note=f"judge {judge_id}: {why}: decided by weighted vote",
                degraded=True,
                extras=extras,
            )
        votes = standing(candidates, state.query)
        scores = [score or 0.0 for score in found.scores]
        winner = max(left, key=lambda i: (scores[i], votes[i], -i))
        return self._desk.chosen(
            state,
            responses,
            reading.ballots,
            candidates[winner].best,
            weight=score_of(candidates, scores),
            notes=(*failures(replies.values()), *self._notes(state, judge_id, found)),
            extras=extras,
        )

    def _notes(self, state: QueryState, judge_id: str, found: Judged) -> list[str]:
        notes = []
        judge = self._desk.member(judge_id)
        if judge is not None and is_compact(judge) and (self._options.rubric or self._options.veto):
            notes.append(f"judge {judge_id} is asked in the compact form, which has no rubric and no veto")
        if state.id in self._for_people:
            notes.append(f"for people: the judge is of two minds (entropy {found.entropy:.2f} nats)")
        return notes

    def _extras(
        self, state: QueryState, judge_id: str, candidates: Sequence[Group], found: Judged, *, n_asked: int
    ) -> dict[str, JsonValue]:
        scores: dict[str, JsonValue] = {
            group.value: score for group, score in zip(candidates, found.scores, strict=True)
        }
        return {
            "judge": {
                "model": judge_id,
                "scores": scores,
                "entropy": round(found.entropy, 6),
                "for_people": state.id in self._for_people,
                "vetoed": [candidates[i].value for i in sorted(found.vetoed)],
                "samples": {"asked": n_asked, "read": found.n_read},
            }
        }


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `judge` with its options, `JudgeOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may write or judge.
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return Judge(context, parse_options(f"aggregator '{NAME}'", JudgeOptions, options))
