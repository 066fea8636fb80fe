"""The learned vote, with a verifier that reads the responses: a vote counts more if its text looks right.

Source of the idea: Weaver, arXiv:2506.18203. What was tried, and why one learnt reader: docs/decisions/0015.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from pydantic import Field, JsonValue

from aggregators.outputs import learned
from aggregators.outputs.learned import LearnedVote
from aggregators.outputs.reading import Reader
from aggregators.outputs.verifying.model import TEXT_SIGNS, Group, Verifier, fit_verifier
from aggregators.outputs.vote_fit import Floats, train_votes, train_votes_with
from aggregators.outputs.vote_model import VoteModel
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Ask, Done, QueryState, Response
from orchestrator.domain.cards import Profile
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator, Count, SequentialAggregator

NAME = "verifiers"

SURE = 1.645
"""Standard errors that the gain must be above 0: 95 %, one-sided."""


class VerifiersOptions(Options):
    """
    Args:
        min_questions: different profile questions below which nothing is read: the verifier would hardly
            pay. A set of 2,000 that repeats some has enough.
        signs: what the verifier sees of a text. `cues` are not of the text: length and place of the chosen
            option, length of the question. Such test-taking cues help on the exam they were learnt on and do
            not transfer; they are for ablations.
        fallback: options of the `weighted` vote that is used where nothing can be learnt.
    """

    min_questions: int = Field(default=1900, ge=1)
    signs: tuple[Group, ...] = Field(default=TEXT_SIGNS, min_length=1)
    fallback: dict[str, JsonValue] = Field(default_factory=dict)


class Reading(NamedTuple):
    """A verifier that won inside the profile, and the vote weights learnt beside it."""

    verifier: Verifier
    votes: VoteModel


class Gain(NamedTuple):
    """Mean and standard error, over profile questions, of what the verifier adds to the log probability of
    the right answer, nats; by models that had not seen the question."""

    mean: float
    error: float

    @property
    def sure(self) -> bool:
        """True if the mean is above 0 by more than 1.645 standard errors (95 %, one-sided)."""
        return self.mean > SURE * self.error


class UnverifiedVote:
    """The `learned` vote under this name, with a note that says why there is no verifier."""

    name = NAME

    def __init__(self, inner: Aggregator, why: str) -> None:
        self._inner = inner
        self._note = f"no verifier: {why}; the learned vote decided"

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Ask | Done:
        step = self._inner.step(state, expert_responses)
        return step if isinstance(step, Ask) else self._noted(step)

    def count(self, state: QueryState, expert_responses: Sequence[Response]) -> Count:
        assert isinstance(self._inner, SequentialAggregator), "`learned` is one"
        count = self._inner.count(state, expert_responses)
        return count._replace(done=lambda: self._noted(count.done()))

    def _noted(self, done: Done) -> Done:
        notes = (*done.answer.notes, self._note)
        return Done(answer=done.answer.model_copy(update={"aggregator": self.name, "notes": notes}))


def paired_gain(without: Floats, with_verifier: Floats) -> Gain:
    """Gain by a verifier, from the surprise of the votes on the same questions.

    Args:
        without, with_verifier: float [N, K] (`Trained.surprise`); N >= 2 questions, K numbers of experts.
    """
    gains = (without - with_verifier).mean(axis=1)
    return Gain(float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains))))


@lru_cache(maxsize=4)
def fit_reading(profile: Profile, min_questions: int, signs: tuple[Group, ...], seed: int) -> Reading | str:
    """A verifier that wins inside the profile, fitted once per process; else the reason why there is none.

    Args:
        min_questions: of the profile, below which nothing is read.
        signs: groups that the verifier sees.
        seed: of its trees; equal arguments, equal verifier.
    """
    n = len(profile.texts)
    if n < min_questions:
        return f"the profile has {n} questions, a verifier needs {min_questions}"
    plain = train_votes(profile)
    verified = fit_verifier(profile, groups=signs, seed=seed)
    trained = None if verified is None else train_votes_with(profile, verified.evidence)
    if plain is None or verified is None or trained is None:
        return "the profile has no texts of right and wrong responses to learn from"
    gain = paired_gain(plain.surprise, trained.surprise)
    if not gain.sure:
        return f"no gain inside the profile ({gain.mean:+.4f} ± {gain.error:.4f} nats per question)"
    return Reading(verified.verifier, trained.model)


def _fit(context: AggregatorContext, options: VerifiersOptions) -> Reading | str:
    if context.profile is None:
        return "the pool is not profiled here"
    return fit_reading(context.profile, options.min_questions, options.signs, context.seed)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `verifiers` with its options, `VerifiersOptions`; learns from the context's profile.

    Raises:
        ConfigError: an option that it or the `weighted` vote behind it lacks, or a value out of range.
    """
    parsed = parse_options(f"aggregator '{NAME}'", VerifiersOptions, options)
    reading = _fit(context, parsed)
    if isinstance(reading, str):
        return UnverifiedVote(learned.make(context, {"fallback": parsed.fallback}), reading)
    return LearnedVote(context.grader, reading.votes, read_texts=Reader(reading.verifier.evidence), name=NAME)
