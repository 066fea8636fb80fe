"""Files of scores and of rubrics: what is wrong is told with its place, and nothing is skipped."""

import io
import json
from pathlib import Path

import pytest

from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.ports.profiling import GivenScores
from orchestrator.questions.files import QuestionFileError
from orchestrator.questions.scores import parse_rubric, parse_scores, read_rubric, read_scores, with_rubric

LETTER = Query(id="letter", question="Write to Ada.", answer_type=AnswerType.OPEN)
POEM = Query(id="poem", question="Write a poem.", answer_type=AnswerType.OPEN, rubric=("It rhymes.",))
SUM = Query(id="sum", question="1 + 1?", answer="2", answer_type=AnswerType.NUMBER)
QUERIES = [LETTER, POEM, SUM]
EXPERTS = ["ada", "bob"]


def parsed(*lines: object) -> GivenScores:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return parse_scores(io.BytesIO(text.encode()), "scores.jsonl", QUERIES, EXPERTS)


def line(
    query_id: object = "letter", expert: str = "ada", score: object = 0.5, **more: object
) -> dict[str, object]:
    return {"id": query_id, "expert": expert, "score": score, **more}


def test_scores_come_by_question_and_expert() -> None:
    found = parsed(line(score=1), "", line(expert="bob", score=0.25), line("poem", score=0.0))
    assert found == GivenScores({("letter", "ada"): 1.0, ("letter", "bob"): 0.25, ("poem", "ada"): 0.0}, "")


def test_marks_of_other_systems_in_a_file_change_nothing() -> None:
    lines = [line(), line("poem", score=1)]
    raw = "\ufeff" + "\r\n\r\n".join(json.dumps(one) for one in lines)
    found = parse_scores(io.BytesIO(raw.encode()), "scores.jsonl", QUERIES, EXPERTS)
    assert found.scores == {("letter", "ada"): 0.5, ("poem", "ada"): 1.0}


def test_scores_may_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(line()).encode())))
    assert read_scores(Path("-"), QUERIES, EXPERTS).scores == {("letter", "ada"): 0.5}


def test_the_judge_is_that_of_all_lines() -> None:
    assert parsed(line(judge="eve"), line("poem", judge="eve")).judge == "eve"
    assert parsed(line(judge=None)).judge == ""


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line("nobody"), "no question is called 'nobody'"),
        (line("sum"), "question 'sum' has an exact answer"),
        (line(expert="eve"), "nobody who answers is called 'eve'"),
        (line(score=1.01), "1.01 is not from 0 to 1"),
        (line(score=-0.1), "-0.1 is not from 0 to 1"),
        (line(score=7), "7 is not from 0 to 1; divide by the best score"),
        (line(score=10**400), "is not from 0 to 1"),
        (line(score="0.5"), "must be a number"),
        (line(score=True), "must be a number"),
        (line(score=None), "must be a number"),
        ('{"id": "letter", "expert": "ada", "score": NaN}', "NaN is not a JSON number"),
        ('{"id": "letter", "expert": "ada", "score": 1e999}', "beyond the range"),
        ('{"id": "letter", "expert": "ada"}', "score: must be a number"),
        ('{"expert": "ada", "score": 0.1}', "id: must be a text"),
        (line(7), "id: must be a text"),
        (line(expert=""), "expert: must be a text"),
        (line(judge=3), "judge: must be a text"),
        (line(judge="a" * 257), "judge: is longer than 256"),
        (line(grade=3), "grade: unknown field; valid: id, expert, score, judge"),
        ('{"id": "letter", "id": "poem"}', "stands twice"),
        ("[1]", "is an array"),
        ("{", "is not JSON"),
        ('{"id": "a\\u0000"}', "NUL"),
    ],
)
def test_a_bad_line_is_told_with_its_number(bad: object, message: str) -> None:
    with pytest.raises(QuestionFileError, match=r"scores.jsonl: line 2: ") as told:
        parsed(line("poem"), bad)
    assert message in str(told.value)
    assert [error.line for error in told.value.errors] == [2]


