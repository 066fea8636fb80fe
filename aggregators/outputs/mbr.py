"""The response that is most like the others: minimum Bayes risk, for free text, where votes do not exist.

Source: "When Life Gives You Samples", arXiv:2506.20544, with its hedged sampling and its one-pass
selection by a checklist (CHOPS).

Shapes: N responses.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue

from aggregators.outputs.asking import (
    AskingOptions,
    Chair,
    Desk,
    Reading,
    candidate_text,
    failures,
    is_compact,
    rounds,
    stated,
)
from aggregators.outputs.verifying.texts import words as words_of
from aggregators.outputs.votes import Ballot, in_order, read_ballots, without_reasoning, words
from orchestrator import prompts
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, CallRole, Done, QueryState, Response
from orchestrator.domain.queries import AnswerType
from orchestrator.options import parse_options
from orchestrator.ports.composing import Aggregator
from orchestrator.ports.skills import Embedder

NAME = "mbr"

Floats = npt.NDArray[np.float64]

WRITTEN = frozenset({AnswerType.TEXT, AnswerType.JSON, AnswerType.CODE, AnswerType.OPEN})
"""Answer types whose texts are compared; other answers are alike if they are equivalent."""

_CHOICE = re.compile(r"\bchoice\W{1,6}(\d{1,3})\b", re.IGNORECASE)


class MbrOptions(AskingOptions):
    """
    Args:
        samples: of the best recruit, beside the responses; 0 = none, and no calls.
        temperature: of these samples.
        hedged: one of them is greedy.
        compare: by embedding of the texts, where there is an embedder; or by their words in common.
        one_pass: a member writes a checklist and picks, instead of similarity: one call.
    """

    samples: int = Field(default=0, ge=0, le=64)
    temperature: float = Field(default=0.7, ge=0, le=2)
    hedged: bool = True
    compare: Literal["embedding", "words"] = "embedding"
    one_pass: bool = False


def mean_similarity(similarity: npt.ArrayLike, weights: Sequence[float]) -> list[float]:
    """Mean similarity of each response to the others, weighted; [N]. A lone response has 0.

    Args:
        similarity: [N, N], symmetric; the diagonal is not read.
        weights: [N], >= 0, of each response as a witness; those of no weight together count alike.
    """
    s = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(s, 0.0)
    w = np.asarray(weights, dtype=np.float64)
    w = w if w.sum() > 0 else np.ones_like(w)
    others = w.sum() - w
    plain = s.sum(axis=1) / max(len(w) - 1, 1)
    alike = np.divide(s @ w, others, out=plain, where=others > 0)
    return [float(value) for value in np.round(alike, 9)]


def most_typical(similarity: npt.ArrayLike, weights: Sequence[float], texts: Sequence[str]) -> int:
    """Place of the response of highest mean similarity; ties: the commonest text, then the first.

    Two equal responses and one other: one of the two.

    Args:
        similarity, weights: as `mean_similarity`.
        texts: N >= 1, as they are shown.
    """
    scores = mean_similarity(similarity, weights)
    return max(range(len(texts)), key=lambda i: (scores[i], texts.count(texts[i]), -i))


def overlap(a: str, b: str) -> float:
    """Share of words in common, in [0, 1]: where there is no embedder. Equal texts have 1."""
    left, right = set(words_of(a)), set(words_of(b))
    if a == b or not left | right:
        return float(a == b)
    return len(left & right) / len(left | right)


class MinimumBayesRisk:
    """Picks the most typical response, unless all say the same; asks nobody by default."""

    name = NAME

    def __init__(self, context: AggregatorContext, options: MbrOptions) -> None:
        self._desk = Desk(NAME, context)
        self._context = context
        self._options = options
        self._chair = Chair(NAME, context, options.aggregator) if options.one_pass else None

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        reading = self._desk.read(state, expert_responses)
        settled = self._desk.settled(state, expert_responses, reading, min_agree=self._options.min_agree)
        if settled is not None:
            return settled
        sampled = rounds(state, CallRole.SAMPLE)
        if not sampled and (ask := self._sampled(state, reading)) is not None:
            return ask
        more = read_ballots(self._context.grader, state, [*sampled[0].values()] if sampled else [])
        ballots = in_order([*reading.ballots, *more])
        readable = [ballot for ballot in ballots if ballot.value is not None]
        picked = rounds(state, CallRole.JUDGE)
        if self._chair is not None and len(readable) > 1:
            if not picked:
                return self._pick(state, readable, self._chair)
            choice = self._picked(state, readable, picked[0])
            return self._finish(state, expert_responses, reading.ballots, ballots, choice)
        return self._finish(state, expert_responses, reading.ballots, ballots, None)

    def _sampled(self, state: QueryState, reading: Reading) -> Ask | None:
        """None = no samples are wanted, or nobody is there to give them."""
        present = [e for b in reading.readable if (e := self._desk.member(b.expert_id)) is not None]
        if not present or not self._options.samples:
            return None
        expert, n = present[0], self._options.samples
        messages = prompts.expert(state.query, style=expert.prompt, system_prompt=expert.system_prompt)
        warm = [self._options.temperature] * n
        temperatures = [*warm[:-1], 0.0] if self._options.hedged else warm
        calls = [
            self._desk.call(
                expert, state, messages, role=CallRole.SAMPLE, place=place, temperature=temperature
            )
            for place, temperature in enumerate(temperatures)
        ]
        return Ask(calls=tuple(calls))

    # ── one pass ──────────────────────────────────────────────────────────────────────────────────

    def _shown(self, state: QueryState, readable: Sequence[Ballot]) -> list[Ballot]:
        """Candidates in the order in which they are shown; of equal texts one."""
        different = {words(ballot): ballot for ballot in reversed(readable)}
        shown = in_order(different.values())[: self._options.max_candidates]
        self._desk.rng(state).shuffle(shown)
        return shown

    def _pick(self, state: QueryState, readable: Sequence[Ballot], chair: Chair) -> Ask:
        member = chair.choose(state)
        shown = self._shown(state, readable)
        texts = [candidate_text(ballot, self._options.max_candidate_chars) for ballot in shown]
        messages = prompts.checklist(
            state.query, texts, style=member.synthesize_prompt, fence=prompts.draw_fence()
        )
        return Ask(calls=(self._desk.call(member, state, messages, role=CallRole.JUDGE, place=0),))

    def _picked(
        self, state: QueryState, readable: Sequence[Ballot], replies: Mapping[int, Response]
    ) -> Ballot | str:
        """The ballot that was picked, or why none was."""
        reply, shown = replies[0], self._shown(state, readable)
        if reply.failed:
            return f"failed ({reply.error_code})"
        member = self._desk.member(reply.expert_id)
        if member is not None and is_compact(member):
            place = stated(self._context, state.query, reply, [ballot.value or "" for ballot in shown])
        else:
            place = chosen_number(without_reasoning(reply.text), len(shown))
        return "made no readable choice" if place is None else shown[place]

    # ── the answer ────────────────────────────────────────────────────────────────────────────────

    def _finish(
        self,
        state: QueryState,
        responses: Sequence[Response],
        first: Sequence[Ballot],
        ballots: Sequence[Ballot],
        picked: Ballot | str | None,
    ) -> Done:
        readable = [ballot for ballot in ballots if ballot.value is not None]
        similarity = self._similarity(state, readable)
        accuracies = [ballot.accuracy for ballot in readable]
        scores = mean_similarity(similarity, accuracies)
        texts = [words(ballot) for ballot in readable]
        winner = readable[most_typical(similarity, accuracies, texts)]
        notes = list(failures(r for r in state.responses if r.role in (CallRole.SAMPLE, CallRole.JUDGE)))
        if isinstance(picked, Ballot):
            winner = picked
        elif picked is not None:
            notes.append(f"the checklist {picked}: the most typical response was taken")
        done = self._desk.chosen(
            state,
            responses,
            ballots,
            winner,
            first=first,
            weight=lambda ballot: scores[readable.index(ballot)],
            notes=notes,
            extras={NAME: {"similarity": scores[readable.index(winner)], "by": self._measure(state)}},
        )
        degraded = done.answer.degraded or isinstance(picked, str)
        return Done(answer=done.answer.model_copy(update={"degraded": degraded}))

    def _measure(self, state: QueryState) -> str:
        if state.query.answer_type not in WRITTEN:
            return "equivalent answers"
        embedder = self._embedder()
        return "words in common" if embedder is None else embedder.name

    def _similarity(self, state: QueryState, readable: Sequence[Ballot]) -> Floats:
        """[N, N], in [−1, 1]."""
        texts = [words(ballot) for ballot in readable]
        if state.query.answer_type not in WRITTEN:
            values = [ballot.value or "" for ballot in readable]
            same = self._context.grader.equivalent
            return np.array([[float(same(state.query, *sorted((a, b)))) for b in values] for a in values])
        embedder = self._embedder()
        if embedder is None:
            return np.array([[overlap(a, b) for b in texts] for a in texts])
        vectors = np.asarray(embedder.encode(texts), dtype=np.float64)
        return np.asarray(vectors @ vectors.T)

    def _embedder(self) -> Embedder | None:
        """What compares texts; None = their words do."""
        if self._options.compare == "words" or self._context.embedder is None:
            return None
        return self._context.embedder()


def chosen_number(text: str, n: int) -> int | None:
    """Place of the last `Choice: N` of a reply, from 0; None = none of the n. `"Choice: 2"` -> 1."""
    found = _CHOICE.findall(text)
    number = int(found[-1]) if found else 0
    return number - 1 if 1 <= number <= n else None


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `mbr` with its options, `MbrOptions`.

    Raises:
        ConfigError: an unknown option, a value out of range, or no member that may pick (`one_pass`).
        UnknownNameError: `aggregator` names nobody in the pool.
    """
    return MinimumBayesRisk(context, parse_options(f"aggregator '{NAME}'", MbrOptions, options))


def asks_model(options: Mapping[str, JsonValue]) -> bool:
    """True if it needs a member with the role `aggregator`."""
    return bool(options.get("one_pass"))
