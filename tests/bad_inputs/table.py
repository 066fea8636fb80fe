"""Rows of the tables of bad inputs, and how a refusal looks."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi.testclient import TestClient
from httpx import Response

CHAT, ROUTE, JOBS = "/v1/chat/completions", "/v1/route", "/v1/jobs"
JSON, JSONL = {"content-type": "application/json"}, {"content-type": "application/jsonl"}


class Bad(NamedTuple):
    """A request and what comes of it.

    Attributes:
        number: of the kind of input.
        body: an object is sent as JSON, bytes as they are; None = no body.
        says: part of the message.
    """

    number: int
    what: str
    status: int
    body: Mapping[str, Any] | bytes | None = None
    path: str = CHAT
    method: str = "POST"
    headers: Mapping[str, str] = JSON
    param: str | None = None
    says: str = ""

    def send(self, client: TestClient) -> Response:
        content = json.dumps(self.body).encode() if isinstance(self.body, Mapping) else self.body
        headers = dict(self.headers) if content is not None else {}
        response: Response = client.request(self.method, self.path, content=content, headers=headers)
        return response


def name_of(row: object) -> str:
    return f"{row.number}-{row.what}" if isinstance(row, Bad) else str(row)


def refusal(response: Response) -> dict[str, Any]:
    """The error object of a response; it names nothing of the program."""
    error: dict[str, Any] = response.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["code"], str)
    assert not any(word in response.text for word in ("Traceback", ".py", "sqlalchemy", "pydantic"))
    return error


def chat(**fields: object) -> dict[str, object]:
    return {"model": "alpha", "messages": [{"role": "user", "content": "Why?"}], **fields}


def said(content: object, **fields: object) -> dict[str, object]:
    return chat(messages=[{"role": "user", "content": content, **fields}])


def own(**fields: object) -> dict[str, object]:
    return chat(muster=fields)
