"""`/v1/files` and `/v1/batches` over a real store, scheduler and clerk: OpenAI's objects and states."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.runtime.logs import FORMAT, OneLine
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import question, write_pool

FILES, BATCHES = "/v1/files", "/v1/batches"
CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("rest-batches")
    rules = [{"match": question(199), "hang": True}, {"match": question(198), "fail": "backend_error"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = load_settings(write_pool(folder, rules=rules, server={"max_upload_bytes": 400_000}))
        with open_app(settings, background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def line(custom_id: str, n: int, *, url: str = CHAT, **body: object) -> str:
    content = {"model": "alpha", "messages": [{"role": "user", "content": question(n)}], **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": content})


def upload(client: TestClient, content: str | bytes, *, name: str = "in.jsonl", **fields: str) -> Response:
    raw = content.encode() if isinstance(content, str) else content
    response: Response = client.post(FILES, files={"file": (name, raw)}, data={"purpose": "batch", **fields})
    return response


def create(client: TestClient, content: str | bytes, **fields: object) -> dict[str, Any]:
    file = upload(client, content)
    assert file.status_code == 200, file.text
    body = {"input_file_id": file.json()["id"], "endpoint": CHAT, "completion_window": "24h", **fields}
    response = client.post(BATCHES, json=body)
    assert response.status_code == 200, response.text
    batch: dict[str, Any] = response.json()
    assert batch["status"] == "validating"
    return batch


def ended(client: TestClient, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch when it is over; states on the way are those of the machine."""
    allowed = {"validating", "in_progress", "finalizing", "cancelling", *OVER}
    for _ in range(600):
        seen: dict[str, Any] = client.get(f"{BATCHES}/{batch['id']}").json()
        assert seen["status"] in allowed
        if seen["status"] in OVER:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"still {seen['status']}")


def lines_of(client: TestClient, file_id: str | None) -> dict[str, dict[str, Any]]:
    """Lines of a file by `custom_id`, each of which stands there once."""
    if file_id is None:
        return {}
    rows = [json.loads(row) for row in client.get(f"{FILES}/{file_id}/content").text.splitlines()]
    assert set(Counter(row["custom_id"] for row in rows).values()) <= {1}
    return {row["custom_id"]: row for row in rows}


def test_a_file_becomes_a_batch_whose_answers_and_failures_are_files(client: TestClient) -> None:
    content = "\n".join([line("a", 1), line("b", 2, model="org/beta"), line("bad", 198)])
    batch = ended(client, create(client, content, metadata={"customer": "ada"}))
    assert (batch["status"], batch["object"], batch["endpoint"]) == ("completed", "batch", CHAT)
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert batch["metadata"] == {"customer": "ada"}
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
    assert (batch["expires_at"] - batch["created_at"], batch["errors"]) == (86_400, None)

    answers, failures = (lines_of(client, batch[f"{kind}_file_id"]) for kind in ("output", "error"))
    assert (set(answers), set(failures)) == ({"a", "b"}, {"bad"})
    assert answers["b"]["response"]["body"]["model"] == "org/beta"
    assert (answers["a"]["error"], answers["a"]["response"]["status_code"]) == (None, 200)
    assert failures["bad"]["response"] is None
    assert failures["bad"]["error"]["code"]
    used = sum(row["response"]["body"]["usage"]["total_tokens"] for row in answers.values())
    assert batch["usage"]["total_tokens"] == used > 0


def test_lines_of_one_file_have_different_endpoints_and_forms(client: TestClient) -> None:
    response = {"model": "org/beta", "input": question(3), "instructions": "Be brief.", "temperature": 0}
    mixed = [line("chat", 3), json.dumps({"custom_id": "r", "url": "/v1/responses", "body": response})]
    batch = ended(client, create(client, "\n".join(mixed)))
    answers = lines_of(client, batch["output_file_id"])
    bodies = {name: row["response"]["body"] for name, row in answers.items()}
    assert {name: body["object"] for name, body in bodies.items()} == {
        "chat": "chat.completion",
        "r": "response",
    }
    assert (bodies["r"]["status"], bodies["r"]["model"], bodies["r"]["store"]) == (
        "completed",
        "org/beta",
        False,
    )
    assert bodies["r"]["output"][0]["content"][0]["type"] == "output_text"


