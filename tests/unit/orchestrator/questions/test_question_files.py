import hashlib
import json
import os
from pathlib import Path

import pytest

from orchestrator.domain.queries import AnswerType
from orchestrator.errors import InputError, LimitError
from orchestrator.questions.fields import parse_query
from orchestrator.questions.files import (
    MAX_BLANK_LINES,
    MAX_LINE_BYTES,
    LongLineError,
    QuestionFileError,
    Source,
    check_questions,
    read_questions,
    spooled,
)


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def line(**fields: object) -> str:
    return json.dumps({"question": "What is 1 + 1?", **fields}) + "\n"


def test_lines_become_queries_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, line(id="a") + line(id="b", options=["1", "2"], answer=1))

    first, second = read_questions(path)

    assert (first.id, first.answer_type) == ("a", AnswerType.TEXT)
    assert (second.answer_type, second.text) == (AnswerType.CHOICE, "What is 1 + 1?\nA) 1\nB) 2")


def test_a_line_without_id_is_named_by_its_number(tmp_path: Path) -> None:
    assert [q.id for q in read_questions(write(tmp_path, "\n" + line() + line()))] == ["line-2", "line-3"]


def test_the_batch_form_of_openai_is_read(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    body = {"model": "auto", "messages": messages}
    record = {"custom_id": "x1", "method": "POST", "url": "/v1/chat/completions", "body": body}

    (query,) = read_questions(write(tmp_path, json.dumps(record)))

    assert (query.id, query.question) == ("x1", "Hi?")
    assert [m.role for m in query.context] == ["system"]


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("ending", [b"\r\n", b"\n", b""])
def test_byte_order_mark_line_endings_and_a_missing_last_newline_are_accepted(
    tmp_path: Path, prefix: bytes, ending: bytes
) -> None:
    content = prefix + line().strip().encode() + b"\n" + line().strip().encode() + ending

    assert check_questions(write(tmp_path, content)).n == 2


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "no questions"),
        ("\n  \n", "no questions"),
        ('[{"question": "a"}]', "JSON array"),
        ('{\n  "question": "a"\n}', "pretty-printed"),
        ("a".encode("utf-16"), "UTF-16"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        ("{}".encode("utf-16-be"), "UTF-16"),
        ("{}".encode("utf-32"), "UTF-32"),
        ("{}".encode("utf-32-be"), "UTF-32"),
        (b'{"id": ' + b"9" * 5000 + b"}", "is not JSON (a number with too many digits)"),
        (b"\0\0\0\0", "is not JSON"),
        (b"PK\x03\x04abc", "binary"),
        (b"\x1f\x8b\x08", "compressed"),
        (b'{"question": "\xe9"}', "line 1: is not UTF-8"),
        ("null\n", "line 1: is null"),
        ('"x"\n', "line 1: is a string"),
        ("{}\n", "line 1: question: is missing"),
        ('{"Question": "a"}\n', "line 1: Question: unknown field (did you mean question?); valid: answer"),
        ('{"qestion": "a"}\n', "line 1: qestion: unknown field (did you mean question?)"),
        ('{"prompt": "a"}\n', "line 1: prompt: unknown field; valid: answer"),
        ('{"question": "a", "answertype": "text"}', "answertype: unknown field (did you mean answer_type?)"),
        (
            '{"question": "a"}{"question": "b"}',
            "line 1: is not JSON (another object follows on the same line",
        ),
        ('{"question": "a"} b', "line 1: is not JSON (more follows on the same line)"),
        ("1,What is 2+2?", "line 1: is not JSON (more follows on the same line)"),
        ("{'question': 'a'}\n", "line 1: is not JSON"),
        (line() + '{"question": "a",}\n', "line 2: is not JSON"),
        (line(question=""), "question is empty"),
        (line(question=" \u200b "), "question is empty"),
        (line(question=7), "question"),
        (line(question="a\x00b"), "NUL"),
        ('{"question": "\\ud800"}', "unicode"),
        (
            '{"question": "a", "skills": ["x", "\\udfff"]}',
            "line 1: skills.1: the text holds a lone surrogate",
        ),
        ('{"question": "a", "domain": "\\ud800"}', "line 1: domain: the text holds a lone surrogate"),
        ('{"custom_id": "\\ud800", "body": {"messages": []}}', "custom_id: the text holds a lone surrogate"),
        ('{"question": "a", "\\ud800": 1}', "lone surrogate"),
        ('{"question": "a", "domain": "b\\u0000"}', "line 1: domain: the text holds a NUL"),
        (line() + '{"question": "a", "answer": "b", "answer": "c"}', "line 2: key 'answer' stands twice"),
        ('{"custom_id": "c", "body": {"messages": [], "messages": []}}', "key 'messages' stands twice"),
        ('{"question": "a", "answer": 1e999}', "line 1: answer: the number is beyond"),
        ('{"question": "a", "domain": ' + "[" * 70 + "]" * 70 + "}", "nested"),
        (line(id="a\x00"), "NUL"),
        (line(options=["a\x00", "b"]), "NUL"),
        (line(is_admin=True), "is_admin: unknown field; valid: answer"),
        (line(options=["one"]), "2 to 26 options"),
        (line(options=["a", "a"]), "options repeat"),
        (line(options=["a", " "]), "an option is empty"),
        (line(options=["a", "b"], answer=2), "option index 0..1"),
        (line(answer=float("nan")), "NaN is not a JSON number"),
        (line(id="a") + line(id="a"), "line 2: id 'a' stands on line 1 already"),
        ('{"custom_id": "", "body": {"messages": []}}', "custom_id"),
        ('{"custom_id": "a", "body": {"messages": []}}', "role 'user' is needed"),
        ('{"custom_id": "a", "url": "/v1/embeddings", "body": {"messages": []}}', "url must be"),
        ('{"custom_id": "a", "body": {"messages": [], "stream": true}}', "stream"),
    ],
)
def test_bad_files_are_refused_with_line_and_reason(tmp_path: Path, content: str | bytes, part: str) -> None:
    with pytest.raises(InputError) as caught:
        read_questions(write(tmp_path, content))
    assert part in str(caught.value)


