"""The rule for open questions, on profiles whose experts write as they are told."""

import random
from dataclasses import replace

import numpy as np
import pytest

from aggregators.outputs.prose.rule import Learnt, best_rows, learn
from orchestrator.domain.grades import GradeTally, grade_tally
from tests.fakes.prose import BRIEF, LONG, Said, Writes, graded_profile, moody, steady


def learnt(experts: dict[str, Writes], n: int = 150) -> Learnt:
    found = learn(graded_profile(experts, n))
    assert isinstance(found, Learnt), found
    return found


MOODY = {"best": moody(0.9, 0.1), "second": steady(0.6), "third": steady(0.5)}
"""The best is brief in a fifth of its answers, which are bad: asking on there gains 0.2·(0.6 − 0.1)."""


def test_where_brief_answers_are_bad_the_rule_gains() -> None:
    found = learnt(MOODY)
    assert found.pays
    assert found.gain == pytest.approx(0.1, abs=0.01)
    assert found.best == "best"


def test_grades_to_expect_are_those_of_answers_of_the_same_kind() -> None:
    found = learnt(MOODY)
    assert found.plain.mean == pytest.approx(0.9)
    assert found.asked_on.mean == pytest.approx(0.6)
    assert found.plain.n + found.asked_on.n == found.n == 150


def test_where_brief_answers_are_as_good_nothing_is_gained() -> None:
    found = learnt({"best": moody(0.9, 0.9), "second": steady(0.6), "third": steady(0.5)})
    assert not found.pays


def test_noise_alone_gains_nothing_to_speak_of() -> None:
    """Grades that have nothing to do with the text: the gain out of fold is near 0, either way."""
    rng = random.Random(4)
    noisy = lambda i: Said(BRIEF if rng.random() < 0.2 else LONG, rng.random())  # noqa: E731
    assert abs(learnt({"a": noisy, "b": noisy, "c": noisy}, n=400).gain) < 0.05


def test_the_brief_answers_of_an_expert_are_its_shortest_fifth() -> None:
    usual = learnt(MOODY).usual["best"]
    assert np.log1p(len(BRIEF)) <= usual.brief < np.log1p(len(LONG))


def test_an_expert_of_whom_nothing_is_known_is_like_the_others_on_average() -> None:
    found = learnt(MOODY)
    assert found.anybody.grade == pytest.approx(np.mean([u.grade for u in found.usual.values()]))


def test_a_lone_expert_teaches_that_asking_on_gains_nothing() -> None:
    assert learnt({"only": moody(0.9, 0.1)}).gain == 0.0


def test_questions_that_the_best_experts_do_not_all_have_grades_on_are_left_out() -> None:
    gaps = lambda i: Said(LONG, None if i < 20 else 0.6)  # noqa: E731
    assert learnt({"best": moody(0.9, 0.1), "second": gaps}, n=150).n == 130


@pytest.mark.parametrize(
    ("experts", "n", "why"),
    [
        (MOODY, 99, "all have grades on 99 questions, and 100 are needed"),
        ({"a": lambda i: Said(LONG, None)}, 150, "nothing was graded"),
    ],
)
def test_what_teaches_nothing_says_why(experts: dict[str, Writes], n: int, why: str) -> None:
    found = learn(graded_profile(experts, n))
    assert isinstance(found, str)
    assert why in found


def test_a_profile_without_scores_or_words_teaches_nothing() -> None:
    profile = graded_profile(MOODY, 150)
    assert learn(replace(profile, scores=None)) == "nothing was graded"
    assert learn(replace(profile, transcript=None)) == "the graded answers are not kept here"


def test_at_most_five_experts_are_learnt_from_and_none_without_scores() -> None:
    tallies = [grade_tally([mean] * 10) for mean in (0.1, 0.9, 0.5, 0.7, 0.3, 0.6)]
    assert best_rows([*tallies, GradeTally()]) == [1, 3, 5, 2, 4]


def test_an_abstention_counts_as_an_answer_of_no_length() -> None:
    silent = lambda i: Said("", 0.0) if i % 5 == 0 else Said(LONG, 0.9)  # noqa: E731
    found = learnt({"best": silent, "second": steady(0.6), "third": steady(0.5)})
    assert found.usual["best"].brief == 0.0
    assert found.gain == pytest.approx(0.12, abs=0.02)