@pytest.mark.parametrize("body", [{"previous_response_id": "resp_1"}, {"input": None}, {"background": True}])
def test_what_a_line_of_responses_cannot_have_is_refused(client: TestClient, body: dict[str, object]) -> None:
    asked = {"model": "alpha", "input": "Why?", **body}
    content = json.dumps({"custom_id": "r", "url": "/v1/responses", "body": asked})
    batch = ended(client, create(client, content))
    assert (batch["status"], batch["errors"]["data"][0]["line"]) == ("failed", 1)


def test_files_are_listed_read_and_deleted(client: TestClient) -> None:
    made = [upload(client, line(str(n), n)).json() for n in range(3)]
    assert (made[0]["object"], made[0]["purpose"], made[0]["filename"]) == ("file", "batch", "in.jsonl")
    assert made[0]["bytes"] == len(line("0", 0))
    listed = client.get(FILES, params={"limit": 2, "purpose": "batch"}).json()
    assert [file["id"] for file in listed["data"]] == [made[2]["id"], made[1]["id"]]
    assert listed["has_more"]
    older = client.get(FILES, params={"limit": 1, "after": listed["last_id"]}).json()
    assert older["data"][0]["id"] == made[0]["id"]
    assert client.get(f"{FILES}/{made[0]['id']}/content").text == line("0", 0)
    gone = client.delete(f"{FILES}/{made[0]['id']}")
    assert gone.json() == {"id": made[0]["id"], "object": "file", "deleted": True}
    for path in ("", "/content"):
        assert client.get(f"{FILES}/{made[0]['id']}{path}").status_code == 404
    assert client.delete(f"{FILES}/{made[0]['id']}").status_code == 404


def test_a_file_says_for_how_long_it_is_kept(client: TestClient) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = upload(client, line("a", 1), **fields).json()
    assert 3599 <= file["expires_at"] - file["created_at"] <= 3601
    assert upload(client, line("a", 1)).json()["expires_at"] - file["created_at"] > 29 * 86_400


@pytest.mark.parametrize(
    ("content", "lines", "said"),
    [
        (f"{line('a', 1)}\n{line('b', 2)}\n{line('a', 3)}", [3], "line 1 already"),
        (f"{line('a', 1)}\n{{", [2], "not JSON"),
        (f'{line("a", 1)}\nnull\n[]\n"x"\n{{}}', [2, 3, 4, 5], "not an object"),
        (line("a", 1, stream=True), [1], "stream"),
        (line("a", 1, url="/v1/images/generations"), [1], "url must be"),
        (line("a", 1).replace("POST", "GET"), [1], "method"),
        (line("a", 1, model="gpt-4o"), [1], "unknown model"),
        (line("a", 1, api_base="http://x"), [1], "api_base"),
        (line("", 1), [1], "custom_id"),
        ('{"id": "a", "question": "Why?"}', [1], "custom_id"),
        ("\n \n", [None], "no questions"),
        ("[\n]", [None], "JSON array"),
        (line("a", 1).encode("utf-16"), [None], "UTF-16"),
        (b"\x1f\x8b" + b"x" * 100, [None], "compressed"),
        (b'{"custom_id": "' + b"a" * 300_000, [1], "not JSON"),
        (f"{line('a', 1)}\n".encode("utf-16-le"), [None], "UTF-16"),
    ],
)
def test_a_file_with_one_bad_line_fails_as_a_whole_and_says_where(
    client: TestClient, app: App, content: str | bytes, lines: list[int | None], said: str
) -> None:
    batch = ended(client, create(client, content))
    assert (batch["status"], batch["request_counts"]["total"]) == ("failed", 0)
    errors = batch["errors"]["data"]
    assert [error["line"] for error in errors] == lines
    assert said in errors[0]["message"]
    assert all(isinstance(error["code"], str) for error in errors)
    assert (batch["output_file_id"], batch["failed_at"] >= batch["created_at"]) == (None, True)
    assert client.get(f"/v1/jobs/{batch['id']}").status_code == 404


