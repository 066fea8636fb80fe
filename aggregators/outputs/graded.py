"""The answer to an open question: the best expert's, or of three the one whose text should be graded best.

The rule, and why it asks on only where the best expert's answer is brief for it: `prose.rule`, docs/open.md.
Ours (methods 3.20).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import JsonValue

from aggregators.outputs.prose.ranker import Usual
from aggregators.outputs.prose.rule import LEAST_QUESTIONS, N_ASKED, Learnt, learn
from aggregators.outputs.prose.signs import read_signs
from aggregators.outputs.votes import Ballot, expert_answer, no_answer, read_ballots
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.compositions.waves import promoted
from orchestrator.domain.answers import Decision, ExpectedGrade, FinishReason
from orchestrator.domain.assignments import Ask, Done, QueryState, Response
from orchestrator.domain.grades import GradeSource
from orchestrator.domain.queries import Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator
from orchestrator.routing.parts.draws import query_rng

NAME = "graded"


class GradedAnswerOptions(Options):
    """
    Args:
        choose: which answer is taken of several: by the signs of their texts, the longest,
            or any of them. The last two are there to be compared with.
        guarded: more experts are asked, and the signs are trusted, only if that gained inside the profile.
    """

    choose: Literal["signs", "longest", "random"] = "signs"
    guarded: bool = True


class Choice(NamedTuple):
    """The ballot that was chosen; `by` says how, `scores` what the signs said of each expert's text."""

    winner: Ballot
    by: str
    scores: Mapping[str, float]
    expected: ExpectedGrade | None = None


class GradedAnswer:
    """Asks the best recruit; two reserves more where its answer is brief for it, cut off or missing.

    Args:
        learnt: what the profile teaches, or why it teaches nothing.
        source: who gave the grades.
    """

    name = NAME

    def __init__(
        self,
        context: AggregatorContext,
        options: GradedAnswerOptions,
        learnt: Learnt | str,
        *,
        source: GradeSource = GradeSource.IMPORTED,
    ) -> None:
        self._context = context
        self._options = options
        self._learnt = learnt
        self._source = source

    @property
    def quotes_one(self) -> bool:
        """True if a lone recruit's words will be the answer: once it has spoken, nobody else is asked."""
        return self._trusted() is None

    def opened(self, state: QueryState, decision: Decision) -> Decision:
        del state
        return decision

    def next(self, state: QueryState, responses: Sequence[Response]) -> Decision | Ask | Done:
        decision = state.decision
        if decision is None or not decision.reserves:
            return self.step(state, responses)
        readable = self._readable(self._ballots(state, responses))
        reason = self._why_ask_on(readable)
        if reason is None:
            return self.step(state, responses)
        return promoted(decision, min(N_ASKED - 1, len(decision.reserves)), reason)

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = self._ballots(state, expert_responses)
        readable = self._readable(ballots)
        if not readable:
            return Done(answer=no_answer(NAME, state, expert_responses, ballots))
        choice = self._choice(state, readable)
        answer = expert_answer(
            NAME,
            state,
            expert_responses,
            ballots,
            winner=choice.winner,
            weight=lambda ballot: float(ballot is choice.winner),
        )
        listed: dict[str, JsonValue] = {i: round(score, 4) for i, score in choice.scores.items()}
        changes = {
            "notes": (*answer.notes, choice.by),
            "expected_grade": choice.expected,
            "extras": {NAME: {"signs": listed}} if listed else {},
        }
        return Done(answer=answer.model_copy(update=changes))

    def _ballots(self, state: QueryState, responses: Sequence[Response]) -> list[Ballot]:
        return read_ballots(self._context.grader, state, responses)

    @staticmethod
    def _readable(ballots: Sequence[Ballot]) -> list[Ballot]:
        return [ballot for ballot in ballots if ballot.value is not None]

    def _trusted(self) -> Learnt | None:
        """What was learnt, if it may decide."""
        learnt = self._learnt
        if isinstance(learnt, str) or (self._options.guarded and not learnt.pays):
            return None
        return learnt

    def _why_ask_on(self, readable: Sequence[Ballot]) -> str | None:
        """The reason to ask more experts; None = the answers so far are enough."""
        if not readable:
            return "nobody has answered yet"
        learnt = self._trusted()
        if learnt is None or len(readable) > 1:
            return None
        if _is_cut(readable[0]):
            return "the answer was cut off"
        usual = learnt.usual.get(readable[0].expert_id)
        return None if usual is None or _log_length(readable[0]) > usual.brief else _brief(readable[0], usual)

    def _choice(self, state: QueryState, readable: Sequence[Ballot]) -> Choice:
        best = readable[0]
        learnt = self._trusted()
        if self._options.choose == "longest":
            return Choice(max(readable, key=_log_length), "the longest answer was taken", {})
        if self._options.choose == "random":
            drawn = query_rng(self._context.seed_of(state), state.query).choice(readable)
            return Choice(drawn, "one of the answers was drawn", {})
        if learnt is None:
            return Choice(best, f"the best expert was asked: {self._why_alone()}", {})
        if len(readable) == 1 and (reason := self._why_ask_on(readable)) is not None:
            return Choice(best, f"nobody else answered, although {reason}", {})
        if len(readable) == 1:
            grade = self._expected(learnt, best, brief=False)
            return Choice(best, "the best expert was asked: its answer was not brief for it", {}, grade)
        scores = signs_of(learnt, state.query, readable)
        place = max(range(len(readable)), key=lambda i: (round(scores[i], 9), -i))
        return Choice(
            readable[place],
            f"chosen of {len(readable)} answers by the signs of their texts, which gained "
            f"{100 * learnt.gain:+.1f} points inside the profile ({learnt.n} questions)",
            {ballot.expert_id: score for ballot, score in zip(readable, scores, strict=True)},
            self._expected(learnt, best, brief=True),
        )

    def _why_alone(self) -> str:
        learnt = self._learnt
        if isinstance(learnt, str):
            return learnt
        return f"asking more gained nothing inside the profile ({100 * learnt.gain:+.1f} points)"

    def _expected(self, learnt: Learnt, best: Ballot, *, brief: bool) -> ExpectedGrade | None:
        """What the rule's answers of this kind were graded on questions that it was not fitted on; None where
        another expert than the profile's best was asked first."""
        tally = learnt.asked_on if brief else learnt.plain
        if best.expert_id != learnt.best or not tally.n:
            return None
        mean, low, high, n = tally.posterior(learnt.prior)
        return ExpectedGrade(mean=mean, low=low, high=high, n=n, source=self._source.value)


