import numpy as np
import pytest

from aggregators.outputs.vote_fit import fit_votes, softmax
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


def test_length_counts_where_it_tells() -> None:
    """Whenever the expert is wrong, its response is four times as long."""
    profile = spoken_profile(
        {"often": often, "seldom": seldom},
        N,
        chars=lambda expert_id, i: 400 if expert_id == "often" and often(i) != "A" else 100,
    )
    model = fit_votes(profile)
    assert model is not None
    assert model.weight("often", 0.8, 400) < model.weight("often", 0.8, 100) - 0.5


def test_a_profile_is_fitted_once() -> None:
    profile = spoken_profile({"often": often}, N)
    assert fit_votes(profile) is fit_votes(profile)


def test_softmax_by_hand() -> None:
    assert softmax(np.array([[0.0, np.log(3), -np.inf]])) == pytest.approx(np.array([[0.25, 0.75, 0.0]]))
