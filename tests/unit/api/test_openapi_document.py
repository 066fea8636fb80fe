"""The OpenAPI document tells what Muster's own resources are for, shows each, and declares how they fail."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from api.deps import KEY_FORM
from api.main import create_app
from api.schemas import experts, feedback, jobs, merges, profiles, route, usage
from orchestrator.domain.keys import KeyTerms, Scope
from tests.fakes.app import FakeApp

RESOURCES = (
    "/v1/route",
    "/v1/experts",
    "/v1/profiles",
    "/v1/jobs",
    "/v1/feedback",
    "/v1/merges",
    "/v1/usage",
)

Document = Mapping[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    web: FastAPI = create_app(FakeApp())  # type: ignore[arg-type]
    return web.openapi()


def operations(document: Document, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        if path == prefix or path.startswith(f"{prefix}/"):
            for method, operation in methods.items():
                yield f"{method} {path}", operation


def has_example(document: Document, node: object, depth: int = 6) -> bool:
    """Whether a schema, or one that it refers to, shows an example."""
    if not depth:
        return False
    if isinstance(node, Mapping):
        if "example" in node or "examples" in node:
            return True
        reference = node.get("$ref")
        if isinstance(reference, str):
            return has_example(
                document, document["components"]["schemas"][reference.split("/")[-1]], depth - 1
            )
        return any(has_example(document, inner, depth - 1) for inner in node.values())
    return isinstance(node, list) and any(has_example(document, inner, depth - 1) for inner in node)


@pytest.mark.parametrize("prefix", RESOURCES)
def test_a_resource_says_what_it_is_for_and_how_it_fails(document: Document, prefix: str) -> None:
    found = dict(operations(document, prefix))
    assert found
    assert [name for name, operation in found.items() if not operation.get("description")] == []
    assert [name for name, operation in found.items() if "4XX" not in operation["responses"]] == []


@pytest.mark.parametrize("prefix", RESOURCES)
def test_a_resource_shows_an_example(document: Document, prefix: str) -> None:
    shown = [
        name
        for name, operation in operations(document, prefix)
        if has_example(document, operation.get("requestBody"))
        or any(
            has_example(document, response)
            for status, response in operation["responses"].items()
            if status.startswith("2")
        )
    ]
    assert shown


@pytest.mark.parametrize(
    "model",
    [
        *(route.RouteRequest, feedback.FeedbackRequest, merges.MergeRequest, jobs.JobView),
        *(experts.ExpertView, experts.PauseRequest, profiles.ProfileRunView, usage.UsageView),
    ],
)
def test_an_example_is_one(model: type[BaseModel]) -> None:
    extra = model.model_config["json_schema_extra"]
    assert isinstance(extra, dict)
    model.model_validate(extra["example"], strict=False)
    assert set(extra["example"]) <= set(model.model_json_schema(mode="serialization")["properties"])


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/experts", "/v1/jobs", "/v1/merges", "/v1/profiles"),
        *("/v1/files", "/v1/batches", "/v1/keys", "/v1/responses/{response_id}/input_items"),
    ],
)
def test_lists_are_asked_for_in_the_same_words(document: Document, path: str) -> None:
    operation = document["paths"][path]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names >= {"limit", "after", "order"}
    reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    shown = document["components"]["schemas"][reference.split("/")[-1]]["properties"]
    assert shown.keys() >= {"object", "data", "first_id", "last_id", "has_more"}


def test_an_idempotency_key_is_told_in_the_same_words_wherever_it_counts(document: Document) -> None:
    told = {
        path: parameter["description"]
        for path, methods in document["paths"].items()
        for parameter in methods.get("post", {}).get("parameters", ())
        if parameter["name"] == "idempotency-key"
    }
    assert told.keys() >= {
        f"/v1/{name}" for name in ("chat/completions", "responses", "files", "batches", "jobs")
    }
    assert "409" in told.pop("/v1/feedback")  # judges once, whatever the request
    for words in (KEY_FORM, "`idempotency-replayed: true`", "422"):
        assert [path for path, description in told.items() if words not in description] == []


def test_a_key_is_declared_where_a_call_without_one_is_refused() -> None:
    """Every operation of the document is called: it says `security` if and only if the answer is 401."""
    app = FakeApp()
    app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
    web = create_app(app)  # type: ignore[arg-type]
    client, document = TestClient(web, raise_server_exceptions=False), web.openapi()
    [(name, scheme)] = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    wrong = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            is_refused = client.request(method, path).status_code == 401
            if operation.get("security") != ([{name: []}] if is_refused else None):
                wrong.append(f"{method} {path}")
    assert wrong == []


@pytest.mark.parametrize("path", ["/v1", "/health", "/health/live", "/health/ready", "/", "/login", "/jobs"])
def test_no_key_is_declared_where_everybody_may_look_nor_for_pages(document: Document, path: str) -> None:
    assert [o for o in document["paths"].get(path, {}).values() if "security" in o] == []