CUSTOM_IDS = [
    '""',
    *("7", "null", "true", '["a"]', "{}"),
    json.dumps("x" * 513),
    *(json.dumps(f"a{control}b") for control in "\0\t\n\r\x1b\x7f\x85\x9f\u2028\u2029\ud800"),
]


def test_every_custom_id_that_cannot_be_one_is_told_with_its_line_to_files_and_to_jobs(
    client: TestClient,
) -> None:
    """The last line repeats the first; ids of 512 characters, with blanks or marks of any script are ids."""
    good = [line(name, n) for n, name in enumerate(["first", "x" * 512, " ", "\u202e=cmd()", "ä 家 🦀"])]
    bad = [line("ID", 9).replace('"ID"', text) for text in CUSTOM_IDS]
    content = "\n".join([*good, *bad, line("first", 1)])
    at_fault = list(range(len(good) + 1, len(good) + len(bad) + 2))

    errors = ended(client, create(client, content))["errors"]["data"]
    assert [error["line"] for error in errors] == at_fault
    assert {error["param"] for error in errors} == {"custom_id"}
    assert [error["message"] for error in errors if "custom_id" not in error["message"]] == []
    assert (errors[-1]["code"], "line 1" in errors[-1]["message"]) == ("duplicate_custom_id", True)

    refused = client.post("/v1/jobs", content=content, headers={"content-type": "application/jsonl"})
    told = refused.json()["error"]["lines"]
    assert (refused.status_code, [entry["line"] for entry in told]) == (400, at_fault)
    assert [entry["message"] for entry in told] == [error["message"] for error in errors]
    assert ended(client, create(client, "\n".join(good)))["request_counts"]["completed"] == len(good)


def test_byte_order_mark_crlf_and_a_missing_last_newline_are_accepted(client: TestClient) -> None:
    content = b"\xef\xbb\xbf" + f"{line('a', 1)}\r\n\r\n{line('b', 2)}".encode()
    assert ended(client, create(client, content))["request_counts"]["completed"] == 2


@pytest.mark.parametrize(
    ("name", "fields", "param"),
    [
        ("../../etc/passwd", {}, "file"),
        ("a" * 256, {}, "file"),
        ("a\\b", {}, "file"),
        ("in.jsonl", {"purpose": "fine-tune"}, "purpose"),
        ("in.jsonl", {"purpose": "batch_output"}, "purpose"),
        ("in.jsonl", {"expires_after[anchor]": "created_at", "expires_after[seconds]": "59"}, None),
        ("in.jsonl", {"expires_after[seconds]": "7200"}, None),
        ("in.jsonl", {"api_base": "x"}, "api_base"),
        ("in.jsonl", {"purpose": "b" * 5000}, None),
    ],
)
def test_bad_uploads_are_400_and_nothing_is_kept(
    client: TestClient, name: str, fields: dict[str, str], param: str | None
) -> None:
    before = client.get(FILES).json()["data"]
    response = upload(client, line("a", 1), name=name, **fields)
    assert response.status_code == 400, response.text
    if param is not None:
        assert response.json()["error"]["param"] == param
    assert client.get(FILES).json()["data"] == before


