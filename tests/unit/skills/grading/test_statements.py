"""Statements of an answer, wherever and in whatever dress a model writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.grading.grader import AnswerGrader
from skills.grading.statements import Origin, statements
from tests.fakes.grading import make_query, make_response


def said(text: str, *, truncated: bool = False) -> str | None:
    found = statements(text, truncated=truncated)
    return found[-1].text if found else None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So the answer is Paris", "Paris"),
        ("The answer will be 42", "42"),
        ("The answer to the question is 42", "42"),
        ("The answer, in metres: 42", None),
        ("Ans: 42", "42"),
        ("Result: 42", "42"),
        ("Answer 42", "42"),
        ("Answer (in km): 42", "42"),
        ("Answer — 42", "42"),
        ("final_answer = 42", "42"),
        ("#### 42", "42"),
        ("## Answer\n\n42", "42"),
        ("**Answer**\n42", "42"),
        ("### Final Answer:\n\n- 42", "42"),
        ("Answer:\n```\n42\n```", "42"),
        ("The answer is:\n$$\nx = 1\n$$", "x = 1"),
        ("The answer is 3. No: the answer is 4.", "4."),
        ("\\boxed{42} km", "42"),
        ("\\boxed 5", "5"),
        ("The sum is 42", None),
        ("It answers the question", None),
        ("Result of this: nothing", None),
    ],
)
def test_a_statement_is_found_anywhere(text: str, value: str | None) -> None:
    assert said(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("**Answer**: 42", "42"),
        ("**Answer: 42**", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer:**\n\n**42**", "42"),
        ("**The answer is 42.** For it is.", "42. For it is."),
        ("*The answer is 42*", "42"),
        ("_Answer:_ 42", "42"),
        ("Answer: _B_", "B"),
        ("The answer is *42*", "42"),
        ("The answer is **`42`**", "42"),
        ("The **answer** is **42** km", "42 km"),
        ("Answer: ``5``", "5"),
        ("The answer is 2**10", "2**10"),
        ("Since 2**10 = 1024, the answer is 2**11", "2**11"),
        ("Answer: __init__", "__init__"),
        ("Answer: snake_case_name", "snake_case_name"),
        ("The answer is a * b * c", "a * b * c"),
    ],
)
def test_marks_count_in_pairs_around_a_statement_only(text: str, value: str) -> None:
    assert said(text) == value


def test_a_statement_tells_what_its_marks_enclose() -> None:
    assert statements("The answer is **Paris**, the capital.")[-1].marked == "Paris"


def test_a_statement_tells_its_paragraph() -> None:
    assert statements("Answer: one\ntwo\n\nthree")[-1].paragraph == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": 42}', "42"),
        ('{"reasoning": "6 * 7", "answer": "42"}', "42"),
        ("{'answer': 42}", "42"),
        ("{'answer': 'B', 'why': 'it fits'}", "B"),
        ('```json\n{\n  "final_answer": "42"\n}\n```', "42"),
        ('... cut reasoning.",\n  "answer": "42"\n}', "42"),
        ('{"answer": 118,000}', "118,000"),
        ('{"answer": "He said "hi""}', 'He said "hi"'),
        ('{"answer": "["a", "b"]"}', '["a", "b"]'),
        ('{"answer": ["a", "b"], "n": 2}', '["a", "b"]'),
        ('{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "a\\nb"}', "a\nb"),
        ('{"answer": "caf\\u00e9"}', "café"),
        ('{"answer": "The final answer is 42 km"}', "42 km"),
        ('{"answer": "$\\\\boxed{42}$"}', "42"),
        ('{"answer": "**42**"}', "42"),
        ('{\\"answer\\": \\"42\\"}', "42"),
        ("<answer>42</answer>", "42"),
        ("<Answer>\n42\n</Answer> Done.", "42"),
        ("[ANSWER] 42 [/ANSWER]", "42"),
        ("[ANSWER]42[/ANSWER]\nIt is so.", "42"),
        ("I think.\n<answer>42", "42"),
        ("<|begin_of_box|>42<|end_of_box|>", "42"),
        ('{"result": 42}', "42"),
        ('{"answer": "6"}\n{"answer": "7"}', "7"),
        ('{"answer": "First 6.", "why": "no", "answer": "7"}', "7"),
        ("{'answer': 5, 'answer': 6, 'final_answer': 7}", "7"),
        ('```json\n{"answer": "6",\n "answer": "7"\n}\n```', "7"),
        ('{"check": {"answer": 6}, "answer": 7}', "7"),
    ],
)
def test_the_last_answer_field_or_tag_is_a_statement(text: str, value: str) -> None:
    assert said(text) == value


def test_a_field_comes_after_all_that_its_object_says() -> None:
    assert said('{"answer": "20", "why": "the answer is 10 * 2"}') == "20"


def test_a_later_statement_comes_after_a_field() -> None:
    assert said('{"answer": "20"}\nCorrection: the answer is 21') == "21"


def test_a_result_in_the_midst_counts_only_where_nothing_else_is_stated() -> None:
    assert said("{'result': 1} and {'result': 2} were tried.") is None
    assert said('The answer is 5\n{"result": 6}') == "5"


def test_a_heading_over_a_whole_text_counts_only_where_nothing_else_is_stated() -> None:
    text = "Answer:\nFirst 3.\n\n" + "Then we go on. " * 20
    assert [found.start < 0 for found in statements(text)] == [True]


@pytest.mark.parametrize(
    "text", ["The answer is 4", '{"answer": "4', "{'answer': 4", "<answer>4", "\\boxed{4"]
)
def test_a_cut_statement_is_none(text: str) -> None:
    assert statements(text, truncated=True) == []


@pytest.mark.parametrize(
    "text", ['{"answer": "4"', "<answer>4</answer> a", "\\boxed{4} a", "The answer is 4\nIt"]
)
def test_a_statement_that_ended_before_the_cut_counts(text: str) -> None:
    assert said(text, truncated=True) == "4"


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "42"}\n\n## Question:\nWhat is 2 + 2?\n\n{"answer": "4"}',
        'Answer: "answer": "42"\n```\n\n## Follow-up Question 1:\n{"reasoning": "So", "answer": "4"}',
        "The answer is 42\n\nQ: What is 2 + 2?\nA: The answer is 4",
        'The answer is 42\nI kept to the form, e.g., `"answer": "7"`.',
        '{"answer": "42"}\n```json\n{"answer": "___"}\n```',
    ],
)
def test_answers_to_further_questions_and_forms_that_are_shown_do_not_count(text: str) -> None:
    assert said(text) == "42"


DRESSES = [
    "{}",
    "**{}**",
    "*{}*",
    "`{}`",
]
FORMS = [
    "The answer is {}",
    "So, the final answer is: {}",
    "**Answer:** {}",
    "## Answer\n\n{}",
    "Answer: {}\n\nI hope that this helps!",
    '{{"why": "it is so", "answer": "{}"}}',
    '```json\n{{"answer": "{}"}}\n```\nI hope that this helps!',
    "<answer>{}</answer>",
    "[ANSWER] {} [/ANSWER]",
]


@given(
    st.from_regex(r"\A[A-Z0-9][A-Za-z0-9]{0,8}( [A-Za-z0-9]{1,8}){0,3}\Z"),
    st.sampled_from(DRESSES),
    st.sampled_from(FORMS),
)
def test_a_value_is_the_same_in_every_dress(value: str, dress: str, form: str) -> None:
    assert said(form.format(dress.format(value))) == value


@given(st.text(alphabet="\"'`*_{}[]()\\<>/answer: \n=42,.#$", max_size=120), st.booleans())
def test_statements_of_any_text_are_not_blank(text: str, truncated: bool) -> None:
    for found in statements(text, truncated=truncated):
        assert found.text.strip()
        assert found.origin in Origin


RUNAWAYS = [
    '"answer": ',
    '"answer": "',
    "{'answer': [",
    '"answer": {',
    "<answer>",
    "answer: **",
    "answer to ",
    "Answer\n",
    "#### ",
    "\\boxed ",
]


@pytest.mark.parametrize("piece", RUNAWAYS)
@pytest.mark.parametrize("answer_type", ["number", "latex"])
def test_a_text_that_states_without_end_takes_linear_time(piece: str, answer_type: str) -> None:
    """Quadratic reading would run into the suite's time limit here."""
    text = piece * (400_000 // len(piece))
    assert AnswerGrader().read(make_query(answer_type), make_response(text)) is None
