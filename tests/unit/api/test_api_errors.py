"""The table of statuses, and errors nobody planned for."""

import pytest
from fastapi.testclient import TestClient

from api.errors import STATUSES, error_body, error_response, field_path
from api.main import create_app
from api.views.chat import answer_error
from orchestrator.domain.answers import Answer
from orchestrator.errors import AnswerFailedError, MusterError, StoreUnavailableError, UnknownNameError
from tests.fakes.app import FakeApp

QUESTION = {"model": "auto", "messages": [{"role": "user", "content": "Why?"}]}


def subclasses(parent: type[MusterError]) -> set[type[MusterError]]:
    return {parent}.union(*(subclasses(child) for child in parent.__subclasses__()))


def test_every_error_of_the_tree_has_a_row() -> None:
    ours = {e for e in subclasses(MusterError) if e.__module__.startswith(("orchestrator.", "api."))}
    assert {error.code for error in ours} <= set(STATUSES)


def test_statuses_are_those_of_http_errors() -> None:
    assert all(400 <= known.status < 600 for known in STATUSES.values())


def test_an_answer_that_failed_keeps_its_own_code_without_touching_others() -> None:
    failed = answer_error(Answer(text="", error_code="backend_error", error="nobody answered."))
    assert (failed.code, str(failed)) == ("backend_error", "nobody answered.")
    assert answer_error(Answer(text="", error_code=None)).code == MusterError.code == AnswerFailedError.code


def test_unknown_names_other_than_models_keep_their_code() -> None:
    assert error_body(UnknownNameError("expert", "x", ["y"]))["error"]["code"] == "unknown_name"  # type: ignore[index,call-overload]


def test_what_waiting_helps_says_how_long() -> None:
    response = error_response(StoreUnavailableError("the database is gone."))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["x-should-retry"] == "true"


def test_database_outage_is_503() -> None:
    app = FakeApp(fails_with=StoreUnavailableError("the database cannot be reached."))
    response = TestClient(create_app(app)).post("/v1/chat/completions", json=QUESTION)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")


def test_a_bug_is_a_plain_500_that_names_the_log_entry() -> None:
    app = FakeApp(fails_with=ZeroDivisionError("secret detail"))
    client = TestClient(create_app(app), raise_server_exceptions=False)
    response = client.post("/v1/chat/completions", json=QUESTION, headers={"x-request-id": "r-1"})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    assert "r-1" in response.json()["error"]["message"]
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "r-1"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("body", "messages", 0, "role"), "messages.0.role"),
        (("body",), None),
        ((), None),
        (("query", "limit"), "limit"),
    ],
)
def test_field_paths(location: tuple[int | str, ...], path: str | None) -> None:
    assert field_path(location) == path