def test_forms_that_are_none_or_too_many_are_refused(client: TestClient) -> None:
    assert client.post(FILES, json={"purpose": "batch"}).status_code == 415
    assert client.post(FILES, data={"purpose": "batch"}).status_code == 415
    form = {"content-type": "multipart/form-data"}
    assert client.post(FILES, content=b"x", headers=form).status_code == 400
    two = [("file", ("a", b"{}")), ("file", ("b", b"{}"))]
    assert client.post(FILES, files=two, data={"purpose": "batch"}).status_code == 400
    bomb = [(f"part{n}", (None, b"x")) for n in range(10_000)]
    assert client.post(FILES, files=bomb).status_code == 400
    assert client.post(FILES, files={"file": ("a", b"")}, data={"purpose": "batch"}).status_code == 400
    assert client.post(FILES, files={"other": ("a", b"{}")}, data={"purpose": "batch"}).status_code == 400
    big = b"x" * 400_001
    assert client.post(FILES, files={"file": ("a", big)}, data={"purpose": "batch"}).status_code == 413
    assert client.post(FILES, content=b"x" * 2_000_000, headers=form).status_code == 413


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_file_id", "file-none"),
        ("endpoint", "/v1/images"),
        ("completion_window", "0h"),
        ("completion_window", "31d"),
        ("completion_window", "soon"),
        ("metadata", {"k": 3}),
        ("metadata", {"k" * 65: "v"}),
        ("metadata", {"k": "v" * 513}),
        ("metadata", {str(n): "v" for n in range(17)}),
        ("output_expires_after", {"anchor": "created_at", "seconds": 1}),
        ("metadata", {"muster_priority": "high"}),
        ("metadata", {"muster_reuse": "yes"}),
        ("metadata", {"muster_reuze": "true"}),
        ("api_base", "x"),
    ],
)
def test_bad_batches_are_4xx(client: TestClient, field: str, value: object) -> None:
    file = upload(client, line("a", 1)).json()
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h", field: value}
    response = client.post(BATCHES, json=body)
    assert response.status_code == (404 if field == "input_file_id" else 400), response.text
    assert field == "input_file_id" or response.json()["error"]["param"].startswith(field)


CONTROLS = "\n\r\t\x1b\x7f\x85\x9f\u2028"


