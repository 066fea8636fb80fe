import math

import pytest

from aggregators.outputs import make_aggregator
from aggregators.outputs.weighted import log_odds, posterior
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Done, Response
from orchestrator.domain.queries import Query
from orchestrator.ports.composing import SequentialAggregator
from tests.fakes.ballots import FOUR, OPEN, context, says, state

VOTES = (says("a", "A"), says("b", "B"), says("c", "B"))


def decide(
    accuracies: dict[str, float], *responses: Response, query: Query = FOUR, **options: float
) -> Answer:
    aggregator = make_aggregator("weighted", context(), options)
    step = aggregator.step(state(accuracies, query=query), responses)
    assert isinstance(step, Done)
    return step.answer


def test_two_good_votes_beat_a_better_one() -> None:
    """Independent errors, four options: odds .8·3/.2 = 12 for A; (.6·3/.4)² = 20.25 for B; C and D 1 each.

    P(B) = 20.25 / (12 + 20.25 + 2) = .5912.
    """
    answer = decide({"a": 0.8, "b": 0.6, "c": 0.6}, *VOTES, error_correlation=0)
    assert answer.value == "B"
    assert answer.confidence == pytest.approx(20.25 / 34.25)
    assert [v.weight for v in answer.votes] == pytest.approx([math.log(12), math.log(4.5), math.log(4.5)])


def test_one_excellent_vote_beats_two_good_ones() -> None:
    """.9·3/.1 = 27 against 20.25: the majority would say B."""
    answer = decide({"a": 0.9, "b": 0.6, "c": 0.6}, *VOTES, error_correlation=0)
    assert answer.value == "A"
    assert answer.confidence == pytest.approx(27 / 49.25)


def test_a_vote_below_chance_speaks_against_its_answer() -> None:
    """.1·3/.9 = 1/3 for A against 1 for a guess."""
    assert decide({"a": 0.1, "b": 0.25}, says("a", "A"), says("b", "B")).value == "B"


def test_open_questions_use_the_effective_number_of_wrong_answers() -> None:
    """Two possible answers in all: .75/.25 = 3 for `7`, 1 for the other: P = 3/4."""
    answer = decide({"a": 0.75}, says("a", "7"), query=OPEN, wrong_answers=1)
    assert answer.confidence == pytest.approx(0.75)


def test_accuracies_are_clipped_so_that_nobody_is_certain() -> None:
    assert log_odds(1.0, 2) == pytest.approx(math.log(0.98 / 0.02))
    assert log_odds(0.0, 2) == pytest.approx(math.log(0.02 / 0.98))


def test_correlated_errors_lower_confidence_and_keep_the_winner() -> None:
    """rho = .5: three votes count as 3/2, so every odds is raised to 1/2: 4.5 for B, sqrt(12) for A."""
    answer = decide({"a": 0.8, "b": 0.6, "c": 0.6}, *VOTES, error_correlation=0.5)
    assert answer.value == "B"
    assert answer.confidence == pytest.approx(4.5 / (4.5 + math.sqrt(12) + 2))


def test_the_confidence_of_a_single_vote_is_the_experts_accuracy() -> None:
    """.7·3/.3 = 7 against three options of odds 1: 7/10, whatever the correlation."""
    assert decide({"a": 0.7}, says("a", "A"), error_correlation=1.0).confidence == pytest.approx(0.7)


def test_more_answers_than_were_thought_possible_leave_nothing_unseen() -> None:
    assert posterior(0.0, [0.0, 0.0, 0.0], 2) == pytest.approx(1 / 3)


def test_a_tie_goes_to_more_votes_then_to_the_better_recruit() -> None:
    assert decide({"b": 0.5, "a": 0.5}, says("a", "A"), says("b", "B")).value == "B"
    # Votes of guessers (1 in 4) weigh nothing, so both answers score 0.
    guesses = (says("a", "A"), says("b", "B"), says("c", "B"))
    assert decide({"a": 0.25, "b": 0.25, "c": 0.25}, *guesses).value == "B"


def test_the_outlook_weighs_what_may_come_like_what_came() -> None:
    """Weights of the three: log 12, log 4.5, log 4.5. B leads by log(4.5²/12); d would add log(.5·3/.5)."""
    asked = state({"a": 0.8, "b": 0.6, "c": 0.6, "d": 0.5})
    assert asked.decision is not None
    recruits = asked.decision.recruits
    decision = asked.decision.model_copy(update={"recruits": recruits[:3], "reserves": recruits[3:]})
    waiting = asked.model_copy(update={"decision": decision})
    aggregator = make_aggregator("weighted", context(), {})
    assert isinstance(aggregator, SequentialAggregator)
    outlook = aggregator.count(waiting, VOTES).outlook
    assert (outlook.n_votes, outlook.n_agree) == (3, 2)
    assert outlook.lead == pytest.approx(math.log(4.5**2 / 12))
    assert outlook.next_weights == pytest.approx((math.log(3),))
    assert aggregator.count(waiting, [says("a", None)]).outlook.n_votes == 0
