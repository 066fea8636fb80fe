import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.queries import AnswerType, Comparison, Query
from orchestrator.errors import SkillError
from skills.grading.grader import GRADERS, AnswerGrader
from skills.grading.latex import LatexGrader
from skills.grading.math_process import MathProcess
from tests.fakes.grading import make_query, make_response

QUERY = make_query("latex", "\\frac{1}{2}")


@pytest.fixture(scope="module")
def process() -> Iterator[MathProcess]:
    process = MathProcess(timeout_s=20.0)
    yield process
    process.close()


@pytest.fixture(scope="module")
def grader(process: MathProcess) -> AnswerGrader:
    return AnswerGrader({**GRADERS, AnswerType.LATEX: LatexGrader(process)})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\boxed{\\frac12}", "\\frac12"),
        ("So $\\boxed{\\dfrac{1}{2}}$.", "\\frac{1}{2}"),
        ("The answer is $x^2+1$.", "x^2+1"),
        ("$$\\frac{1}{2}$$", "\\frac{1}{2}"),
        ("x", "x"),
        ("The answer is \\boxed{1}. No: \\boxed{2}", "2"),
        ("I believe it is big", None),
        ("There are 3 ways to see this", None),
        ("a long\nderivation x = 2", None),
        ("x" * 2000, None),
        ("\\boxed{\\frac{1}{2}", None),
        ("\\boxed{-i}", "-i"),
        ("\\boxed{xy}", "xy"),
        ("\\boxed{f(x)}", "f(x)"),
        ("\\boxed{n!}", "n!"),
        ("\\boxed{|x|}", "|x|"),
        ("\\boxed{∞}", "∞"),
        ("\\boxed{(x, y)}", "(x, y)"),
        ("\\boxed{even}", "even"),
        ("\\boxed{\\text{no solution}}", "\\text{no solution}"),
        ("The answer is $\\$20$", "\\$20"),
        ("The answer is x².", "x²"),
        ("The answer is $x^2$, as was to be shown with $x = 3$.", "x^2"),
        ("The answer is 4 lattice points.", "4"),
        ("The answer is 2, which is the only value of $m$.", "2"),
        ("The final answer is that there are 2 values in the range of $f(x)$.", "2"),
        ("Therefore, the area is $6\\sqrt{2}$.", "6\\sqrt{2}"),
        ("So\n$$x = 5$$", "x = 5"),
        ("**18**", "18"),
        ("It is 18 dollars.", "18"),
        ("Her income is:\n\n**$18**", "$18"),
        ("\\boxed{18 \\text{ dollars}}", "18"),
        ("The answer is correct.", None),
        ('{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        ('{"answer": "9, 18, 27"}', "9, 18, 27"),
        ('{"answer": "It cannot be told from what is given"}', None),
        ("\\boxed{\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"),
    ],
)
def test_reads_the_stated_expression(grader: AnswerGrader, text: str, value: str | None) -> None:
    assert grader.read(QUERY, make_response(text)) == value


def test_truncated_text_counts_only_a_closed_box(grader: AnswerGrader) -> None:
    assert grader.read(QUERY, make_response("\\boxed{2} so", truncated=True)) == "2"
    assert grader.read(QUERY, make_response("The answer is $x", truncated=True)) is None


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("x+1", "1+x", True),
        ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}", True),
        ("x+1", "x+2", False),
        ("(1,2)", "(2,1)", False),
        ("\\}{", "x", False),
        ("6√2", "6", False),
        ("x² + 5", "5", False),
        ("2m", "2", False),
        ("3 + c", "3", False),
        ("12 - 10d", "2", False),
        ("2,-1", "2", False),
        ("2, -1", "-1, 2", True),
        ("9, 18, 27, 36,", "36", False),
        ("101_2", "101_3", False),
        ("101_2", "101", False),
        ("50\\%", "50", True),
        ("50\\%", "0.5", False),
        ("1,2", "(1,2)", False),
        ("[1,2]", "(1,2)", False),
        ("A", "a", False),
        ("x = 1, y = 2", "x = 2, y = 1", False),
        ("\\sqrt{x^2}", "x", False),
        ("1000000.5", "1000001", False),
        ("x > 2", "x \\ge 2", False),
        ("\\frac{dy}{dx}", "0", False),
        ("\\$20", "20", True),
        ("20 dollars", "20", True),
        ("5\\text{ cm}^2", "5", True),
        ("√2", "\\sqrt{2}", True),
        ("2pi", "2\\pi", True),
        ("2·3", "6", True),
        ("–5", "-5", True),
        ("1 000", "1000", True),
        ("\\frac12", "\\dfrac{1}{2}", True),
        ("1\\frac{1}{2}", "1.5", True),
        ("0.\\overline{3}", "1/3", True),
        ("x^10", "x^{10}", True),
        ("\\left(1, 2\\right)", "(1,2)", True),
        ("\\text{even}", "even", True),
        ("\\text{(A)}", "A", True),
        ("x = 5", "5", True),
        ("x = 2 + 3 = 5", "5", True),
        ("x = 1 \\text{ or } x = 2", "1, 2", True),
        ("2 \\pm \\sqrt3", "2 + \\sqrt{3}, 2 - \\sqrt{3}", True),
        ("x > 2", "(2, \\infty)", True),
        ("2x + 3y = 5", "4x + 6y = 10", True),
        ("\\sum_{k=1}^n k", "\\frac{n(n+1)}{2}", True),
        ("\\begin{pmatrix}1\\\\ 2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\2 \\end{pmatrix}", True),
        ("A \\cup B", "A\\cup B", True),
    ],
)
def test_equivalence_is_mathematical_and_symmetric(grader: AnswerGrader, a: str, b: str, same: bool) -> None:
    assert grader.equivalent(QUERY, a, b) is same
    assert grader.equivalent(QUERY, b, a) is same


