import numpy as np
import pytest

from aggregators.outputs.leaning import PSEUDO_ANSWERS
from aggregators.outputs.verifying.linear import SIGN_NAMES
from aggregators.outputs.vote_fit import fit_votes, softmax
from aggregators.outputs.vote_lesson import LEAST_FOR_MANNERS, LEAST_FOR_SIGNS
from orchestrator.domain.cards import Profile
from tests.fakes.transcripts import spoken_profile, with_texts

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
    model = fit_votes(long_when_wrong(LEAST_FOR_MANNERS))
    assert model is not None
    assert model.weight("often", 0.8, 400) < model.weight("often", 0.8, 100) - 0.5


def test_lengths_are_not_learnt_from_few_questions() -> None:
    model = fit_votes(long_when_wrong(LEAST_FOR_MANNERS - 1))
    assert model is not None
    assert model.weight("often", 0.8, 400) == model.weight("often", 0.8, 100)


def leaner(n: int) -> str:
    """Right on seven of ten; when it is wrong, B three times in four."""
    return "A" if n % 10 < 7 else "BBBC"[n % 4]


def scatterer(n: int) -> str:
    """As often right; when it is wrong, every other option alike."""
    return "A" if (n + 5) % 10 < 7 else "BCD"[n % 3]


def lean_of(n: int) -> float:
    model = fit_votes(spoken_profile({"leaner": leaner, "scatterer": scatterer}, n))
    assert model is not None
    return model.weight("leaner", 0.7, 100, option="B") - model.weight("leaner", 0.7, 100, option="C")


def test_an_option_that_an_expert_says_too_often_counts_less() -> None:
    assert lean_of(LEAST_FOR_MANNERS) < -0.05


def test_leanings_are_not_learnt_from_few_questions() -> None:
    assert lean_of(LEAST_FOR_MANNERS - 1) == 0


def names_red(expert_id: str, n: int, value: str | None) -> str:
    """Whatever is stated, the reasoning says red, which is right."""
    return f"It is red. The answer is ({value})."


def test_signs_of_texts_are_learnt_where_texts_were_kept() -> None:
    silent = spoken_profile({"often": often, "seldom": seldom}, LEAST_FOR_SIGNS)
    without, model = fit_votes(silent), fit_votes(with_texts(silent, names_red))
    assert without is not None
    assert without.signs is None
    assert model is not None
    assert model.signs is not None
    assert model.experts["often"].trust == 1
    said = dict(zip(SIGN_NAMES, model.signs.weights, strict=True))
    assert said["last_named"] > 0.05


def test_signs_of_texts_are_not_learnt_from_few_questions() -> None:
    profile = spoken_profile({"often": often, "seldom": seldom}, LEAST_FOR_SIGNS - 1)
    model = fit_votes(with_texts(profile, names_red))
    assert model is not None
    assert model.signs is None


def test_a_profile_is_fitted_once() -> None:
    profile = spoken_profile({"often": often}, N)
    assert fit_votes(profile) is fit_votes(profile)


def test_softmax_by_hand() -> None:
    assert softmax(np.array([[0.0, np.log(3), -np.inf]])) == pytest.approx(np.array([[0.25, 0.75, 0.0]]))


@pytest.mark.parametrize("answer", ["E", "", "BC"])
def test_what_names_no_option_shows_no_leaning(answer: str) -> None:
    """Of 60 wrong answers to questions of four options only 10 name one, always C: by chance each wrong one
    would be named 10/3 times."""
    odd = spoken_profile(
        {"a": lambda i: "A" if i % 10 < 7 else "C" if i % 4 == 0 else answer}, LEAST_FOR_MANNERS
    )
    model = fit_votes(odd)
    assert model is not None
    by_chance = 10 / 3 + PSEUDO_ANSWERS
    seldom_said, often_said = np.log(PSEUDO_ANSWERS / by_chance), np.log((10 + PSEUDO_ANSWERS) / by_chance)
    assert model.leanings["a"] == pytest.approx({"A": 0, "B": seldom_said, "C": often_said, "D": seldom_said})
