"""The best recruit's answer: what a single expert, or the top of a ranking, says. Ours (methods 3.6)."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from aggregators.outputs.votes import Ballot, expert_answer, no_answer, read_ballots, words
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Aggregator


class FirstOptions(Options):
    """No options: the router's order decides."""


class FirstReadable:
    """The answer of the best recruit whose response can be read; confidence is its accuracy.

    Free text needs no reading to be shown: where nobody's can be read (cut off, a refusal), the best
    recruit's words are the answer, without a value and without confidence.
    """

    name = "first"

    def __init__(self, context: AggregatorContext) -> None:
        self._grader = context.grader

    def step(self, state: QueryState, expert_responses: Sequence[Response]) -> Done:
        ballots = read_ballots(self._grader, state, expert_responses)
        readable = next((b for b in ballots if b.value is not None), None)
        winner = readable or _first_words(state.query, ballots)
        if winner is None:
            return Done(answer=no_answer(self.name, state, expert_responses, ballots))
        answer = expert_answer(
            self.name,
            state,
            expert_responses,
            ballots,
            winner=winner,
            weight=lambda ballot: float(ballot is winner),
            confidence=winner.accuracy if readable else None,
        )
        return Done(answer=answer)


def _first_words(query: Query, ballots: Sequence[Ballot]) -> Ballot | None:
    if query.answer_type is not AnswerType.TEXT:
        return None
    return next((b for b in ballots if not b.response.failed and words(b)), None)


def make(context: AggregatorContext, options: Mapping[str, JsonValue]) -> Aggregator:
    """The aggregator `first`, which has no options.

    Raises:
        ConfigError: an option is given.
    """
    parse_options("aggregator 'first'", FirstOptions, options)
    return FirstReadable(context)
