"""Chats that name no answer type, asked of a pool that was profiled on sums."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.answers import Decision
from orchestrator.domain.queries import AnswerType
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings

CHAT, JOBS = "/v1/chat/completions", "/v1/jobs"
NAMES = ("ada", "bob", "eve")
TALE = "Tell me a story about the sea and a lighthouse keeper."
SEEMS = "What is 31 plus 8 good for?"
JSON = "Give me the sum as an object."


def sum_of(a: int, b: int) -> str:
    return f"What is {a} plus {b}?"


def member(name: str) -> dict[str, object]:
    """`eve` is wrong about every sum."""
    off = name == "eve"
    answers = {sum_of(a, b): f"Let me add.\nThe answer is {a + b + off}." for a in range(40) for b in (3, 4)}
    answers |= {TALE: f"Once upon a time, says {name}.", SEEMS: f"For nothing much, says {name}."}
    answers[JSON] = '{"sum": 7}'
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}"},
        "model_info": {"muster": {"engine": "scripted", "options": {"answers": answers}}},
    }


def opened(folder: Path, **muster: object) -> Iterator[App]:
    """Profiled on sums with 3; those with 4 are new."""
    pool, known = folder / "pool.yaml", folder / "known.jsonl"
    section = {"data_dir": "data", "embedder": {"model": "hash"}, **muster}
    pool.write_text(yaml.safe_dump({"model_list": [member(name) for name in NAMES], "muster": section}))
    lines = [
        {"id": f"q{a}", "question": sum_of(a, 3), "answer": str(a + 3), "answer_type": "number"}
        for a in range(30)
    ]
    known.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = load_settings(pool)
        with open_app(settings) as fresh:
            fresh.profiling.run(read_questions(known), exam=False)
        with open_app(settings, background=True) as app:
            yield app


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    yield from opened(tmp_path_factory.mktemp("inferred"))


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def asked(client: TestClient, content: str, model: str = "auto", **fields: object) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    completion: dict[str, Any] = response.json()
    return completion


def text_of(completion: dict[str, Any]) -> str:
    return str(completion["choices"][0]["message"]["content"])


def test_a_sum_is_read_and_voted_on_as_a_number(client: TestClient) -> None:
    completion = asked(client, sum_of(12, 4), "muster/majority_all")
    muster = completion["muster"]
    assert (muster["value"], muster["answer_type"], muster["type_inferred"]) == ("16", "number", True)
    assert {vote["expert"]: vote["value"] for vote in muster["votes"]} == {
        "ada": "16",
        "bob": "16",
        "eve": "17",
    }
    assert muster["reasons"]["answer_type"] == "number"
    assert any(note.startswith("answer type number inferred") for note in muster["reasons"]["notes"])
    assert text_of(completion).endswith("The answer is 16.")


def test_auto_reads_a_sum_too_and_says_how_sure_it_is(client: TestClient) -> None:
    muster = asked(client, sum_of(13, 4))["muster"]
    assert (muster["value"], muster["answer_type"]) == ("17", "number")
    assert muster["confidence"] is not None


def test_prose_is_one_experts_and_nobody_votes(client: TestClient) -> None:
    completion = asked(client, TALE, "muster/majority_all")
    muster = completion["muster"]
    assert (muster["answer_type"], muster["type_inferred"], muster["n_calls"]) == ("open", True, 1)
    assert (muster["votes"], muster["confidence"]) == ([], None)
    assert text_of(completion) == f"Once upon a time, says {muster['answered_by']}."


def test_what_only_seems_to_be_a_sum_is_open_after_all(client: TestClient) -> None:
    completion = asked(client, SEEMS, "muster/majority_all")
    muster = completion["muster"]
    assert (muster["answer_type"], muster["votes"], muster["confidence"]) == ("open", [], None)
    assert any("the question is open" in note for note in muster["reasons"]["notes"])
    assert text_of(completion) == f"For nothing much, says {muster['answered_by']}."


def test_a_schema_keeps_its_form(client: TestClient) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": schema}}
    completion = asked(client, JSON, response_format=form)
    assert json.loads(text_of(completion)) == {"sum": 7}
    assert completion["muster"]["answer_type"] == "json"


def test_a_type_that_was_said_stays(client: TestClient) -> None:
    muster = asked(client, sum_of(14, 4), "muster/majority_all", muster={"answer_type": "text"})["muster"]
    assert (muster["answer_type"], muster["type_inferred"]) == ("text", False)


def test_one_expert_by_its_id_is_open_whatever_it_is_asked(client: TestClient) -> None:
    completion = asked(client, sum_of(15, 4), "eve")
    assert text_of(completion).endswith("The answer is 20.")
    assert (completion["muster"]["answer_type"], completion["muster"]["confidence"]) == ("open", None)


def test_an_open_answer_is_streamed_whole_or_in_words(client: TestClient) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": TALE}], "stream": True}
    events = [
        line[6:] for line in client.post(CHAT, json=body).text.splitlines() if line.startswith("data: {")
    ]
    chunks = [json.loads(event) for event in events]
    words = "".join(choice["delta"].get("content") or "" for c in chunks for choice in c["choices"])
    assert words.startswith("Once upon a time, says ")
    assert chunks[-1]["muster"]["answer_type"] == "open"


def test_responses_and_dry_runs_infer_as_chats_do(client: TestClient) -> None:
    response = client.post("/v1/responses", json={"model": "auto", "input": sum_of(16, 4)}).json()
    assert (response["muster"]["answer_type"], response["muster"]["value"]) == ("number", "20")
    routed = client.post("/v1/route", json={"question": sum_of(17, 4)}).json()
    assert routed["answer_type"] == "number"
    told = client.post("/v1/route", json={"question": sum_of(17, 4), "answer_type": "text"}).json()
    assert told["answer_type"] is None


def line(custom_id: str, content: str, **body: object) -> str:
    fields = {"model": "auto", "messages": [{"role": "user", "content": content}], **body}
    return json.dumps({"custom_id": custom_id, "url": CHAT, "body": fields})


def test_a_batch_may_mix_all_kinds(client: TestClient, app: App) -> None:
    form = {"type": "json_object"}
    lines = [
        line("sum", sum_of(18, 4)),
        line("tale", TALE),
        line("json", JSON, response_format=form),
        json.dumps({"id": "own", "question": sum_of(19, 4)}),
        json.dumps({"id": "open", "question": TALE, "answer_type": "open"}),
    ]
    job = client.post(JOBS, content="\n".join(lines), headers={"content-type": "application/jsonl"}).json()
    app.dispatcher.wait(job["id"], timeout_s=60)
    rows = [json.loads(row) for row in client.get(f"{JOBS}/{job['id']}/answers").text.splitlines()]
    told = {r.get("custom_id") or r["id"]: r["response"]["body"] if "response" in r else r for r in rows}
    types = {name: row["muster"]["answer_type"] for name, row in told.items()}
    assert types == {"sum": "number", "tale": "open", "json": "json", "own": "text", "open": "open"}
    assert told["sum"]["muster"]["value"] == "22"
    assert (told["open"]["confidence"], told["open"]["expected_grade"]) == (None, None)


def test_a_judgement_of_prose_is_a_score_and_of_a_sum_a_right_answer(client: TestClient, app: App) -> None:
    tale, total = asked(client, TALE)["muster"], asked(client, sum_of(20, 4))["muster"]
    for muster, score in ((tale, 0.7), (total, 1)):
        given = client.post("/v1/feedback", json={"job": muster["job_id"], "score": score})
        assert given.status_code in (200, 201), given.text
    card = app.experts.cards()[tale["answered_by"]]
    assert card.feedback_grades.mean == pytest.approx(0.7)
    assert sum(each.feedback.n for each in app.experts.cards().values()) >= 1
    assert card.feedback.n <= 1


def test_what_was_inferred_is_on_the_books(client: TestClient, app: App) -> None:
    muster = asked(client, sum_of(21, 4))["muster"]
    record = app.store.query_record(muster["job_id"], None)
    assert (record.query.answer_type, record.query.infers) == (AnswerType.OPEN, True)
    assert record.answer is not None
    assert isinstance(record.answer.decision, Decision)
    assert record.answer.decision.answer_type is AnswerType.NUMBER


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    for app in opened(tmp_path, infer_types=False):
        with TestClient(create_app(app), raise_server_exceptions=False) as client:
            muster = asked(client, TALE, "muster/majority_all")["muster"]
            assert (muster["answer_type"], muster["n_calls"]) == ("text", 3)
