"""The router of open questions: mean grades, worked by hand."""

import random

import pytest

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.grades import GradeTally, grade_tally
from orchestrator.errors import NoCapableExpertError
from orchestrator.routing import RouterContext, make_router
from orchestrator.routing.graded import GRADES, NOT_GRADED, RIGHT_ANSWERS, pool_mean
from tests.fakes.decks import routing_input
from tests.fakes.prose import graded_card


def decide(*cards: CompetenceCard, also: tuple[str, ...] = (), **options: int) -> Decision:
    ids = (*(card.expert_id for card in cards), *also)
    context = RouterContext(cards={card.expert_id: card for card in cards}, profile=None, expert_ids=ids)
    [decision] = make_router("graded", context, options).recruit([routing_input()], rng=random.Random(0))  # type: ignore[arg-type]
    return decision


def test_whoever_was_graded_best_is_asked_and_the_next_two_are_reserves() -> None:
    decision = decide(
        graded_card("a", *[0.4] * 20),
        graded_card("b", *[0.8] * 20),
        graded_card("c", *[0.6] * 20),
        graded_card("d", *[0.2] * 20),
    )
    assert decision.expert_ids == ("b",)
    assert [recruit.expert_id for recruit in decision.reserves] == ["c", "a"]
    assert decision.runner_up is not None
    assert decision.runner_up.expert_id == "d"
    assert decision.would_change == f"needs >= 0.17 more on {GRADES}"


def test_the_expected_grade_is_the_mean_drawn_a_little_to_the_pools() -> None:
    """Pool mean 0.6; (4·0.6 + 16)/(4 + 20)."""
    decision = decide(graded_card("a", *[0.8] * 20), graded_card("b", *[0.4] * 20))
    recruit = decision.recruits[0]
    assert recruit.accuracy == pytest.approx((4 * 0.6 + 16) / 24)
    [line] = recruit.evidence
    assert (line.skill, line.n) == (GRADES, 20)
    assert line.interval.low < recruit.accuracy < line.interval.high


def test_few_good_grades_do_not_go_before_many() -> None:
    others = graded_card("weak", *[0.2] * 60)
    cards = (graded_card("lucky", 0.95), graded_card("proven", *[0.8] * 60), others)
    assert decide(*cards).expert_ids == ("proven",)


def test_who_was_not_graded_comes_last_whatever_it_knows() -> None:
    expert = graded_card("exact", total=Tally(n_right=99, n_wrong=1))
    decision = decide(expert, graded_card("a", *[0.1] * 9), also=("new",))
    assert decision.expert_ids == ("a",)
    assert {recruit.expert_id for recruit in decision.reserves} == {"exact", "new"}


def test_where_nobody_was_graded_the_most_accurate_is_asked_and_it_is_said() -> None:
    decision = decide(
        graded_card("a", total=Tally(n_right=5, n_wrong=5)),
        graded_card("b", total=Tally(n_right=8, n_wrong=2)),
    )
    assert decision.expert_ids == ("b",)
    assert decision.notes == ("k=3 reduced to the 2 experts of the pool", NOT_GRADED)
    assert decision.recruits[0].evidence[0].skill == RIGHT_ANSWERS


def test_equals_go_by_the_order_of_the_pool() -> None:
    assert decide(graded_card("b", 0.5, 0.5), graded_card("a", 0.5, 0.5)).expert_ids == ("b",)


def test_more_can_be_asked_at_once() -> None:
    cards = [graded_card(name, *[score] * 9) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    decision = decide(*cards, k=3, first=3)
    assert decision.expert_ids == ("a", "b", "c")
    assert sum(recruit.weight for recruit in decision.recruits) == pytest.approx(1)


def test_nobody_left_is_an_error() -> None:
    router = make_router("graded", RouterContext(cards={}, profile=None, expert_ids=()))
    with pytest.raises(NoCapableExpertError):
        router.recruit([routing_input()], rng=random.Random(0))


def test_the_mean_of_a_pool_is_that_of_all_its_scores() -> None:
    assert pool_mean([grade_tally([1.0]), grade_tally([0.0, 0.5])]) == 0.5
    assert pool_mean([GradeTally()]) == 0.5
