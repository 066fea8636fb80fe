"""Answer files: form, order, and all or nothing. (Whole runs: tests/integration/test_cli.py)"""

import json
import stat
from pathlib import Path

import pytest

from api.cli.batch_files import Batch, check_output, open_batch, write_answers
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Job
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.terms import Terms
from orchestrator.errors import InputError, UnknownNameError
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.questions.files import CHAT_ENDPOINT, QuestionFileError, Source
from tests.fakes.app import ANSWER, FakeApp

FAILED = Answer(text="", error_code="backend_error", error="nobody answered.")


def answered(app: FakeApp, *items: tuple[str, Answer]) -> FakeApp:
    """Items whose ids begin with a capital letter are lines of OpenAI's form."""
    queries = [
        AnsweredQuery(Query(id=i, question="Why?", endpoint=CHAT_ENDPOINT if i.isupper() else ""), answer)
        for i, answer in items
    ]
    app.jobs.answers = lambda job_id: iter(queries)  # type: ignore[method-assign]
    return app


def write(folder: Path, app: FakeApp) -> list[str]:
    out = folder / "out.jsonl"
    write_answers(app, Batch("job", "auto", 7), out)
    return out.read_text().splitlines()


def test_own_and_openai_lines_keep_their_form(tmp_path: Path) -> None:
    app = answered(FakeApp(), ("a", ANSWER), ("B", FAILED), ("C", ANSWER))
    own, failed, completion = (json.loads(line) for line in write(tmp_path, app))
    assert (own["id"], own["value"], own["error"]) == ("a", "B", None)
    assert own["muster"]["usage"] == {"prompt_tokens": 25, "completion_tokens": 7, "cost_usd": 0.0}
    assert failed["error"] == {"code": "backend_error", "message": "nobody answered."}
    assert (failed["custom_id"], failed["response"]) == ("B", None)
    assert completion["response"]["body"]["usage"]["total_tokens"] == 32


def test_ids_of_output_lines_are_the_same_in_every_run(tmp_path: Path) -> None:
    first, second = (write(tmp_path, answered(FakeApp(), ("A", ANSWER))) for _ in range(2))
    assert first == second


def test_a_failed_write_leaves_the_old_file_and_no_part_of_the_new(tmp_path: Path) -> None:
    app = FakeApp()

    def broken(job_id: str) -> object:
        yield AnsweredQuery(Query(id="a", question="Why?"), ANSWER)
        raise OSError(28, "No space left on device")

    app.jobs.answers = broken  # type: ignore[method-assign,assignment]
    (tmp_path / "out.jsonl").write_text("old\n")
    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, app)
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_answer_files_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    write(tmp_path, answered(FakeApp(), ("a", ANSWER)))
    (tmp_path / "plain").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("out.jsonl", "plain")}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("in.jsonl", "would replace"),
        ("./x/../in.jsonl", "would replace"),
        ("pool.yaml", "would replace"),
        ("loop", "would replace"),
        ("no/where.jsonl", "there is no folder no"),
        ("in.jsonl/where.jsonl", "there is no folder in.jsonl"),
        ("x", "it is a folder"),
        ("", "it is a folder"),
        ("w" * 300, "name too long"),
    ],
)
def test_impossible_outputs_are_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").touch()
    Path("x").mkdir()
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match=told):
        check_output(Path(out), inputs=(Path("in.jsonl"), Path("pool.yaml"), Path("loop")))


def openai_line(custom_id: str, **body: object) -> str:
    content = {"model": "auto", "messages": [{"role": "user", "content": "Why?"}], **body}
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": content})


def submitted(folder: Path, *lines: str, composition: str | None = None) -> tuple[Job, tuple[Query, ...]]:
    (folder / "in.jsonl").write_text("\n".join(lines))
    app = FakeApp()
    open_batch(
        app, Source(folder / "in.jsonl", "in.jsonl"), composition=composition, job_id=None, resume=False
    )
    return app.store.submitted[0]


def test_what_the_lines_ask_for_is_what_the_job_does(tmp_path: Path) -> None:
    body = {"model": "muster/knn", "temperature": 0.5, "max_completion_tokens": 9, "seed": 3}
    job, queries = submitted(tmp_path, openai_line("a", **body), openai_line("b", **body))
    assert (job.composition, job.temperature, job.max_tokens, job.seed) == ("knn", 0.5, 9, 3)
    assert [query.id for query in queries] == ["a", "b"]


def test_lines_of_our_own_go_to_auto_and_the_configured_sampling(tmp_path: Path) -> None:
    job, _ = submitted(tmp_path, '{"id": "a", "question": "Why?"}')
    assert (job.composition, job.temperature, job.max_tokens) == ("auto", None, None)