def test_metadata_with_control_characters_comes_back_as_it_was_and_reaches_no_header(
    client: TestClient,
) -> None:
    file = upload(client, line("a", 1)).json()["id"]
    said = {f"k{control}x-evil: 1": f"v{control}x-evil: 1" for control in CONTROLS}
    asked = [
        (BATCHES, {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", "metadata": said}),
        ("/v1/responses", {"model": "alpha", "input": question(1), "metadata": said}),
        (CHAT, {"model": "alpha", "messages": [{"role": "user", "content": question(1)}], "metadata": said}),
    ]
    for path, body in asked:
        made = client.post(path, json=body)
        assert made.status_code == 200, made.text
        assert "evil" not in str(made.headers)
        if path != CHAT:  # which ignores it, and says so
            assert made.json()["metadata"] == said
            assert client.get(f"{path}/{made.json()['id']}").json()["metadata"] == said


@pytest.mark.parametrize("said", [{"muster_reuse": "true\nERROR forged"}, {"muster_x\r\nERROR forged": "1"}])
def test_metadata_that_is_ours_and_forges_a_line_of_the_log_is_refused_with_its_field_and_written_as_one_line(
    client: TestClient, caplog: pytest.LogCaptureFixture, said: dict[str, str]
) -> None:
    file = upload(client, line("a", 1)).json()["id"]
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h", "metadata": said}
    with caplog.at_level("INFO", "api.errors"):
        refused = client.post(BATCHES, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, f"metadata.{next(iter(said))}")
    written = [OneLine(FORMAT).format(record) for record in caplog.records if "forged" in record.getMessage()]
    assert len(written) == 1
    assert "\n" not in written[0]
    assert "\r" not in written[0]


def test_metadata_with_nul_is_refused_with_its_field(client: TestClient) -> None:
    body = {
        "input_file_id": "file-1",
        "endpoint": CHAT,
        "completion_window": "24h",
        "metadata": {"k": "a\0b"},
    }
    refused = client.post(BATCHES, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata.k")


def test_cancelling_keeps_what_is_answered_and_says_so_of_the_rest(client: TestClient) -> None:
    batch = create(client, f"{line('done', 5)}\n{line('open', 199)}")
    while client.get(f"{BATCHES}/{batch['id']}").json()["request_counts"]["completed"] < 1:
        time.sleep(0.05)
    in_use = client.delete(f"{FILES}/{batch['input_file_id']}")
    assert (in_use.status_code, in_use.json()["error"]["code"]) == (409, "file_in_use")
    first, second = (client.post(f"{BATCHES}/{batch['id']}/cancel").json() for _ in range(2))
    assert first["status"] in ("cancelling", "cancelled")
    over = ended(client, second)
    assert (over["status"], over["cancelled_at"] >= over["cancelling_at"]) == ("cancelled", True)
    assert over["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert set(lines_of(client, over["output_file_id"])) == {"done"}
    assert lines_of(client, over["error_file_id"])["open"]["error"]["code"] == "batch_cancelled"
    assert client.post(f"{BATCHES}/{batch['id']}/cancel").json()["status"] == "cancelled"
    assert client.delete(f"{FILES}/{batch['input_file_id']}").status_code == 200


def test_a_file_submitted_again_reuses_its_finished_lines(client: TestClient) -> None:
    content = "\n".join([line("a", 41, seed=7), line("bad", 198, seed=7)])
    ended(client, create(client, content))
    reused = {"muster_reuse": "true", "muster_priority": "background"}
    more = f"{content}\n{line('new', 42, seed=7)}"
    batch = ended(client, create(client, more, metadata=reused))
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    job = client.get(f"/v1/jobs/{batch['id']}").json()
    assert (job["calls"], job["priority"]) == (2, "background")
    answers = lines_of(client, batch["output_file_id"])
    notes = {name: row["response"]["body"]["muster"]["notes"] for name, row in answers.items()}
    assert [any("reused" in note for note in notes[name]) for name in ("a", "new")] == [True, False]


def test_batches_are_listed_and_unknown_ones_are_404(client: TestClient) -> None:
    made = [ended(client, create(client, line("a", 1)))["id"] for _ in range(2)]
    listed = client.get(BATCHES, params={"limit": 1}).json()
    assert ([entry["id"] for entry in listed["data"]], listed["has_more"]) == ([made[1]], True)
    assert client.get(BATCHES, params={"limit": 1, "after": made[1]}).json()["first_id"] == made[0]
    assert client.get(BATCHES, params={"after": made[0], "order": "asc"}).json()["first_id"] == made[1]
    assert client.get(BATCHES, params={"after": "nope"}).json()["error"]["param"] == "after"
    assert client.get(BATCHES, params={"order": "newest"}).status_code == 400
    for bad in (0, 101, "x"):
        assert client.get(BATCHES, params={"limit": bad}).status_code == 400
    for path in ("", "/cancel"):
        call = client.post if path else client.get
        assert call(f"{BATCHES}/batch_nope{path}").status_code == 404


def test_the_same_key_makes_one_file_and_one_batch(client: TestClient) -> None:
    key = {"idempotency-key": "order-68"}
    form = {"files": {"file": ("a", line("a", 1).encode())}, "data": {"purpose": "batch"}}
    files = [client.post(FILES, **form, headers=key) for _ in range(2)]
    assert files[0].json() == files[1].json()
    assert files[1].headers["idempotency-replayed"] == "true"
    other = {"files": {"file": ("a", line("a", 2).encode())}, "data": {"purpose": "batch"}}
    assert client.post(FILES, **other, headers=key).status_code == 422
    body = {"input_file_id": files[0].json()["id"], "endpoint": CHAT, "completion_window": "24h"}
    first, second = (client.post(BATCHES, json=body, headers=key).json() for _ in range(2))
    assert first["id"] == second["id"]
    ended(client, first)
