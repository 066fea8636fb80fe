import json
from datetime import UTC, datetime

import pytest

from workers.backends.http.failures import CallError, error_details, error_of_status, retry_after_s

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def error(status: int, *, message: str = "", code: str | int | None = None, **headers: str) -> CallError:
    body = json.dumps({"error": {"message": message, "code": code, "param": None}}).encode()
    return error_of_status(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, now=NOON)


@pytest.mark.parametrize(
    ("status", "code", "transient", "outage", "lasting"),
    [
        (302, "expert_misconfigured", False, False, True),
        (400, "request_refused", False, False, False),
        (401, "expert_misconfigured", False, False, True),
        (403, "expert_misconfigured", False, False, True),
        (404, "expert_misconfigured", False, False, False),
        (408, "generation_timeout", True, True, False),
        (422, "request_refused", False, False, False),
        (429, "rate_limited", True, False, False),
        (500, "expert_unavailable", True, True, False),
        (502, "expert_unavailable", True, True, False),
        (503, "expert_unavailable", True, True, False),
        (504, "generation_timeout", True, True, False),
        (204, "bad_response", False, False, False),
    ],
)
def test_status_decides(status: int, code: str, transient: bool, outage: bool, lasting: bool) -> None:
    found = error(status)
    assert (found.code, found.transient, found.outage, found.lasting) == (code, transient, outage, lasting)


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        (400, "", "context_length_exceeded"),
        (400, "the request exceeds the available context size", None),
        (413, "prompt is too long: 210000 tokens", None),
        (400, "litellm.ContextWindowExceededError: no", None),
        (422, "Input exceeds max_model_len", 422),
    ],
)
def test_prompts_that_do_not_fit_are_told_apart(status: int, message: str, code: str | int | None) -> None:
    found = error(status, message=message, code=code)
    assert found.code == "context_exceeded"
    assert not found.transient


def test_a_server_that_says_so_is_not_asked_again() -> None:
    final = error(502, message="no expert answered", x_should_retry="false")
    assert not final.transient
    assert not final.outage
    assert error(502, message="context_exceeded: 80 words", x_should_retry="false").code == "context_exceeded"
    assert error(502, message="context_exceeded: 80 words").code == "expert_unavailable"


def test_an_exhausted_quota_is_not_waited_for() -> None:
    assert not error(429, code="insufficient_quota").transient


def test_retry_after_comes_along() -> None:
    assert error(429, retry_after="7").retry_after_s == 7
    assert error(503, retry_after="3").retry_after_s == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "1e12"}, 86_400),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=NOON) == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "a", "code": 400}}', "a"),
        (b'{"error": "b"}', "b"),
        (b'{"message": "c"}', "c"),
        (b'{"detail": "d"}', "d"),
        (b'{"detail": [{"loc": ["body"]}]}', "[{'loc': ['body']}]"),
        (b"<html>\n  <b>e</b>", "<html> <b>e</b>"),
        (b"[" * 100_000, "[" * 299 + "…"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"null", "None"),
        (b"", ""),
    ],
)
def test_error_bodies_of_all_kinds_give_a_short_line(body: bytes, message: str) -> None:
    assert error_details(body).message == message
