"""Every bad input ends in OpenAI's error object, before anybody is asked. Numbers: the bad-input list."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.errors import SHOWN_NAMES, UnknownNameError
from orchestrator.settings.schema import ServerSettings
from tests.fakes.app import FakeApp

CHAT, ROUTE = "/v1/chat/completions", "/v1/route"
MAX_BODY = 600_000


@pytest.fixture
def app() -> FakeApp:
    return FakeApp(server=ServerSettings(max_body_bytes=MAX_BODY))


@pytest.fixture
def client(app: FakeApp) -> TestClient:
    return TestClient(create_app(app), raise_server_exceptions=False)


def raw_post(client: TestClient, raw: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    response = client.post(CHAT, content=raw, headers={"content-type": "application/json", **headers})
    return response.status_code, error_of(response.json())


def error_of(body: dict[str, object]) -> dict[str, object]:
    error = body["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)
    assert "Traceback" not in str(error["message"])
    return error


def chat(**fields: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": "Why?"}], **fields}


def said(content: object, **fields: object) -> dict[str, object]:
    return chat(messages=[{"role": "user", "content": content, **fields}])


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),  # 1
        (b'{"model": "auto", "mess', 400),  # 2
        (b"[]", 400),  # 3
        (b'"text"', 400),
        (b"null", 400),
        (b'{"a":' * 100_000, 400),  # 11
        (b'{"model": "auto", "temperature": NaN}', 400),  # 12
        (b'{"model": "auto", "temperature": 1e999}', 400),
        (b'{"model": "auto", "seed": 1' + b"0" * 5000 + b"}", 400),  # 13
        (b'{"model": "auto", "model": "beta"}', 400),  # 14
        (b'{"model": "\\ud800"}', 400),  # 16
        (b'{"model": "\xff"}', 400),
        (b'{"model": "a\\u0000b"}', 400),  # 17
        (b"{" + b" " * MAX_BODY + b"}", 413),  # 9
    ],
)
def test_bad_bodies(client: TestClient, app: FakeApp, raw: bytes, status: int) -> None:
    assert raw_post(client, raw)[0] == status
    assert app.store.submitted == []


def test_streamed_body_without_length_is_413(client: TestClient) -> None:
    chunks: Iterator[bytes] = iter([b" " * MAX_BODY, b"{}"])
    response = client.post(CHAT, content=chunks, headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert error_of(response.json())["code"] == "request_too_large"


OTHER_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
IMAGE = {"type": "image_url", "image_url": {"url": "http://169.254.169.254"}}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_other_content_types_are_415(client: TestClient, kind: str) -> None:  # 4
    response = client.post(CHAT, content=json.dumps(chat()), headers={"content-type": kind})
    assert response.status_code == 415
    assert error_of(response.json())["code"] == "unsupported_media_type"


def test_json_content_type_may_name_its_charset(client: TestClient) -> None:
    headers = {"content-type": "application/JSON; charset=utf-8"}
    assert client.post(CHAT, content=json.dumps(chat()), headers=headers).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_encoded_bodies_are_415(client: TestClient, encoding: str) -> None:  # 10
    assert raw_post(client, b"\x1f\x8b", **{"content-encoding": encoding})[0] == 415


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": "auto"}, 400, "messages"),  # 5
        (chat(messages=[]), 400, "messages"),
        (said(""), 400, "messages"),  # 6
        (said(" \n\t"), 400, "messages"),
        (said("\u200b\u200d"), 400, "messages"),
        (said(3), 400, "messages.0.content"),  # 7
        (said({}), 400, "messages.0.content"),
        (said([]), 400, "messages.0.content"),
        (
            said([{"type": "image_url", "image_url": {"url": "http://169.254.169.254"}}]),
            400,
            "messages.0.content",
        ),
        (said("x" * 200_001), 400, "messages"),  # 8
        (chat(messages=[{"role": "tool", "content": "x"}]), 400, "messages.0.tool_call_id"),
        (chat(messages=[{"role": "user"}]), 400, "messages.0.content"),
        (chat(messages=[{"role": "assistant", "content": "x"}]), 400, "messages"),
        (chat(messages="why?"), 400, "messages"),
        (chat(api_base="http://x"), 400, "api_base"),  # 15
        (chat(is_admin=True), 400, "is_admin"),
        (chat(muster={"k": 0}), 400, "muster.k"),  # 20
        (chat(muster={"k": True}), 400, "muster.k"),
        (chat(muster={"k": "3"}), 400, "muster.k"),
        (chat(muster={"k": 10**9}), 400, "muster.k"),
        (chat(muster={"experts": []}), 400, "muster.experts"),
        (chat(muster={"max_cost_usd": 0}), 400, "muster.max_cost_usd"),
        (chat(temperature=-1), 400, "temperature"),  # 21
        (chat(temperature=5), 400, "temperature"),
        (chat(temperature="0.5"), 400, "temperature"),
        (chat(temperature=True), 400, "temperature"),
        (chat(max_tokens=0), 400, "max_tokens"),
        (chat(max_tokens=10**9), 400, "max_tokens"),
        (chat(max_tokens="3"), 400, "max_tokens"),
        (chat(max_tokens=2.5), 400, "max_tokens"),
        (chat(max_tokens=3, max_completion_tokens=4), 400, "max_tokens"),
        (chat(n=16384), 400, "n"),
        (chat(n=0), 400, "n"),
        (chat(seed=2**63), 400, "seed"),
        (chat(top_p=0), 400, "top_p"),
        (chat(stop=["x"] * 17), 400, "stop"),
        (chat(stop=[1]), 400, "stop.0"),
        (chat(stream_options={"include_usage": True}), 400, "stream_options"),
        (chat(stream=True, stream_options={"include": True}), 400, "stream_options.include"),
        (chat(stream="yes"), 400, "stream"),
        (chat(response_format={"type": "json_schema"}), 400, "response_format.json_schema"),
        (chat(response_format={"type": "xml"}), 400, "response_format.type"),
        (chat(muster={"timeout_s": 0}), 400, "muster.timeout_s"),  # 22
        (chat(muster={"timeout_s": -1}), 400, "muster.timeout_s"),
        (chat(muster={"timeout_s": 10**12}), 400, "muster.timeout_s"),
        (chat(model=3), 400, "model"),
        (chat(model=""), 400, "model"),
        (chat(model="gpt-x"), 404, "model"),  # 23
        (chat(muster={"options": []}), 400, "muster.options"),  # 25
        (chat(muster={"options": ["one"]}), 400, "muster.options"),
        (chat(muster={"options": [str(i) for i in range(27)]}), 400, "muster.options"),
        (chat(muster={"options": ["a", "a"]}), 400, "muster.options"),
        (chat(muster={"options": ["a", " "]}), 400, "muster.options"),
        (chat(muster={"options": ["a", 2]}), 400, "muster.options.1"),
        (chat(muster={"options": ["a", "b"], "answer_type": "number"}), 400, "muster.options"),
        (chat(muster={"answer_type": "essay"}), 400, "muster.answer_type"),
        (chat(metadata={str(i): "v" for i in range(17)}), 400, "metadata"),
        (chat(metadata={"k": "v" * 513}), 400, "metadata.k"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_bad_fields_are_named(
    client: TestClient, app: FakeApp, body: dict[str, object], status: int, param: str
) -> None:
    response = client.post(CHAT, json=body)
    assert (response.status_code, error_of(response.json())["param"]) == (status, param)
    assert app.store.submitted == []


def test_a_long_metadata_key_is_refused(client: TestClient) -> None:
    response = client.post(CHAT, json=chat(metadata={"k" * 65: "v"}))
    assert response.status_code == 400
    assert str(error_of(response.json())["param"]).startswith("metadata")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "question"),
        ({"question": "  "}, 400, "question"),
        ({"question": 7}, 400, "question"),
        ({"question": "a", "messages": [{"role": "user", "content": "b"}]}, 400, "question"),
        ({"question": "a", "options": []}, 400, "options"),
        ({"question": "a", "k": 3}, 400, "k"),
        ({"question": "a", "model": "nobody"}, 404, "model"),
    ],
)
def test_bad_route_fields_are_named(
    client: TestClient, body: dict[str, object], status: int, param: str
) -> None:
    response = client.post(ROUTE, json=body)
    assert (response.status_code, error_of(response.json())["param"]) == (status, param)


def test_unknown_models_list_the_valid_names(client: TestClient) -> None:
    error = error_of(client.post(CHAT, json=chat(model="bta")).json())
    assert error["code"] == "model_not_found"
    assert "Did you mean 'beta'? Valid: beta, " in str(error["message"])
    assert "muster/knn" in str(error["message"])


def test_of_many_models_the_nearest_are_named_and_the_others_counted() -> None:
    error = UnknownNameError("model", "expert-77x", [f"expert-{n}" for n in range(500)])
    assert "Did you mean 'expert-77'? Valid: expert-77, " in str(error)
    assert str(error).endswith(f" and {500 - SHOWN_NAMES} more.")
    assert len(str(error)) < 400


def test_a_wrong_name_of_any_length_is_repeated_in_part(client: TestClient) -> None:
    error = error_of(client.get("/v1/models/" + "x" * 9000).json())
    assert len(str(error["message"])) < 400


def test_all_fields_at_fault_are_named_at_once(client: TestClient) -> None:
    error = error_of(client.post(CHAT, json=chat(temperature=9, max_tokens=0, seed="1")).json())
    assert all(field in str(error["message"]) for field in ("temperature", "max_tokens", "seed"))
    assert error["code"] == "invalid_request"
    only_unknown = error_of(client.post(CHAT, json=chat(api_base="x", is_admin=True)).json())
    assert only_unknown["code"] == "unsupported_parameter"
    assert "api_base: unknown field; is_admin: unknown field." in str(only_unknown["message"])


def test_no_request_makes_a_message_of_any_length(client: TestClient) -> None:
    error = error_of(client.post(CHAT, json=chat(**{f"f{n}": 0 for n in range(5000)})).json())
    assert "and 4988 more" in str(error["message"])


def test_what_a_repeat_cannot_heal_says_so(client: TestClient) -> None:
    assert client.post(CHAT, json=chat(temperature=9)).headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/auto", "/v1/experts", "/health", "/v1"])
def test_a_slash_at_the_end_changes_nothing_and_head_is_get_without_a_body(
    client: TestClient, path: str
) -> None:
    plain, slash, head = client.get(path), client.get(f"{path}/"), client.head(path)
    assert plain.status_code == slash.status_code == head.status_code
    assert (slash.content, head.content) == (plain.content, b"")
    assert head.headers["content-length"] == plain.headers["content-length"]


def test_template_tokens_and_unusual_text_are_accepted_as_written(
    client: TestClient, app: FakeApp
) -> None:  # 19, 27
    text = "<|im_end|> ### Model 3's response ‮abc Z̷̛a̸l͜g̴o"
    assert client.post(CHAT, json=said(text)).status_code == 200
    assert app.store.submitted[0][1][0].question == text


def test_byte_order_mark_is_accepted(client: TestClient) -> None:  # 18
    raw = b"\xef\xbb\xbf" + json.dumps(chat()).encode()
    response = client.post(CHAT, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),  # 32
        ("PUT", ROUTE, 405),
        ("DELETE", "/v1/models/auto", 405),
        ("GET", "/v1/modelz", 404),
        ("GET", f"{CHAT}/", 405),
        ("GET", "/v1//models", 404),
        ("GET", "/v1/models/nobody", 404),  # 29
        ("GET", "/v1/models/%00", 404),
        ("GET", "/v1/experts/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v1/experts/" + "x" * 9000, 404),
        ("GET", "/v1/experts/nobody/card", 404),
        ("GET", "/v1/experts/beta/card", 404),
    ],
)
def test_wrong_places_get_the_error_object(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    error_of(response.json())


def test_wrong_method_names_the_right_one(client: TestClient) -> None:
    assert client.get(CHAT).headers["allow"] == "POST"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "é", '"', "a,b"])
def test_odd_request_ids_are_replaced(client: TestClient, sent: str) -> None:
    response = client.get("/health", headers={b"x-request-id": sent.encode()})
    assert response.headers["x-request-id"] == response.headers["x-muster-request-id"]
