import math

import numpy as np
import pytest

from aggregators.outputs.verifying.linear import N_SIGNS, SIGN_NAMES, SignReader, profile_signs, sign_row
from aggregators.outputs.verifying.model import StatedAnswer
from aggregators.outputs.verifying.signs import candidates, chosen, read_signs
from aggregators.outputs.vote_model import SignWeights
from orchestrator.domain.queries import AnswerType, Query
from tests.fakes.transcripts import spoken_profile, with_texts

COLOURS = Query(
    id="1",
    question="Which?",
    options=("red", "green", "blue"),
    answer=0,
    answer_type=AnswerType.CHOICE,
)


def row(text: str, value: str = "A") -> dict[str, float]:
    signs = read_signs(candidates(COLOURS, value), chosen(COLOURS, value), text)
    return dict(zip(SIGN_NAMES, sign_row(signs), strict=True))


def weights(**of_sign: float) -> SignWeights:
    return SignWeights(
        weights=tuple(of_sign.get(name, 0.0) for name in SIGN_NAMES),
        means=(0.0,) * N_SIGNS,
        spreads=(1.0,) * N_SIGNS,
    )


def test_lengths_are_not_among_the_signs() -> None:
    assert "length" not in SIGN_NAMES
    assert "reasoning_length" not in SIGN_NAMES


def test_counts_are_logarithms_and_bounded() -> None:
    assert row("It may be red, but perhaps not. The answer is A.")["n_hedges"] == pytest.approx(math.log(4))
    assert row("but " * 1000)["n_hedges"] == pytest.approx(math.log(21))


def test_what_does_not_apply_is_missing() -> None:
    assert math.isnan(row("It is red.")["last_number"])


def test_a_text_that_names_what_it_states_speaks_for_it() -> None:
    read = SignReader(weights(last_named=0.5))
    follows, contradicts, silent = (
        StatedAnswer("a", "A", text, 0.5) for text in ("It is red.", "It is blue.", "Well.")
    )
    assert read(COLOURS, [follows, contradicts, silent]) == [0.5, 0.0, 0.0]
    assert read(COLOURS, []) == []


def test_responses_do_not_depend_on_who_is_read_with_them() -> None:
    read = SignReader(weights(own=0.3, n_hedges=-0.2))
    stated = [StatedAnswer("a", "A", "It may be red.", 0.5), StatedAnswer("b", "C", "Blue, but red?", 0.5)]
    assert read(COLOURS, stated) == [read(COLOURS, [one])[0] for one in stated]


def test_only_the_asked_for_responses_of_a_profile_are_read() -> None:
    profile = with_texts(
        spoken_profile({"a": lambda i: "A", "b": lambda i: "B", "c": lambda i: None}, 2),
        lambda expert_id, i, value: "It is red.",
    )
    assert profile.transcript is not None
    rows = profile_signs(profile.expert_ids, profile.transcript, [1, 0], np.array([[0, 2], [1, 2]]))
    assert rows.shape == (2, 3, N_SIGNS)
    named = rows[:, :, SIGN_NAMES.index("last_named")]
    assert np.array_equal(named, [[1, np.nan, np.nan], [np.nan, 0, np.nan]], equal_nan=True)


def test_a_text_that_was_not_kept_has_no_signs() -> None:
    profile = with_texts(spoken_profile({"a": lambda i: "A"}, 1), lambda expert_id, i, value: "")
    assert profile.transcript is not None
    assert np.isnan(profile_signs(profile.expert_ids, profile.transcript, [0], np.array([[0]]))).all()
