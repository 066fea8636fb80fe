"""`/v1/jobs` over a real store and scheduler: question sets go in, answers and events come out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.terms import Terms
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import question, write_pool, write_questions

JOBS = "/v1/jobs"
JSONL = {"content-type": "application/jsonl"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("rest-jobs")
    hangs = [{"match": question(199), "hang": True}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = load_settings(write_pool(folder, rules=hangs, server={"max_upload_bytes": 200_000}))
        with open_app(settings, background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def lines(*numbers: int) -> bytes:
    texts = (json.dumps({"id": f"q{n}", "question": question(n)}) for n in numbers)
    return "\n".join(texts).encode()


def submit(client: TestClient, content: bytes, *, headers: dict[str, str] | None = None) -> Response:
    url = f"{JOBS}?composition=muster/majority_all&label=test"
    response: Response = client.post(url, content=content, headers={**JSONL, **(headers or {})})
    return response


def events(client: TestClient, job_id: str, **headers: str) -> list[tuple[str, dict[str, object]]]:
    """Event names with their data, until the stream ends by itself."""
    text = client.get(f"{JOBS}/{job_id}/events", headers=headers).text
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event:")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_question_set_is_accepted_followed_and_answered_in_order(client: TestClient) -> None:
    accepted = submit(client, lines(*range(30)))
    job = accepted.json()
    assert (accepted.status_code, job["object"], job["label"]) == (202, "muster.job", "test")
    assert accepted.headers["location"] == f"{JOBS}/{job['id']}"

    seen = events(client, job["id"])
    assert [name for name, _ in seen][-1] == "done"
    assert {name for name, _ in seen[:-1]} == {"progress"}
    ended = seen[-1][1]
    assert (ended["state"], ended["counts"]) == (
        "done",
        {"total": 30, "completed": 30, "failed": 0, "waiting": 0},
    )
    assert client.get(f"{JOBS}/{job['id']}").json() == ended
    answers = client.get(f"{JOBS}/{job['id']}/answers")
    assert answers.headers["x-muster-job-state"] == "done"
    rows = [json.loads(line) for line in answers.text.splitlines()]
    assert [row["id"] for row in rows] == [f"q{n}" for n in range(30)]
    assert all(row["error"] is None and row["muster"]["votes"] for row in rows)


def openai_line(custom_id: str, n: int, **body: object) -> str:
    content = {"messages": [{"role": "user", "content": question(n)}], **body}
    return json.dumps({"custom_id": custom_id, "url": "/v1/chat/completions", "body": content})


MIXED = [
    openai_line("one", 20, model="alpha", max_tokens=50, muster={"answer_type": "text"}),
    json.dumps({"id": "own", "question": question(21), "model": "org/beta"}),
    openai_line("all", 22, model="muster/majority_all", seed=3, muster={"answer_type": "text"}),
    json.dumps({"id": "default", "question": question(23)}),
]


def answered(client: TestClient, content: str, **params: str) -> dict[str, dict[str, Any]]:
    job = client.post(JOBS, params=params, content=content, headers=JSONL)
    assert job.status_code == 202, job.text
    assert events(client, job.json()["id"])[-1][0] == "done"
    rows = client.get(f"{JOBS}/{job.json()['id']}/answers").text.splitlines()
    return {row.get("id") if "answer" in row else row["custom_id"]: row for row in map(json.loads, rows)}


def asked(row: dict[str, Any]) -> list[str]:
    """Who was asked for a line."""
    told = row if "answer" in row else row["response"]["body"]
    return sorted(told["muster"]["recruits"])


def test_each_line_is_answered_by_its_own_model_and_in_its_own_form(client: TestClient) -> None:
    rows = answered(client, "\n".join(MIXED), composition="majority_all")
    assert {len(asked(row)) for row in rows.values()} == {3}

    rows = answered(client, "\n".join(MIXED[:3]))
    assert (asked(rows["one"]), asked(rows["own"]), len(asked(rows["all"]))) == (["alpha"], ["org/beta"], 3)
    assert rows["one"]["response"]["body"]["model"] == "alpha"
    assert (rows["own"]["id"], rows["own"]["error"]) == ("own", None)
    assert rows["all"]["response"]["body"]["object"] == "chat.completion"


def test_what_a_line_says_of_its_answer_is_kept_with_its_question(client: TestClient, app: App) -> None:
    job = client.post(JOBS, content="\n".join(MIXED), headers=JSONL).json()
    terms = {item.query.id: item.query.terms for item in answers_of(app, job["id"])}
    assert terms["one"] == Terms(composition="expert:alpha", max_tokens=50)
    assert terms["own"] == Terms(composition="expert:org/beta")
    assert terms["all"] == Terms(composition="majority_all", seed=3)
    assert terms["default"] is None
    assert app.jobs.job(job["id"]).job.compositions == ("expert:alpha", "expert:org/beta", "majority_all")


def answers_of(app: App, job_id: str) -> list[AnsweredQuery]:
    app.jobs.cancel(job_id)
    return list(app.jobs.answers(job_id))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "gpt-4o"}, "unknown model 'gpt-4o'"),
        ({"model": "alpha", "stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": "alpha", "max_tokens": 0}, "body.max_tokens"),
        ({"model": "alpha", "stream": True}, "body.stream"),
        ({"model": "alpha", "api_base": "http://x"}, "api_base: unknown field"),
        ({}, "body.model"),
    ],
)
def test_what_cannot_be_kept_of_a_line_is_refused_and_never_dropped(
    client: TestClient, body: dict[str, object], said: str
) -> None:
    response = submit_lines(client, MIXED[0], openai_line("bad", 1, **body))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_jsonl")
    [line] = response.json()["error"]["lines"]
    assert line["line"] == 2
    assert said in line["message"]


@pytest.mark.parametrize("field", ["terms", "endpoint", "context"])
def test_a_line_of_our_own_form_says_nothing_of_what_is_on_the_books(client: TestClient, field: str) -> None:
    response = submit_lines(client, json.dumps({"id": "a", "question": "Why?", field: "x"}))
    assert field in response.json()["error"]["lines"][0]["message"]


@pytest.mark.parametrize("url", ["/v1/embeddings", "/v1/chat/completions/", "", None, 3])
def test_a_line_of_another_endpoint_is_refused_by_name(client: TestClient, url: object) -> None:
    line = json.loads(MIXED[0]) | {"url": url}
    response = submit_lines(client, json.dumps(line))
    assert "url must be" in response.json()["error"]["lines"][0]["message"]


def submit_lines(client: TestClient, *lines: str) -> Response:
    response: Response = client.post(JOBS, content="\n".join(lines), headers=JSONL)
    return response


def test_bad_lines_are_all_named_and_nothing_is_stored(client: TestClient, app: App) -> None:
    before = len(app.jobs.jobs(limit=1000))
    content = b"\n".join([lines(1), b"{", lines(1), b"null", b'{"id": "x", "question": ""}', lines(2)])
    response = submit(client, content)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_jsonl")
    assert [line["line"] for line in error["lines"]] == [2, 3, 4, 5]
    assert "line 1 already" in error["lines"][1]["message"]
    assert len(app.jobs.jobs(limit=1000)) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"\n \n", b"[\n]", b"{\n}", "{}".encode("utf-16"), b"PK\x03\x04", b"\xff\n", b'"text"\n'],
    ids=["empty", "blank", "array", "pretty", "utf-16", "zip", "latin-1", "string"],
)
def test_what_is_no_question_set_is_400(client: TestClient, content: bytes) -> None:
    response = submit(client, content)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_jsonl")


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "multipart/form-data", "application/octet-stream", ""]
)
def test_other_media_types_are_415(client: TestClient, content_type: str) -> None:
    response = submit(client, lines(1), headers={"content-type": content_type})
    assert response.status_code == 415


def test_too_large_a_body_is_413_with_and_without_a_length(client: TestClient) -> None:
    filler = b"\n" * 200_001
    assert submit(client, filler).status_code == 413
    streamed = client.post(JOBS, content=iter([filler[:100_000], filler[100_000:]]), headers=JSONL)
    assert streamed.status_code == 413


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("composition=nobody", 404),
        ("composition=expert:alpha", 404),
        ("deadline_s=0", 400),
        ("deadline_s=-5", 400),
        ("deadline_s=1e12", 400),
        ("deadline_s=nan", 400),
        ("deadline_s=soon", 400),
    ],
)
def test_bad_options_are_refused(client: TestClient, query: str, status: int) -> None:
    response = client.post(f"{JOBS}?{query}", content=lines(1), headers=JSONL)
    assert response.status_code == status, response.text


def test_the_same_key_gives_the_same_job_and_another_content_422(client: TestClient) -> None:
    key = {"idempotency-key": "order-66"}
    first, second = (submit(client, lines(1, 2), headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert [reply.headers.get("idempotency-replayed") for reply in (first, second)] == [None, "true"]
    assert first.headers["location"] == second.headers["location"]
    other = submit(client, lines(1, 3), headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    assert submit(client, lines(1, 2)).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("query", ["label=b", "label=", "label=a&reuse=true", "label=a&deadline_s=900"])
def test_the_same_lines_asked_for_in_other_words_are_another_request(client: TestClient, query: str) -> None:
    headers = {**JSONL, "idempotency-key": f"labelled {query}".replace(" ", "-")}
    first, again = (client.post(f"{JOBS}?label=a", content=lines(1), headers=headers) for _ in range(2))
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = client.post(f"{JOBS}?{query}", content=lines(1), headers=headers)
    assert (other.status_code, other.json()["error"]["param"]) == (422, "Idempotency-Key")


def test_a_job_that_was_deleted_frees_its_key(client: TestClient) -> None:
    headers = {**JSONL, "idempotency-key": "order-68"}
    job = client.post(JOBS, content=lines(1), headers=headers).json()["id"]
    assert "event: done" in client.get(f"{JOBS}/{job}/events").text
    assert client.delete(f"{JOBS}/{job}").status_code == 200
    other = client.post(JOBS, content=lines(2), headers=headers)
    assert (other.status_code, "idempotency-replayed" in other.headers) == (202, False)


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_key_that_cannot_be_one_is_400(client: TestClient, key: str) -> None:
    assert submit(client, lines(1), headers={"idempotency-key": key}).status_code == 400


def test_cancelling_twice_ends_the_job_once_and_keeps_what_is_answered(client: TestClient) -> None:
    job = submit(client, lines(199)).json()
    first, second = (client.post(f"{JOBS}/{job['id']}/cancel").json() for _ in range(2))
    assert first == second
    assert (first["state"], first["counts"]["failed"]) == ("cancelled", 1)
    assert events(client, job["id"])[-1][0] == "done"
    [line] = client.get(f"{JOBS}/{job['id']}/answers").text.splitlines()
    assert json.loads(line)["error"]["code"] == "cancelled"


def test_a_strange_last_event_id_is_ignored(client: TestClient) -> None:
    job = submit(client, lines(5)).json()
    assert events(client, job["id"], **{"last-event-id": "'; DROP TABLE job"})[-1][0] == "done"


def test_jobs_are_listed_and_unknown_ones_are_404(client: TestClient) -> None:
    job = submit(client, lines(6)).json()
    listed = client.get(f"{JOBS}?limit=100").json()["data"]
    assert job["id"] in [entry["id"] for entry in listed]
    assert client.get(f"{JOBS}?limit=0").status_code == 400
    for path in ("", "/answers", "/events"):
        assert client.get(f"{JOBS}/nope{path}").status_code == 404
    assert client.post(f"{JOBS}/nope/cancel").status_code == 404


def test_byte_order_mark_crlf_and_a_missing_last_newline_are_accepted(client: TestClient) -> None:
    content = b"\xef\xbb\xbf" + lines(7, 8).replace(b"\n", b"\r\n")
    assert submit(client, content).json()["counts"]["total"] == 2


def test_the_answers_of_questions_in_a_file_of_the_batch_command_are_served_too(
    client: TestClient, app: App, tmp_path: Path
) -> None:
    file = write_questions(tmp_path / "q.jsonl", [9])
    response = submit(client, file.read_bytes())
    assert response.status_code == 202
    app.jobs.run(response.json()["id"])
    assert client.get(f"{JOBS}/{response.json()['id']}/answers").text.count("\n") == 1


@pytest.mark.parametrize(
    ("what", "same"),
    [
        ("seed", True),
        ("pool", True),
        ("renamed composition", True),
        ("other questions", False),
        ("other deadline", False),
        ("other composition", False),
    ],
)
def test_a_key_stands_for_its_request_whatever_the_configuration_has_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, same: bool
) -> None:
    """The API is started again with another configuration, between a request and its repetition."""
    monkeypatch.chdir(tmp_path)
    own = {"mine": {"router": "all", "aggregator": "majority"}}
    with served(tmp_path, compositions=own) as client:
        first = client.post(f"{JOBS}?composition=mine", content=lines(1, 2), headers={**JSONL, **KEY})
        assert first.status_code == 202
    if what == "pool":
        own = {"mine": {"router": "all", "aggregator": "weighted"}}
    elif what == "renamed composition":
        own = {"yours": own["mine"]}
    seed = 5 if what == "seed" else 0
    content = lines(1, 3) if what == "other questions" else lines(1, 2)
    query = "composition=majority_all" if what == "other composition" else "composition=mine"
    query += "&deadline_s=900" if what == "other deadline" else ""
    with served(tmp_path, compositions=own, seed=seed) as client:
        again = client.post(f"{JOBS}?{query}", content=content, headers={**JSONL, **KEY})
    assert again.status_code == (202 if same else 422), again.text
    if same:
        assert again.json()["id"] == first.json()["id"]
    else:
        assert again.json()["error"]["code"] == "idempotency_key_reused"


KEY = {"idempotency-key": "order-67"}


@contextmanager
def served(folder: Path, **muster: object) -> Iterator[TestClient]:
    """An API over a scripted pool; nobody answers its jobs."""
    with open_app(load_settings(write_pool(folder, **muster))) as app, TestClient(create_app(app)) as client:
        yield client
