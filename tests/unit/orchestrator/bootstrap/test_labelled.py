"""Reference answers that no grader can read are told when a question set is read, with their lines."""

import json
from pathlib import Path

import pytest

from orchestrator.bootstrap.labelled import read_labelled
from orchestrator.questions.files import QuestionFileError


def lines_of(*answers: tuple[str, object]) -> str:
    return "\n".join(
        json.dumps({"id": f"q{i}", "question": "?", "answer_type": kind, "answer": answer})
        for i, (kind, answer) in enumerate(answers)
    )


def test_references_as_data_sets_write_them_are_read(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    numbers = ("1,000 m", 3.5, "1\\frac{1}{2}", "48 + 24 = 72\n#### 72")
    expressions = ("-i", "\\text{even}", "n!", "So $x = \\boxed{5}$.", 7)
    answers = [*(("number", number) for number in numbers), *(("latex", one) for one in expressions)]
    path.write_text(lines_of(*answers, ("text", "Rome")))
    assert len(read_labelled(path)) == 10


def test_a_question_without_a_reference_is_none_of_this(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"question": "?", "answer_type": "number"}')
    assert len(read_labelled(path)) == 1


@pytest.mark.parametrize(
    ("kind", "answer", "why"),
    [
        ("number", "a lot", "is not a number"),
        ("number", "3 or 4", "is not a number"),
        ("number", "4x", "is not a number"),
        ("latex", "it depends on many things", "is not an expression"),
        ("latex", "\\frac{1}{2", "is not an expression"),
    ],
)
def test_a_reference_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, kind: str, answer: str, why: str
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(lines_of(("number", 1), (kind, answer), ("number", 2)))
    with pytest.raises(QuestionFileError, match=f"line 2: .*{why}") as caught:
        read_labelled(path)
    assert [(error.line, error.param) for error in caught.value.errors] == [(2, "answer")]