def test_every_mistake_is_told_in_the_order_of_the_lines() -> None:
    fine = line("poem", "bob", judge="eve")
    with pytest.raises(QuestionFileError) as told:
        parsed(line(judge="eve"), line(judge="dan"), line("poem"), line("nobody"), fine)
    messages = [(error.line, error.message) for error in told.value.errors]
    assert [number for number, _ in messages] == [2, 2, 3, 4]
    assert "has a score on line 1 already" in messages[0][1]
    assert "judge 'dan', and 'eve' on line 1: scores of two are never mixed" in messages[1][1]
    assert "no judge, and 'eve' on line 1" in messages[2][1]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "holds no scores"),
        (b"\n\n", "holds no scores"),
        (b"[1]", "is a JSON array"),
        (b"\xff\xfe", "is UTF-16"),
        (b"{\n", "pretty-printed"),
    ],
)
def test_what_is_no_file_of_scores_is_said(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_scores(io.BytesIO(raw), "scores.jsonl", QUERIES, EXPERTS)


def test_files_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none.jsonl: No such file"):
        read_scores(tmp_path / "none.jsonl", QUERIES, EXPERTS)
    with pytest.raises(InputError, match=r"cannot read .*none.json: No such file"):
        read_rubric(tmp_path / "none.json", QUERIES)


def test_a_list_of_checks_is_for_all_open_questions(tmp_path: Path) -> None:
    path = tmp_path / "rubric.json"
    path.write_text('\ufeff["It is polite.", "It is signed."]')
    found = {query.id: query.rubric for query in read_rubric(path, QUERIES)}
    checks = ("It is polite.", "It is signed.")
    assert found == {"letter": checks, "poem": checks, "sum": ()}


def test_checks_by_question_leave_the_others_as_they_are() -> None:
    found = {q.id: q.rubric for q in with_rubric({"letter": ["It is polite."]}, "r", QUERIES)}
    assert found == {"letter": ("It is polite.",), "poem": ("It rhymes.",), "sum": ()}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "must be a list of checks, or an object"),
        ("It is polite.", "must be a list of checks"),
        (3, "must be a list of checks"),
        ([], "must have 1 to 64 checks, not 0"),
        (["a"] * 65, "must have 1 to 64 checks, not 65"),
        (["a", "a"], "a check of it stands twice"),
        (["a", " "], "check 2 of it must be a text"),
        ([1], "check 1 of it must be a text"),
        (["a" * 2001], "check 1 of it is longer than 2000"),
        ({"letter": "polite"}, "'letter' must have a list of checks"),
        ({"letter": []}, "'letter' must have 1 to 64 checks"),
        ({"nobody": ["a"]}, "no question is called 'nobody'"),
        ({"sum": ["a"]}, "question 'sum' has an exact answer"),
        ({"nobody": [""], "sum": [2]}, "check 1 of 'sum'"),
    ],
)
def test_a_rubric_that_cannot_be_used_is_refused(document: object, message: str) -> None:
    raw = json.dumps(document).encode()
    with pytest.raises(InputError, match=r"rubric.json: ") as told:
        with_rubric(parse_rubric(raw, "rubric.json"), "rubric.json", QUERIES)
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not JSON"),
        (b"{'letter': []}", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"letter": ["a"], "letter": ["b"]}', "stands twice"),
        (b'["\\ud800"]', "lone surrogate"),
    ],
)
def test_what_is_no_json_is_no_rubric(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_rubric(parse_rubric(raw, "rubric.json"), "rubric.json", QUERIES)


def test_a_rubric_for_exact_questions_alone_is_refused() -> None:
    with pytest.raises(InputError, match="none of the questions is open"):
        with_rubric(["It is right."], "rubric.json", [SUM])
