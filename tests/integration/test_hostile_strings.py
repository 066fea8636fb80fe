"""Every text that a request may hold, of every route as its schema says, with what no text should be.

Whatever comes, it is the client's mistake or no mistake: never a 500, and always OpenAI's error object.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.domain.queries import Query
from orchestrator.questions.fields import ON_THE_BOOKS
from orchestrator.settings.load import load_settings
from tests.conftest import IS_FULL
from tests.fakes.databases import fresh_postgres, fresh_sqlite
from tests.integration.scripted_pool import write_pool

HOSTILE = {
    "surrogate": "\ud800",
    "pair the wrong way": "a\udc00\ud800b",
    "nul": "a\x00b",
    "escape code": "\x1b[2J\x07\x08",
    "line breaks": "a\r\nb\u2028c\x85",
    "bidi": "\u202e\u2066\u200f",
    "zero width": "\u200b\ufeff",
    "noncharacter": "\uffff\U0010ffff",
    "combining": "a" + "\u0301" * 500,
    "huge": "x" * 300_000,
    "empty": "",
    "blank": " \t\n",
}
NO_ANSWER = "no_answer"
"""An expert's words that nobody can read are its own: the request was in order."""

REFUSED = ("surrogate", "pair the wrong way", "nul")
"""What no field of a body may hold."""

BODIES: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "alpha",
        "messages": [{"role": "user", "content": "What is 1 plus 1?", "name": "n"}],
        "user": "u",
        "metadata": {"k": "v"},
        "stop": None,
        "muster": {"options": ["a", "b"], "answer_type": "choice", "timeout_s": 20},
    },
    "/v1/route": {
        "question": "What is 1 plus 1?",
        "options": ["a", "b"],
        "answer_type": "choice",
        "model": "alpha",
    },
    "/v1/feedback": {"job": "j", "query": "q", "right": True},
    "/v1/merges": {
        "recipe": {"merge_method": "linear", "models": [{"model": "m"}]},
        "out": "o",
        "profile": False,
    },
    "/v1/experts/{expert_id}/pause": {"reason": "r"},
    "/v1/completions": {"model": "alpha", "prompt": "What is 1 plus 1?", "stop": ["."], "user": "u"},
    "/v1/responses": {
        "model": "alpha",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "What is 1 plus 1?"}]}],
        "instructions": "i",
        "previous_response_id": None,
        "metadata": {"k": "v"},
    },
    "/v1/embeddings": {"model": "embed", "input": ["a", "b"], "encoding_format": "float"},
    "/v1/moderations": {"input": "a"},
    "/v1/batches": {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"k": "v"},
    },
    "/v1/keys": {"name": "n", "scopes": ["none such"], "experts": ["alpha"]},  # one would close the door
}
LINE = {
    "id": "q1",
    "question": "What is 1 plus 1?",
    "options": ["a", "b"],
    "answer": 0,
    "answer_type": "choice",
    "domain": "d",
    "skills": ["s"],
    "context": [{"role": "user", "content": "c"}],
    "candidates": ["a"],
}
OPEN_LINE = {
    "question": "Why is the sky blue?",
    "id": "q2",
    "answer": "Blue light is scattered most.",
    "answer_type": "open",
    "comparison": {"case": "fold", "units": "ignore"},
    "rubric": ["names scattering"],
}
BATCH_LINE = {
    "custom_id": "c1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "auto", "messages": [{"role": "user", "content": "What is 1 plus 1?"}]},
}


LINES = {f"line {next(iter(line))}": line for line in (LINE, OPEN_LINE, BATCH_LINE)}


class Place(NamedTuple):
    """A text of a request: of its body (`path` leads to it), its path, query or headers."""

    method: str
    route: str
    where: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.route} {self.where}:{'.'.join(map(str, self.path))}"


