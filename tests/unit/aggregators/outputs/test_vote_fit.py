import numpy as np
import pytest

from aggregators.outputs.vote_fit import LEAST_FOR_LENGTHS, fit_votes, softmax
from orchestrator.domain.cards import Profile
from tests.fakes.transcripts import spoken_profile

N = 100


def often(n: int) -> str:
    return "A" if n % 10 < 8 else "B"


def seldom(n: int) -> str:
    return "A" if n % 10 < 3 else "BCD"[n % 3]


def test_a_vote_weighs_more_if_the_expert_is_right_more_often() -> None:
    model = fit_votes(spoken_profile({"often": often, "seldom": seldom}, N))
    assert model is not None
    assert model.weight("often", 0.8, 100) > model.weight("seldom", 0.3, 100) + 0.5


def long_when_wrong(n: int) -> Profile:
    """Whenever `often` is wrong, its response is four times as long."""
    return spoken_profile(
        {"often": often, "seldom": seldom},
        n,
        chars=lambda expert_id, i: 400 if expert_id == "often" and often(i) != "A" else 100,
    )


def test_length_counts_where_it_tells() -> None:
    model = fit_votes(long_when_wrong(LEAST_FOR_LENGTHS))
    assert model is not None
    assert model.weight("often", 0.8, 400) < model.weight("often", 0.8, 100) - 0.5


def test_lengths_are_not_learnt_from_few_questions() -> None:
    model = fit_votes(long_when_wrong(LEAST_FOR_LENGTHS - 1))
    assert model is not None
    assert model.weight("often", 0.8, 400) == model.weight("often", 0.8, 100)


def test_a_profile_is_fitted_once() -> None:
    profile = spoken_profile({"often": often}, N)
    assert fit_votes(profile) is fit_votes(profile)


def test_softmax_by_hand() -> None:
    assert softmax(np.array([[0.0, np.log(3), -np.inf]])) == pytest.approx(np.array([[0.25, 0.75, 0.0]]))
