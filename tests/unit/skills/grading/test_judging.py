"""Replies of a judge as scores, and how far a judge can be trusted; numbers worked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.queries import AnswerType, Query
from skills.grading.judging import (
    LengthPoint,
    agreed,
    graded,
    length_slope,
    near_equal,
    passed,
    preference,
    score_of,
    self_agreement,
)

OPEN = Query(id="q", question="Write to Ada.", answer_type=AnswerType.OPEN, candidates=("Dear Ada",))


def reply(text: str, *, place: int = 0, tokens: tuple[TokenLogprobs, ...] = ()) -> Response:
    return Response(
        expert_id="judge", role=CallRole.JUDGE, stage=1, sample_ix=place, text=text, logprobs=tokens
    )


def token(text: str, **others: float) -> TokenLogprobs:
    """A token and probabilities of others in its place, its own under its text."""
    top = tuple(TokenLogprob(name, math.log(p)) for name, p in others.items())
    chosen = next((t for t in top if t.token == text.strip()), TokenLogprob(text, 0.0))
    return TokenLogprobs(TokenLogprob(text, chosen.logprob), top)


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("Evidence.\nGrade: 7", 7),
        ("**Grade:** 7/9", 7),
        ("Grade: **7**.", 7),
        ("grade is 7 out of 9", 7),
        ("Grade: [7]", 7),
        ("Grade: 7.5", 7.5),
        ("Grade (0-9): 7", 7),
        ('{"evidence": "fine", "grade": 7}', 7),
        ("### GRADE = 7", 7),
        ("Grade 7", 7),
        ("Grade: 7 (good, but 2 of its points are thin)", 7),
        ("Grade: 0", 0),
        ("At first I thought Grade: 2.\nGrade: 9", 9),
        ("<think>Grade: 1</think>Grade: 8", 8),
    ],
)
def test_the_last_grade_is_read(text: str, grade: float) -> None:
    assert graded(reply(text)) == pytest.approx(grade / 9)


@pytest.mark.parametrize(
    "text",
    [
        *("", "Good.", "upgrade 7", "<think>Grade: 7", "Grade: N", "Grade: -"),
        *(
            "Grade (0-9)",
            "Grade: 7-8",
            "Grade: 7 to 8",
            "Grade: 7 or 8",
            "Grade: 0–9",
            "the grade I give is 7",
        ),
        *("Grade: 10", "Grade: 12", "Grade: 9.5", "Grade: 7.25", "Grade: 7/10", "Grade: 7 out of 10"),
    ],
)
def test_what_is_no_grade_of_the_scale_is_not_guessed(text: str) -> None:
    assert graded(reply(text)) is None


def test_probabilities_of_grades_are_averaged() -> None:
    """(7·.6 + 8·.2) / .8 = 7.25; what is no grade has no part."""
    told = (token("Grade"), token(":"), token(" "), token("7", **{"7": 0.6, "8": 0.2, "x": 0.2}))
    assert graded(reply("Grade: 7", tokens=told)) == pytest.approx(7.25 / 9)


def test_a_blank_before_the_grade_may_be_in_its_token() -> None:
    told = (token("Grade:"), token(" 7", **{"7": 0.5, "9": 0.5}), token(".\n"))
    assert graded(reply("Grade: 7.\n", tokens=told)) == pytest.approx(8 / 9)


@pytest.mark.parametrize(
    "tokens",
    [
        (token("Grade: 7"),),
        (token("Grade"), token(": "), token("3", **{"3": 1.0})),
        (token("words"),),
        (),
    ],
)
def test_probabilities_that_are_of_something_else_do_not_count(tokens: tuple[TokenLogprobs, ...]) -> None:
    assert graded(reply("Grade: 7", tokens=tokens)) == pytest.approx(7 / 9)


def test_the_share_of_checks_that_are_passed() -> None:
    text = "Evidence.\nCheck 1: yes\n**Check 2:** No (no date)\ncheck 3 - pass"
    assert passed(reply(text), 3) == pytest.approx(2 / 3)
    assert passed(reply(text), 4) is None, "one was not decided"


@pytest.mark.parametrize(
    "text",
    [
        "1. yes\n2. no",
        "- 1: Yes\n- 2: No",
        "Check 1 (It is polite.): yes\nCheck 2 (It is signed.): no",
        "Check 1: yes  (for: It is polite.)\nCheck 2: no  (for: It is signed.)",
        "**Check 1**: pass\n**Check 2**: fail",
        "In 2019 no check 3: yes.\nCheck 1: yes\nCheck 2: no",
    ],
)
def test_checks_in_the_dress_that_models_give_them(text: str) -> None:
    assert passed(reply(text), 2) == 0.5


def test_evidence_in_a_numbered_list_decides_nothing() -> None:
    text = "1. No date is given.\n2. Yes, it is signed.\n"
    assert passed(reply(text), 2) is None
    assert passed(reply(f"{text}Check 1: yes\nCheck 2: yes"), 2) == 1.0


def test_a_form_that_is_only_repeated_decides_nothing() -> None:
    assert passed(reply("Check 1: yes or no  (for: It is polite.)"), 1) is None
    assert passed(reply("Check 1: yes or no\nCheck 1: no"), 1) == 0


def test_a_yes_counts_by_its_probability() -> None:
    told = (token("Check 1:"), token(" yes", yes=0.75, no=0.25), token("\nCheck 2:"), token(" no"))
    assert passed(reply("Check 1: yes\nCheck 2: no", tokens=told), 2) == pytest.approx(0.75 / 2)


@pytest.mark.parametrize(
    ("first", "second", "score", "same"),
    [
        ("Better: 1", "Better: 2", 1.0, True),
        ("Better: 2", "Better: 1", 0.0, True),
        ("Better: 1", "Better: 1", 0.5, False),
        ("Better: tie", "Better: tie", 0.5, True),
        ("Better: 1", "Better: tie", 0.5, False),
        ("Better: candidate 1", "**Better:** 2", 1.0, True),
        ("Better: neither", "Better: both", 0.5, True),
        ("Better: 1 or 2", "Better: 2", None, None),
        ("Better: 1", "", None, None),
    ],
)
def test_a_pair_is_won_in_both_orders_or_not_at_all(
    first: str, second: str, score: float | None, same: bool | None
) -> None:
    replies = [reply(second, place=1), reply(first, place=0)]
    pair = OPEN.replaced(candidates=("Dear Ada", "Hello"))
    assert score_of(pair, replies) == score
    assert preference(replies[1], replies[0]) == score
    assert agreed(replies[1], replies[0]) is same


def test_failed_replies_give_no_score() -> None:
    down = Response(expert_id="judge", role=CallRole.JUDGE, stage=1, error_code="context_exceeded")
    assert score_of(OPEN, [down]) is None
    assert score_of(OPEN, []) is None


def test_a_rubric_decides_how_a_reply_is_read() -> None:
    assert score_of(OPEN.replaced(rubric=("Polite?",)), [reply("Check 1: yes\nGrade: 2")]) == 1.0
    assert score_of(OPEN, [reply("Check 1: yes\nGrade: 2")]) == pytest.approx(2 / 9)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Dear Ada, hello.", "dear ada hello", True),
        ("Yes", "yes!", True),
        ("Yes", "No", False),
        ("!", "?", False),
        ("a b c d", "d c b a", False),
        (" ".join(map(str, range(100))), " ".join(map(str, [*range(99), 7])), True),
        (" ".join(map(str, range(100))), " ".join(map(str, range(50, 150))), False),
        ("你好。", "你好", True),
    ],
)
def test_near_equal_texts(a: str, b: str, same: bool) -> None:
    assert near_equal(a, b) is same
    assert near_equal(b, a) is same


@given(st.text(max_size=60))
def test_every_text_is_near_itself(text: str) -> None:
    assert near_equal(text, text)


def test_agreement_of_two_readings() -> None:
    """Gaps 0, 1/9 (one grade) and .5: two of three agree, mean .2037."""
    first, second = {"a": 0.5, "b": 0.0, "c": 1.0, "x": 1.0}, {"a": 0.5, "b": 1 / 9, "c": 0.5, "y": 0.0}
    found = self_agreement(first, second)
    assert (found.n, found.agreement) == (3, pytest.approx(2 / 3))
    assert found.difference == pytest.approx((0 + 1 / 9 + 0.5) / 3)
    assert self_agreement({}, second).n == 0


def test_the_slope_is_taken_within_questions() -> None:
    """Within each question the longer answer gains .2 per doubling; that hard questions have longer answers
    does not matter."""
    easy = [LengthPoint("easy", 99, 0.7), LengthPoint("easy", 199, 0.9)]
    hard = [LengthPoint("hard", 999, 0.1), LengthPoint("hard", 1999, 0.3)]
    assert length_slope([*easy, *hard]) == pytest.approx(0.2)
    assert length_slope(easy[:1]) is None
    assert length_slope([*easy, *hard], at_least=2) == pytest.approx(0.2)
    assert length_slope([*easy, *hard[:1]], at_least=2) is None
    assert length_slope([LengthPoint("q", 9, 0.1), LengthPoint("q", 9, 0.9)]) is None