KINDS = ("sqlite", "postgresql")
"""Databases. What may be refused comes to every place on both, any other text on one of them, unless all
is asked for."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def client(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if kind == "sqlite":
            yield from _client(folder, fresh_sqlite(folder))
        else:
            with fresh_postgres() as url:
                yield from _client(folder, url)


def _client(folder: Path, url: str) -> Iterator[TestClient]:
    settings = load_settings(write_pool(folder, database_url=url))
    with (
        open_app(settings, background=True) as app,
        TestClient(create_app(app), raise_server_exceptions=False) as client,
    ):
        yield client


def texts_for(number: int, kind: str) -> Iterator[tuple[str, str]]:
    """Name and text of what comes to a place, of which this is the number, over a kind of database."""
    for at, (name, text) in enumerate(HOSTILE.items(), number):
        if IS_FULL or name in REFUSED or KINDS[at % len(KINDS)] == kind:
            yield name, text


def test_every_text_comes_to_every_place() -> None:
    for number in range(2):
        came = [dict(texts_for(number, kind)) for kind in KINDS]
        assert came[0] | came[1] == HOSTILE
        assert all(set(REFUSED) <= set(texts) for texts in came)


def test_no_text_of_any_request_is_a_fault_of_the_server(client: TestClient, kind: str) -> None:
    places = list(all_places(client.get("/openapi.json").json()))
    routes = {place.route for place in places}
    assert routes >= {*BODIES, "/v1/jobs", "/v1/jobs/{job_id}", "/v1/experts/{expert_id}"}
    faults = []
    for number, place in enumerate(places):
        for name, text in texts_for(number, kind):
            response = sent(client, place, text)
            error = response.json().get("error") if response.status_code >= 400 else None
            is_fault = response.status_code >= 500 and error and error["code"] != NO_ANSWER
            if is_fault or (response.status_code >= 400 and not error):
                faults.append((str(place), name, response.status_code, response.text[:200]))
            if place.where == "body" and name in REFUSED and not 400 <= response.status_code < 500:
                faults.append((str(place), name, response.status_code, "accepted"))
    assert faults == []


def test_a_hostile_line_is_named(client: TestClient) -> None:
    good = json.dumps(LINE).encode()
    for name in REFUSED:
        for path in leaves(LINE):
            line = put(LINE, path, HOSTILE[name])
            bad = json.dumps(line if path[0] == "id" else {**line, "id": "q2"}).encode()
            error = client.post("/v1/jobs", content=good + b"\n" + bad, headers=JSONL).json()["error"]
            assert (error["code"], error["lines"][0]["line"]) == ("invalid_jsonl", 2), (name, path)


JSONL = {"content-type": "application/jsonl"}
FORM = ("purpose", "filename", "file")


def all_places(schema: dict[str, Any]) -> Iterator[Place]:
    for route, methods in schema["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                yield Place(method.upper(), route, parameter["in"], (parameter["name"],))
            if route in BODIES and method == "post":
                yield from (Place("POST", route, "body", path) for path in leaves(BODIES[route]))
                yield from (Place("POST", route, "body", (*path, "")) for path in objects(BODIES[route]))
            elif "requestBody" in operation:
                if route == "/v1/files":
                    yield from (Place("POST", route, "form", (name,)) for name in FORM)
                    continue
                assert route in ("/v1/jobs", "/v1/profiles"), f"{route}: give it a body in this file"
                assert LINE.keys() | OPEN_LINE.keys() == Query.model_fields.keys() - ON_THE_BOOKS
                for where, body in LINES.items():
                    yield from (Place("POST", route, where, path) for path in leaves(body))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path


def objects(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a key may be added."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from objects(item, (*path, key))


def put(document: Any, path: tuple[str | int, ...], text: str) -> Any:
    """A copy with `text` at the place; "" as the last part: as a key there."""
    copy = deepcopy(document)
    inner = copy
    for part in path[:-1]:
        inner = inner[part]
    if path[-1] == "":
        inner[text] = "v"
    else:
        inner[path[-1]] = text
    return copy


def sent(client: TestClient, place: Place, text: str) -> Any:
    url, headers, content = place.route, {}, None
    if place.where == "form":
        return sent_form(client, place.route, {place.path[0]: text})
    if place.where == "body":
        headers["content-type"] = "application/json"
        content = json.dumps(put(BODIES[place.route], place.path, text)).encode()
    elif place.where.startswith("line"):
        headers |= JSONL
        content = json.dumps(put(LINES[place.where], place.path, text)).encode()
    coded = quote(text[:20_000].encode("utf-8", "surrogatepass"), safe="")
    if place.where == "path":
        url = url.replace(f"{{{place.path[0]}}}", coded or "%20")
    elif place.where == "query":
        url = f"{url}?{place.path[0]}={coded}"
    elif place.where == "header":
        # What no HTTP server lets in cannot be sent either.
        visible = "".join(c for c in text[:20_000] if c.isprintable()) or "\xe9"
        headers[str(place.path[0])] = visible.encode("latin-1", "replace").decode("latin-1")
    if place.method == "POST" and content is None and place.route in BODIES:
        content, headers["content-type"] = json.dumps(BODIES[place.route]).encode(), "application/json"
    elif place.method == "POST" and content is None and place.route == "/v1/jobs":
        content, headers["content-type"] = json.dumps(LINE).encode(), "application/jsonl"
    raw_headers = {name: value.encode("latin-1") for name, value in headers.items()}
    return client.request(place.method, url.replace("{job_id}", "j"), content=content, headers=raw_headers)


def sent_form(client: TestClient, route: str, changes: Mapping[str | int, str]) -> Any:
    """A file with its purpose, byte by byte: a client's library would mend what is wrong with it."""
    parts = {"purpose": "batch", "filename": "f.jsonl", "file": json.dumps(BATCH_LINE), **changes}
    coded = {name: value.encode("utf-8", "surrogatepass") for name, value in parts.items()}
    content = (
        b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n%s\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n--b--\r\n'
    ) % (coded["purpose"], coded["filename"], coded["file"])
    return client.post(route, content=content, headers={"content-type": "multipart/form-data; boundary=b"})