def signs_of(learnt: Learnt, query: Query, ballots: Sequence[Ballot]) -> list[float]:
    """Grades to expect of readable ballots by their texts, in order: points of [0, 1], up to a constant.

    An expert that was not graded is taken to have the mean habits of those that were.
    """
    signs = [read_signs(query.question, ballot.value or "") for ballot in ballots]
    usual = [learnt.usual.get(ballot.expert_id, learnt.anybody) for ballot in ballots]
    return [float(score) for score in learnt.ranker.scores(signs, usual)]


def _is_cut(ballot: Ballot) -> bool:
    return ballot.response.finish_reason is FinishReason.LENGTH


def _log_length(ballot: Ballot) -> float:
    return math.log1p(len(ballot.value or ""))


def _brief(ballot: Ballot, usual: Usual) -> str:
    most = round(math.expm1(usual.brief))
    n = len(ballot.value or "")
    return f"its {n} characters are brief for it (a fifth of its answers have at most {most})"


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `graded` with its options, `GradedAnswerOptions`; learns from the context's profile.

    Raises:
        ConfigError: an option that it does not have, or a value out of range.
    """
    parsed = parse_options(f"aggregator '{NAME}'", GradedAnswerOptions, options)
    learnt: Learnt | str = f"no profile of {LEAST_QUESTIONS} graded answers is kept here"
    if context.profile is not None:
        learnt = learn(context.profile)
    sources = [card.graded.source for card in context.cards.values() if card.graded is not None]
    return GradedAnswer(context, parsed, learnt, source=sources[0] if sources else GradeSource.IMPORTED)
