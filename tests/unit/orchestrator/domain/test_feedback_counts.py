import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.feedback import (
    ALL_SKILLS,
    Decay,
    Drift,
    FeedbackCount,
    Judged,
    Opinion,
    by_week,
    drifts,
    judge_experts,
    right_interval,
    with_feedback,
)
from tests.fakes.decks import card, tally

TODAY = 100
MONTH = Decay(half_life_days=30, today=TODAY)
CARD = card("ada", {"algebra": tally(50, 50)})


def count(n_right: float, n_wrong: float, *, skill: str = ALL_SKILLS, day: int = TODAY) -> FeedbackCount:
    return FeedbackCount("ada", skill, day, Tally(n_right=n_right, n_wrong=n_wrong))


def found(counts: list[FeedbackCount], of: CompetenceCard = CARD, *, min_answers: int = 20) -> list[Drift]:
    return drifts(of, counts, MONTH, window_days=7, min_answers=min_answers)


def test_a_right_answer_says_who_was_right_and_who_was_wrong() -> None:
    said = judge_experts([Opinion("a", True), Opinion("b", False), Opinion("c", None)], 1.0)
    assert said == {"a": Tally(n_right=1), "b": Tally(n_wrong=1), "c": Tally(n_abstain=1)}


def test_a_wrong_answer_says_nothing_of_those_who_said_something_else() -> None:
    assert judge_experts([Opinion("a", True), Opinion("b", False)], 0.0) == {
        "a": Tally(n_wrong=1),
        "b": Tally(),
    }


def test_a_score_between_counts_in_part() -> None:
    said = judge_experts([Opinion("a", True), Opinion("b", False)], 0.75)
    assert said == {"a": Tally(n_right=0.75, n_wrong=0.25), "b": Tally(n_wrong=0.75)}


def test_an_expert_that_answered_twice_counts_once() -> None:
    """Right once, and wrong once."""
    said = judge_experts([Opinion("a", True), Opinion("a", False)], 1.0)
    assert said == {"a": Tally(n_right=0.5, n_wrong=0.5)}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([True, False, None]))), st.floats(0, 1))
def test_nobody_counts_more_than_once(opinions: list[tuple[str, bool | None]], score: float) -> None:
    said = judge_experts([Opinion(*opinion) for opinion in opinions], score)
    assert set(said) == {expert for expert, _ in opinions}
    assert all(of_expert.n <= 1 + 1e-9 for of_expert in said.values())


def test_feedback_of_one_half_life_ago_counts_half() -> None:
    """50 + 4 · .5 + 1 right of 100 + 4 · .5 + 1."""
    shown = with_feedback(CARD, [count(4, 0, day=TODAY - 30), count(1, 0)], MONTH)
    assert shown.total == Tally(n_right=53, n_wrong=50)
    assert shown.feedback == Tally(n_right=3)


def test_feedback_goes_to_the_skills_of_the_query_new_ones_too() -> None:
    shown = with_feedback(CARD, [count(1, 0), count(1, 0, skill="algebra"), count(1, 0, skill="sums")], MONTH)
    assert shown.skills == {"algebra": Tally(n_right=51, n_wrong=50), "sums": Tally(n_right=1)}


def test_what_feedback_added_can_be_taken_away_again() -> None:
    shown = with_feedback(CARD, [count(1, 2), count(0, 1, skill="algebra"), count(1, 0, skill="sums")], MONTH)
    before = shown.without_feedback
    assert (before.total, before.skills["algebra"]) == (CARD.total, CARD.skills["algebra"])
    assert before.skills["sums"] == Tally(), "known from feedback only"


def test_a_card_with_feedback_has_another_version_and_without_has_the_old_one() -> None:
    before = CARD.hash
    assert with_feedback(CARD, [count(1, 0)], MONTH).hash != before
    assert with_feedback(CARD, [], MONTH) is CARD
    assert with_feedback(CARD, [count(1, 0)._replace(fingerprint="other")], MONTH) is CARD


def test_cards_from_before_feedback_keep_their_hash() -> None:
    """Stored decks and decisions name it."""
    assert card("ada", {"algebra": tally(1, 1)}).hash == "d57f8bd12d7831a2"


def test_a_clock_that_runs_ahead_does_not_make_feedback_count_more() -> None:
    assert MONTH.weight(TODAY + 5) == 1


def test_the_interval_of_a_sure_history_is_the_binomial_one() -> None:
    """20 at .5: P(<= 5) = .021, P(<= 6) = .058; P(<= 13) = .942, P(<= 14) = .979. So 6 to 14."""
    assert right_interval(1e7, 1e7, 20) == (pytest.approx(6 / 20), pytest.approx(14 / 20))


def test_the_interval_of_an_unknown_accuracy_is_wide() -> None:
    """Beta(1, 1): each of 0..19 right has chance 1/20, so .05 is reached at 0 and .95 at 18."""
    assert right_interval(1, 1, 19) == (pytest.approx(0), pytest.approx(18 / 19))


@given(st.floats(0.5, 500), st.floats(0.5, 500), st.integers(1, 300))
def test_an_interval_holds_the_expected_share(a: float, b: float, n: int) -> None:
    low, high = right_interval(a, b, n)
    assert 0 <= low <= high <= 1
    assert low - 1 / n <= a / (a + b) <= high + 1 / n


def test_a_window_far_below_the_history_drifts() -> None:
    """4 of 20 right after 50 of 100."""
    (drift,) = found([count(4, 16)])
    assert (drift.skill, drift.recent, drift.n) == (ALL_SKILLS, 0.2, 20)
    assert drift.expected == pytest.approx(0.5)
    assert drift.interval.low > 0.2


def test_a_drift_tells_the_days_of_its_judged_answers() -> None:
    (drift,) = found([count(0, 20), count(1, 0, day=TODAY - 2), count(9, 0, day=TODAY - 3, skill="algebra")])
    assert (drift.skill, drift.first_day, drift.last_day) == (ALL_SKILLS, TODAY - 2, TODAY)


def test_a_window_far_above_drifts_too_and_names_its_skill() -> None:
    (drift,) = found([count(18, 2, skill="algebra")])
    assert (drift.skill, drift.recent) == ("algebra", 0.9)


def test_a_window_like_the_history_does_not() -> None:
    assert found([count(11, 9)]) == []


def test_a_short_window_is_not_judged() -> None:
    assert found([count(0, 19)]) == []
    assert len(found([count(0, 19)], min_answers=19)) == 1


def test_feedback_from_before_the_window_is_history() -> None:
    """900 wrong a week ago leave the history at 5 to 6 %: another 20 wrong are what it says."""
    assert found([count(0, 20)]) != []
    assert found([count(0, 900, day=TODAY - 7), count(0, 20)]) == []


def test_judged_answers_are_counted_week_by_week_and_once_whatever_their_skills() -> None:
    """Weeks begin on days that 7 divides: 98 and 105."""
    counts = [count(1, 0, day=105), count(1, 2, day=98), count(3, 0, day=104), count(9, 9, skill="algebra")]
    assert by_week(counts) == [Judged(98, tally(4, 2)), Judged(105, tally(1, 0))]
