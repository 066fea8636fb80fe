"""Bad inputs 36 to 57 at `/v1/files` and `/v1/batches`."""

import json

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.bad_inputs.conftest import MAX_UPLOAD
from tests.bad_inputs.table import chat, refusal

LINE = json.dumps(
    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat()}
).encode()
PURPOSE = {"purpose": "batch"}
Form = list[tuple[str, tuple[str, bytes]]]


def form(*names: str, content: bytes = LINE) -> Form:
    return [("file", (name, content)) for name in names]


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ([("other", ("a.jsonl", LINE))], PURPOSE),
        (form("a.jsonl", "b.jsonl"), PURPOSE),
        (form("x" * 4096), PURPOSE),
        (form("a.jsonl"), {}),
        (form("a.jsonl"), {"purpose": "assistants"}),
        (form("a.jsonl"), {**PURPOSE, "is_admin": "true"}),
        (form("a.jsonl"), {**PURPOSE, "expires_after[anchor]": "created_at", "expires_after[seconds]": "1"}),
        (
            form("a.jsonl"),
            {**PURPOSE, "expires_after[anchor]": "yesterday", "expires_after[seconds]": "3600"},
        ),
    ],
    ids=[
        *("52-no file", "52-two files", "52-name of 4 KB", "52-no purpose"),
        *("52-another purpose", "15-unknown field", "54-expiry too early", "54-anchor"),
    ],
)
def test_a_bad_upload_is_refused(client: TestClient, files: Form, fields: dict[str, str]) -> None:
    response = client.post("/v1/files", files=files, data=fields)
    assert response.status_code == 400, response.text
    refusal(response)


@pytest.mark.parametrize(
    "name", ["a\r\nset-cookie: b", "../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "C:\\a.jsonl"]
)
def test_36_52_a_name_of_a_place_or_a_header_is_neither(client: TestClient, name: str) -> None:
    """Refused, or kept as a name only."""
    response = client.post("/v1/files", files=form(name), data=PURPOSE)
    assert response.status_code in (200, 400)
    if response.status_code == 200:
        assert not set(response.json()["filename"]) & {"/", "\\", "\r", "\n"}


@pytest.mark.parametrize(
    "kind", ["application/jsonl", "application/json", "text/plain", "multipart/form-data"]
)
def test_52_what_is_no_form_is_refused(client: TestClient, kind: str) -> None:
    response = client.post("/v1/files", content=LINE, headers={"content-type": kind})
    assert response.status_code in (400, 415)
    refusal(response)


def test_44_a_file_beyond_the_limit_is_413(client: TestClient) -> None:
    large = client.post("/v1/files", files=form("a", content=b" " * (MAX_UPLOAD + 1)), data=PURPOSE)
    assert large.status_code == 413
    refusal(large)


def batch(client: TestClient, content: bytes, **fields: object) -> Response:
    """The batch of a file; or, where that is not taken, its refusal."""
    file: Response = client.post("/v1/files", files=form("a.jsonl", content=content), data=PURPOSE)
    if file.status_code != 200:
        return file
    wanted = {
        "input_file_id": file.json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    response: Response = client.post("/v1/batches", json={**wanted, **fields})
    return response


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint": "/v1/moderations"},
        {"endpoint": "http://169.254.169.254/"},
        {"completion_window": "-1h"},
        {"completion_window": "24"},
        {"input_file_id": "file-nobody"},
        {"input_file_id": "../../etc/passwd"},
        {"input_file_id": 3},
        {"metadata": {str(n): "v" for n in range(17)}},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {"k": 3}},
        {"is_admin": True},
        {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
    ],
    ids=str,
)
def test_50_54_57_a_bad_batch_is_refused(client: TestClient, fields: dict[str, object]) -> None:
    response = batch(client, LINE, **fields)
    assert response.status_code in (400, 404), response.text
    refusal(response)


FILES = {
    "37-empty": b"",
    "38-blank": b"\n \n",
    "39-one bad line": LINE + b"\nx\n" + LINE.replace(b'"a"', b'"b"'),
    "42-binary": b"PK\x03\x04" + bytes(100),
    "42-UTF-16": LINE.decode().encode("utf-16"),
    "45-the same custom_id": LINE + b"\n" + LINE,
    "46-no custom_id": LINE.replace(b"custom_id", b"customid"),
    "47-array": b"[" + LINE + b"]",
    "48-single quotes": LINE.replace(b'"', b"'"),
    "49-null": LINE + b"\nnull",
    "50-another endpoint": LINE.replace(b"chat/completions", b"responses"),
    "50-a stream": LINE.replace(b'"model"', b'"stream": true, "model"'),
    "23-unknown model": LINE.replace(b"alpha", b"nobody"),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_bad_file_fails_as_a_whole_with_its_lines(client: TestClient, content: bytes) -> None:
    """At once, or as the batch's own end: nothing of it runs."""
    response = batch(client, content)
    if response.status_code == 400:
        refusal(response)
        return
    made = response.json()
    while made["status"] == "validating":
        made = client.get(f"/v1/batches/{made['id']}").json()
    assert made["status"] == "failed"
    assert made["errors"]["data"]
    assert made["request_counts"]["completed"] == 0