def test_all_bad_lines_are_listed_and_none_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError) as caught:
        check_questions(write(tmp_path, line() + "x\n" + line() + "{}\n"))
    assert [e.line for e in caught.value.errors] == [2, 4]


def test_too_many_lines_stop_the_reading(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="more than 3 lines"):
        check_questions(write(tmp_path, line() * 5), max_lines=3)


@pytest.mark.parametrize("blank", [b"\n", b" \n", b"\t\r\n"])
def test_blank_lines_without_end_stop_the_reading(tmp_path: Path, blank: bytes) -> None:
    assert check_questions(write(tmp_path, blank * MAX_BLANK_LINES + line().encode())).n == 1
    with pytest.raises(LimitError, match="more than 1,000,000 blank lines"):
        check_questions(write(tmp_path, blank * (MAX_BLANK_LINES + 1) + line().encode()))


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="line 1 is longer"):
        check_questions(write(tmp_path, b'{"question": "' + b"a" * 2_000_000))


def test_deep_nesting_is_an_error_of_the_line(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match="line 1"):
        check_questions(write(tmp_path, '{"question": ' + "[" * 100_000 + "]" * 100_000 + "}"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        check_questions(tmp_path / "none.jsonl")


def test_a_check_tells_number_and_content_of_the_lines(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "Hi?"}]}
    content = line(id="a") + json.dumps({"custom_id": "b", "body": body}) + "\n\n" + line(id="c")

    checked = check_questions(write(tmp_path, content))

    assert checked.n == 3
    assert checked.digest == hashlib.sha256(content.encode()).hexdigest()


def test_a_file_is_used_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, line())

    with spooled(path) as source:
        assert source == Source(path, str(path), None)


def test_a_pipe_is_kept_up_to_a_limit(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, line().encode())
    os.close(writer)

    with (
        pytest.raises(LimitError, match="holds more than 10 bytes"),
        spooled(Path(f"/dev/fd/{reader}"), max_bytes=10),
    ):
        pass
    os.close(reader)


def test_labelled_questions_may_come_out_of_a_pipe_too() -> None:
    reader, writer = os.pipe()
    os.write(writer, line(id="a").encode())
    os.close(writer)

    assert [query.id for query in read_questions(Path(f"/dev/fd/{reader}"))] == ["a"]
    os.close(reader)


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({"tol": 0.1}, "comparison.tol: unknown field; valid: case, tolerance, units"),
        ("exact", "comparison: must be an object"),
        ([0.1], "comparison: must be an object"),
        (None, "comparison: must be an object"),
    ],
)
def test_a_wrong_comparison_is_told_with_its_own_fields(comparison: object, message: str) -> None:
    fields = {"id": "q", "question": "What is 1 + 1?", "answer_type": "number", "comparison": comparison}
    with pytest.raises(InputError) as caught:
        parse_query(fields)
    assert str(caught.value).startswith(message)


def test_a_line_that_is_too_long_says_which_it_is(tmp_path: Path) -> None:
    with pytest.raises(LongLineError) as caught:
        read_questions(write(tmp_path, b'{"question": "a"}\n' + b"x" * (MAX_LINE_BYTES + 1)))
    assert caught.value.line == 2