def test_plain_numbers_need_no_child_process() -> None:
    process = MathProcess(start_timeout_s=0.0)
    assert LatexGrader(process).equivalent(QUERY, "1,000", "1000")
    assert not LatexGrader(process).equivalent(QUERY, "1000", "1001")


def test_works_in_a_worker_thread(grader: AnswerGrader) -> None:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(grader.equivalent(QUERY, "2x", "x+x")))
    thread.start()
    thread.join()
    assert results == [True]


few = st.sampled_from(
    [
        "2",
        "2, -1",
        "-1, 2",
        "(2, -1)",
        "6\\sqrt{2}",
        "√72",
        "x",
        "X",
        "|x|",
        "50\\%",
        "0.5",
        "1/2",
        "2m",
        "even",
        "101_2",
    ]
)


@settings(deadline=None)
@given(a=few, b=few, c=few)
def test_equality_is_an_equivalence(grader: AnswerGrader, a: str, b: str, c: str) -> None:
    assert grader.equivalent(QUERY, a, a)
    assert grader.equivalent(QUERY, a, b) == grader.equivalent(QUERY, b, a)
    if grader.equivalent(QUERY, a, b) and grader.equivalent(QUERY, b, c):
        assert grader.equivalent(QUERY, a, c)


@pytest.mark.parametrize(
    "dress",
    [
        "\\boxed{{{}}}",
        "The answer is ${}$.",
        "**Answer:** \\({}\\)\n\nI hope that this helps!",
        "$$\n{}\n$$",
        "The final answer is:\n$$\n{}\n$$",
        "```json\n{{'reasoning': 'First $2$.', 'answer': '${}$'}}\n```\nSo it is $3$.",
        "<think>\\boxed{{7}}</think><answer>\\boxed{{{}}}</answer>",
        "[ANSWER] {} [/ANSWER]",
    ],
)
@pytest.mark.parametrize("value", ["\\frac{1}{2}", "x^2 + 1", "\\left(1, 2\\right)", "6\\sqrt{2}"])
def test_an_expression_is_the_same_in_every_dress(grader: AnswerGrader, dress: str, value: str) -> None:
    assert grader.read(QUERY, make_response(dress.format(value))) == value


def test_a_base_that_the_question_asks_for_need_not_be_written(grader: AnswerGrader) -> None:
    query = Query(id="q", question="What is it in base three?", answer="21_3", answer_type=AnswerType.LATEX)
    texts = ("\\boxed{21_3}", "\\boxed{21_{3}}", "\\boxed{21}", "\\boxed{21_4}")
    outcomes = [grader.grade(query, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, RIGHT, RIGHT, WRONG]


def test_a_tolerance_holds_for_values(grader: AnswerGrader) -> None:
    comparison = Comparison(tolerance=0.01)
    query = Query(id="q", question="?", answer="\\pi", answer_type=AnswerType.LATEX, comparison=comparison)
    assert grader.equivalent(query, "3.14", "\\pi")
    assert not grader.equivalent(query, "3.5", "\\pi")
    assert not grader.equivalent(query, "x", "\\pi")


SLOW_CHILD = """
import json, sys, time
print("ready", flush=True)
for line in sys.stdin:
    if "endless" in line:
        time.sleep(600)
    print(json.dumps("key of " + json.loads(line)), flush=True)
"""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[MathProcess]:
    script = tmp_path / "child.py"
    script.write_text(SLOW_CHILD)
    process = MathProcess(timeout_s=2.0, child=script)
    yield process
    process.close()


def test_an_expression_that_never_ends_has_no_key_and_the_next_one_works(slow: MathProcess) -> None:
    assert slow.key("endless") is None
    assert slow.key("x") == "key of x"


def test_that_there_was_no_time_is_not_remembered(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(SLOW_CHILD)
    process = MathProcess(timeout_s=0.5, child=script)
    assert process.key("endless") is None
    script.write_text(SLOW_CHILD.replace("time.sleep(600)", "pass"))
    assert process.key("endless") == "key of endless"
    process.close()


def test_closing_twice_is_harmless_and_a_later_expression_starts_anew(slow: MathProcess) -> None:
    assert slow.key("x") == "key of x"
    slow.close()
    slow.close()
    assert slow.key("y") == "key of y"


def test_a_child_that_does_not_start_knows_no_key() -> None:
    assert MathProcess(start_timeout_s=0.0).key("x+1") is None


def test_grades_by_value(grader: AnswerGrader) -> None:
    texts = ("\\boxed{0.5}", "\\boxed{\\frac{2}{4}}", "\\boxed{2}")
    outcomes = [grader.grade(QUERY, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, RIGHT, WRONG]


def test_a_reference_that_is_prose_is_refused(grader: AnswerGrader) -> None:
    with pytest.raises(SkillError, match="not an expression"):
        grader.grade(make_query("latex", "it depends on many things"), make_response("\\boxed{2}"))
