import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.cards import RIGHT, WRONG
from orchestrator.domain.queries import AnswerType
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


SLOW_CHILD = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    if "endless" in line:
        time.sleep(600)
    print("true", flush=True)
"""


def test_an_expression_that_never_ends_equals_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(SLOW_CHILD)
    process = MathProcess(timeout_s=2.0, child=script)
    assert not process.same("endless", "x")
    assert process.same("x", "y")
    process.close()


def test_closing_twice_is_harmless_and_a_later_comparison_starts_anew(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(SLOW_CHILD)
    process = MathProcess(child=script)
    assert process.same("x", "y")
    process.close()
    process.close()
    assert process.same("x", "z")
    process.close()


def test_a_child_that_does_not_start_compares_nothing_as_equal() -> None:
    assert not MathProcess(start_timeout_s=0.0).same("x+1", "1+x")


def test_grades_by_value(grader: AnswerGrader) -> None:
    texts = ("\\boxed{0.5}", "\\boxed{\\frac{2}{4}}", "\\boxed{2}")
    outcomes = [grader.grade(QUERY, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, RIGHT, WRONG]


def test_a_reference_that_is_prose_is_refused(grader: AnswerGrader) -> None:
    with pytest.raises(SkillError, match="not an expression"):
        grader.grade(make_query("latex", "it depends on many things"), make_response("\\boxed{2}"))
