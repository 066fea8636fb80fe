import math

import pytest

from aggregators.outputs.vote_model import (
    WIDEST,
    Calibration,
    Habit,
    NoneWeights,
    SignWeights,
    VoteModel,
    VoteWeights,
)

PLAIN = NoneWeights(choice=0.0, open=0.0, unseen=0.0, ease=0.0, votes=0.0)
MODEL = VoteModel(
    common=VoteWeights(0.5, 1.0, 0.0, 0.0, 0.0),
    experts={"a": VoteWeights(bias=0.1, slope=0.5, length=-0.2, off=0.3, long=-1.0)},
    habits={"a": Habit(typical=math.log(101), spread=1.0)},
    none=PLAIN,
    calibration=Calibration(0.0, 0.0, 0.0, 0.0),
)


def test_the_weight_of_a_vote_by_hand() -> None:
    """logit(.8) = log 4. A length of e² times the usual is z = 2: −.2·2 + .3·2 − 1·(2 − 1) = −.8."""
    usual = 0.1 + 0.5 * math.log(4)
    assert MODEL.weight("a", 0.8, 100) == pytest.approx(usual)
    assert MODEL.weight("a", 0.8, None) == pytest.approx(usual)
    assert MODEL.weight("a", 0.8, round(101 * math.e**2) - 1) == pytest.approx(usual - 0.8, abs=0.01)


def test_an_option_that_the_expert_leans_towards_weighs_less() -> None:
    """Said twice as often as chance, at −.5 per nat: −.5 · log 2."""
    leaning = MODEL._replace(
        experts={"a": MODEL.experts["a"]._replace(lean=-0.5)}, leanings={"a": {"B": math.log(2)}}
    )
    plain = leaning.weight("a", 0.8, 100)
    assert leaning.weight("a", 0.8, 100, option="B") == pytest.approx(plain - 0.5 * math.log(2))
    assert leaning.weight("a", 0.8, 100, option="A") == plain
    assert leaning.weight("stranger", 0.8, 100, option="B") == leaning.weight("stranger", 0.8, 100)


def test_signs_of_a_text_by_hand() -> None:
    """(3 − 1)/2 spreads at .5, and 9 spreads, counted as three, at −.1; what is missing says nothing."""
    signs = SignWeights(weights=(0.5, -0.1, 7.0), means=(1.0, 0.0, 0.0), spreads=(2.0, 1.0, 1.0))
    assert signs.nats((3.0, 9.0, math.nan)) == pytest.approx(0.5 - 0.1 * WIDEST)


def test_an_expert_that_was_not_in_the_profile_counts_by_its_accuracy() -> None:
    assert MODEL.weight("stranger", 0.8, 7) == pytest.approx(0.5 + math.log(4))


def probability(
    model: VoteModel, scores: list[float], *, n_options: int = 0, n_votes: int = 1, ease: float = 0.0
) -> float:
    return model.probability(scores, n_options=n_options, n_votes=n_votes, ease=ease, leader=0)


def test_the_probability_of_an_answer_by_hand() -> None:
    """Against an answer of weight 0 and "none" at 0: 2/(2 + 1 + 1)."""
    assert probability(MODEL, [math.log(2), 0.0], n_votes=2) == pytest.approx(0.5)


def test_none_stands_for_the_options_that_nobody_gave() -> None:
    """Four options, one given: "none" weighs log 3; 1/(1 + 3)."""
    per_option = MODEL._replace(none=PLAIN._replace(unseen=1.0))
    assert probability(per_option, [0.0], n_options=4) == pytest.approx(0.25)
    assert probability(per_option, [0.0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "n_votes", "odds"),
    [
        pytest.param([0.0], 1, 1 / 2, id="one-vote"),
        pytest.param([0.0], 2, 4.0, id="two-that-agree"),
        pytest.param([0.0], 3, 3.0, id="three-that-agree"),
        pytest.param([0.0, 0.0], 2, 1 / 4, id="two-that-differ"),
    ],
)
def test_calibration_shifts_the_log_odds(scores: list[float], n_votes: int, odds: float) -> None:
    """Raw odds are 1 for the only answer, 1/2 for one of two; times 1/2, 4, 3 votes to the power of 1, and 2
    votes to the power of -1."""
    shifted = MODEL._replace(calibration=Calibration(-math.log(2), math.log(4), 1.0, -1.0))
    assert probability(shifted, scores, n_votes=n_votes) == pytest.approx(odds / (1 + odds))
