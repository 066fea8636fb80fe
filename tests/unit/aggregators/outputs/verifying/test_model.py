from functools import lru_cache

import numpy as np
import pytest

from aggregators.outputs.verifying.model import (
    TEXT_SIGNS,
    StatedAnswer,
    Verified,
    added_log_odds,
    fit_verifier,
)
from orchestrator.domain.cards import Profile
from tests.fakes.transcripts import spoken_profile, with_texts

N = 120


def honest(i: int) -> str:
    return "A" if i % 2 else "B"


def muddled(i: int) -> str | None:
    return None if i % 5 == 0 else "A" if i % 3 else "C"


def reveals(expert_id: str, i: int, value: str | None) -> str:
    """A right answer follows from its reasoning, a wrong one does not. (A is red.)"""
    return f"It is red. The answer is ({value})."


@lru_cache(maxsize=1)
def profile() -> Profile:
    return with_texts(spoken_profile({"honest": honest, "muddled": muddled}, N), reveals)


@lru_cache(maxsize=1)
def verified() -> Verified:
    fitted = fit_verifier(profile())
    assert fitted is not None
    return fitted


def stated(value: str, *, expert_id: str = "honest", text: str | None = None) -> StatedAnswer:
    return StatedAnswer(expert_id, value, text or reveals(expert_id, 0, value), 0.5)


def test_evidence_by_hand() -> None:
    """0.8 after 0.5: log 4; nothing after the same; 1 after 0.02 is clipped to 0.98: 2 log 49."""
    found = added_log_odds(np.array([0.8, 0.3, 1.0]), np.array([0.5, 0.3, 0.02]))
    assert found == pytest.approx([np.log(4), 0, 2 * np.log(49)])


def test_an_answer_that_follows_from_its_reasoning_has_evidence_for_it() -> None:
    query = profile().transcript.queries[0]  # type: ignore[union-attr]
    right, wrong = verified().verifier.evidence(query, [stated("A"), stated("B")])
    assert right > 1
    assert wrong < -1


def test_evidence_does_not_depend_on_who_else_is_read() -> None:
    query = profile().transcript.queries[0]  # type: ignore[union-attr]
    several = [stated("A"), stated("C", expert_id="muddled"), stated("B", expert_id="stranger")]
    together = verified().verifier.evidence(query, several)
    assert [verified().verifier.evidence(query, [one])[0] for one in several] == together
    assert verified().verifier.evidence(query, []) == []


def test_crossfitted_evidence_is_zero_for_abstentions_only() -> None:
    evidence = verified().evidence
    abstained = np.array([[False, muddled(i) is None] for i in range(N)])
    assert evidence.shape == (N, 2)
    assert (evidence[abstained] == 0).all()
    assert (evidence[~abstained] != 0).all()


def test_texts_that_say_nothing_have_no_crossfitted_evidence_on_average() -> None:
    """Every text is the same: whatever the trees find is noise, and a model that saw the answers would look
    better than that."""
    dull = with_texts(spoken_profile({"honest": honest}, N), lambda *_: "Well.")
    fitted = fit_verifier(dull)
    assert fitted is not None
    right = dull.right[0]
    gain = fitted.evidence[right, 0].mean() - fitted.evidence[~right, 0].mean()
    assert gain < 0.5


def test_the_same_profile_gives_the_same_verifier() -> None:
    again = fit_verifier(profile())
    assert again is not None
    assert np.array_equal(again.evidence, verified().evidence)


@pytest.mark.parametrize("without", ["texts", "wrong answers", "answers"])
def test_without_texts_of_right_and_wrong_answers_there_is_no_verifier(without: str) -> None:
    silent = spoken_profile({"honest": honest}, N)
    flawless = with_texts(spoken_profile({"honest": lambda i: "A"}, N), reveals)
    mute = with_texts(spoken_profile({"honest": lambda i: None}, N), reveals)
    chosen = {"texts": silent, "wrong answers": flawless, "answers": mute}[without]
    assert fit_verifier(chosen) is None


def test_cues_are_seen_only_where_they_are_asked_for() -> None:
    """Texts say nothing, but the shorter of two options is right: only a verifier with cues can tell."""
    dull = with_texts(spoken_profile({"honest": honest}, N), lambda *_: "Well.")
    blind, cued = fit_verifier(dull), fit_verifier(dull, groups=(*TEXT_SIGNS, "cues"))
    assert blind is not None
    assert cued is not None
    right = dull.right[0]
    assert cued.evidence[right].mean() > blind.evidence[right].mean() + 1