def test_a_given_composition_goes_before_the_lines_models_whatever_they_are(tmp_path: Path) -> None:
    lines = [openai_line("a", model="gpt-4o"), openai_line("b", model="beta")]
    assert submitted(tmp_path, *lines, composition="org/alpha")[0].composition == "expert:org/alpha"


@pytest.mark.parametrize(
    ("field", "first", "other"),
    [("temperature", 0, 1), ("max_tokens", 5, None), ("seed", None, 1), ("seed", 0, None)],
)
def test_lines_that_differ_are_each_answered_on_their_own_terms(
    tmp_path: Path, field: str, first: object, other: object
) -> None:
    lines = [openai_line("a", **{field: first}), openai_line("b", **{field: other})]
    _, queries = submitted(tmp_path, *lines)
    assert [getattr(q.terms, field) for q in queries] == [first, other]


def test_lines_of_different_models_are_answered_by_them(tmp_path: Path) -> None:
    lines = [openai_line("a", model="auto"), openai_line("b", model="beta"), openai_line("c", model="auto")]
    job, queries = submitted(tmp_path, *lines)
    assert [q.terms.composition for q in queries if q.terms] == ["auto", "expert:beta", "auto"]
    assert (job.composition, job.compositions) == ("auto", ("auto", "expert:beta"))


def test_terms_that_all_lines_agree_on_are_the_jobs(tmp_path: Path) -> None:
    lines = [openai_line(i, model="beta", seed=0, max_tokens=9) for i in "ab"]
    job, queries = submitted(tmp_path, *lines)
    assert [q.terms for q in queries] == [None, None]
    assert (job.composition, job.seed, job.max_tokens, job.compositions) == ("expert:beta", 0, 9, ())


def test_lines_of_our_own_form_keep_the_jobs_terms_beside_others(tmp_path: Path) -> None:
    own = json.dumps({"id": "b", "question": "Why?"})
    job, queries = submitted(tmp_path, openai_line("a", model="beta", temperature=1), own)
    assert (job.composition, job.temperature, queries[1].terms) == ("auto", None, None)
    assert queries[0].terms == Terms(composition="expert:beta", temperature=1)


def test_a_line_of_our_own_form_cannot_name_what_is_on_the_books(tmp_path: Path) -> None:
    own = json.dumps({"id": "a", "question": "Why?", "terms": {"composition": "roll_call"}})
    with pytest.raises(QuestionFileError, match="line 1: terms: unknown field"):
        submitted(tmp_path, own)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"stream": True}, "stream"),
        ({"n": 2}, r"body\.n: a line has one answer"),
        ({"top_p": 0}, "top_p"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"temperature": 3}, r"body\.temperature"),
        ({"max_tokens": 0}, r"body\.max_tokens"),
        ({"max_tokens": "5"}, r"body\.max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "differ"),
        ({"api_base": "http://x"}, "api_base: unknown field"),
        ({"messages": [{"role": "user", "content": 3}]}, r"body\.messages\.0\.content"),
        ({"muster": {"timeout_s": 3}}, r"body\.muster\.timeout_s"),
        ({"muster": {"options": ["1"]}}, "2 to 26 options"),
    ],
)
def test_a_line_follows_the_rules_of_a_request(tmp_path: Path, body: dict[str, object], message: str) -> None:
    with pytest.raises(QuestionFileError, match=f"line 2: .*{message}") as caught:
        submitted(tmp_path, openai_line("a"), openai_line("b", **body))
    assert [error.line for error in caught.value.errors] == [2]


def test_a_model_that_is_not_served_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model 'gpt-4o'"):
        submitted(tmp_path, openai_line("a", model="gpt-4o"))


def test_what_a_job_is_called_on_the_books_names_no_model(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match=r"line 1: unknown model 'expert:beta'.* Valid: auto, beta, "):
        submitted(tmp_path, openai_line("a", model="expert:beta"))
    with pytest.raises(UnknownNameError):
        submitted(tmp_path, openai_line("a"), composition="expert:beta")


def test_our_own_fields_and_the_parts_of_a_message_count_in_a_line_too(tmp_path: Path) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Which?"}]},
    ]
    _, [query] = submitted(tmp_path, openai_line("a", messages=messages, muster={"options": ["1", "2"]}))
    assert (query.question, query.options, query.answer_type) == ("Which?", ("1", "2"), AnswerType.CHOICE)
    assert [message.role for message in query.context] == ["system"]
