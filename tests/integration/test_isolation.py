"""Two keys, and every route that there is: nobody sees, changes or downloads what is another's.

The routes are those of the application itself. One with an id in its path needs its row in `MAKERS` (how such
a thing is made), `SHARED` (there for everybody) or `ADMINS` (only for who administers): without one the first
test fails, so a new route cannot be forgotten.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from api.main import MOUNTS, create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

Headers = Mapping[str, str]
Maker = Callable[[TestClient, Headers], str]

BATCHING = (Scope.ASK, Scope.BATCH)
QUESTIONS = "\n".join(json.dumps({"id": f"q{n}", "question": question(n)}) for n in range(3))


def make_job(client: TestClient, headers: Headers) -> str:
    """A batch that has ended."""
    typed = {**headers, "content-type": "application/jsonl"}
    made = client.post("/v1/jobs?composition=alpha", content=QUESTIONS, headers=typed)
    job_id = str(made.json()["id"])
    wait_for(
        "the end",
        lambda: client.get(f"/v1/jobs/{job_id}", headers=headers).json()["state"] == "done",
        within_s=60,
    )
    return job_id


def make_question(client: TestClient, headers: Headers) -> str:
    """The job of a chat."""
    body = {"model": "alpha", "messages": [{"role": "user", "content": question(7)}]}
    made = client.post("/v1/chat/completions", json=body, headers=headers)
    return str(made.json()["muster"]["job_id"])


def make_response(client: TestClient, headers: Headers) -> str:
    """A response that is kept."""
    body = {"model": "alpha", "input": question(8), "store": True}
    return str(client.post("/v1/responses", json=body, headers=headers).json()["id"])


def make_file(client: TestClient, headers: Headers) -> str:
    """A file of one line."""
    chat = {"model": "alpha", "messages": [{"role": "user", "content": question(8)}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    file = {"file": ("in.jsonl", json.dumps(line).encode())}
    made = client.post("/v1/files", files=file, data={"purpose": "batch"}, headers=headers)
    return str(made.json()["id"])


def make_batch(client: TestClient, headers: Headers) -> str:
    """A batch of a file that has ended."""
    body = {"input_file_id": make_file(client, headers), "endpoint": "/v1/chat/completions"}
    batch_id = str(client.post("/v1/batches", json=body, headers=headers).json()["id"])
    wait_for(
        "the end",
        lambda: client.get(f"/v1/batches/{batch_id}", headers=headers).json()["status"] == "completed",
        within_s=60,
    )
    return batch_id


def make_output(client: TestClient, headers: Headers) -> str:
    """The file that a batch wrote."""
    path = f"/v1/batches/{make_batch(client, headers)}"
    return str(client.get(path, headers=headers).json()["output_file_id"])


def ask_for_batch(client: TestClient, headers: Headers, file_id: str) -> Response:
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    response: Response = client.post("/v1/batches", json=body, headers=headers)
    return response


MAKERS: Mapping[str, tuple[Maker, ...]] = {
    "job_id": (make_job, make_question),
    "file_id": (make_file, make_output),
    "batch_id": (make_batch,),
    "response_id": (make_response,),
}
"""By the name of the id in a path."""

SHARED = frozenset({"expert_id", "model_id", "digest", "name"})
"""Ids of what is everybody's."""

ADMINS = frozenset({"merge_id", "key_id", "profile_id"})
"""Ids of what only an admin has to do with: others get 403."""

JUDGED = {"right": True}


class Called(NamedTuple):
    """A route with one of its methods."""

    method: str
    path: str

    @property
    def ids(self) -> list[str]:
        """Names of the ids in the path."""
        return re.findall(r"\{(\w+)(?::\w+)?\}", self.path)

    def of(self, made: str) -> str:
        return re.sub(r"\{\w+(?::\w+)?\}", made, self.path)


def calls(web: FastAPI) -> list[Called]:
    """Every route of the API with each of its methods; files of pages have no id and no owner."""
    found = []
    for route in web.routes:
        within = getattr(route, "effective_route_contexts", lambda route=route: [route])
        for one in within():
            assert one.path is not None
            found += [Called(method, one.path) for method in sorted((one.methods or {"GET"}) - {"HEAD"})]
    return found


class Two(NamedTuple):
    """Two keys of one server, and an admin's."""

    web: FastAPI
    client: TestClient
    one: Headers
    two: Headers
    admin: Headers


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("isolation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder)), background=True) as app:
            yield app


@pytest.fixture(scope="module")
def two(app: App) -> Iterator[Two]:
    one, other = (app.keys.create(KeyTerms(scopes=BATCHING))[1] for _ in range(2))
    admin = app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))[1]
    web = create_app(app)
    with TestClient(web, raise_server_exceptions=False) as client:
        yield Two(web, client, *({"authorization": f"Bearer {secret}"} for secret in (one, other, admin)))


def made_by_one(two: Two, name: str) -> list[str]:
    return [make(two.client, two.one) for make in MAKERS[name]]


ANY_KEY = frozenset({"health", "models", "experts", "login", "files of pages"})
"""Modules of routes that every key may call."""


def test_every_module_of_routes_says_which_scopes_it_needs() -> None:
    without = {str(tag) for mount in MOUNTS if not mount.scopes for tag in mount.router.tags}
    assert without == ANY_KEY


def test_every_route_with_an_id_says_whose_the_thing_is(two: Two) -> None:
    known = MAKERS.keys() | SHARED | ADMINS
    named = {(call.path, name) for call in calls(two.web) for name in call.ids}
    assert [(path, name) for path, name in sorted(named) if name not in known] == []
    assert known <= {name for _, name in named}


def test_what_is_anothers_is_as_what_there_is_not(two: Two) -> None:
    n_tried = 0
    for call in calls(two.web):
        for name in set(call.ids) & MAKERS.keys():
            for made in made_by_one(two, name):
                others = two.client.request(call.method, call.of(made), headers=two.two)
                nobodys = two.client.request(call.method, call.of("none"), headers=two.two)
                assert others.status_code == nobodys.status_code == 404, call
                assert others.text.replace(made, "none") == nobodys.text
                n_tried += 1
    assert n_tried >= 14


def test_what_others_tried_changed_nothing(two: Two) -> None:
    for name in MAKERS:
        for made in made_by_one(two, name):
            looks = [c for c in calls(two.web) if c.method == "GET" and c.ids == [name]]
            before = {c.path: two.client.get(c.of(made), headers=two.one).text for c in looks}
            for call in calls(two.web):
                if call.ids == [name]:
                    two.client.request(call.method, call.of(made), headers=two.two)
            assert {c.path: two.client.get(c.of(made), headers=two.one).text for c in looks} == before


def test_lists_leave_out_what_is_anothers(two: Two) -> None:
    made = [made for name in MAKERS for made in made_by_one(two, name)]
    lists = [c.path for c in calls(two.web) if c.method == "GET" and not c.ids]
    listed = {path: two.client.get(path, headers=two.one).text for path in lists}
    assert all(any(one in text for text in listed.values()) for one in made if "resp" not in one)
    for path in lists:
        text = two.client.get(path, headers=two.two).text
        assert [one for one in made if one in text] == [], path


def test_nobody_turns_pages_from_anothers_thing(two: Two) -> None:
    made = [made for name in MAKERS for made in made_by_one(two, name)]
    for path in ("/v1/files", "/v1/batches", "/v1/jobs"):
        own = [one for one in made if two.client.get(path, params={"after": one}, headers=two.one).is_success]
        assert own, path
        for one in own:
            refused = two.client.get(path, params={"after": one}, headers=two.two)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")


def test_only_admins_reach_what_is_theirs(two: Two) -> None:
    tried = [c for c in calls(two.web) if set(c.ids) & ADMINS]
    assert len(tried) >= 4
    for call in tried:
        response = two.client.request(call.method, call.of("some"), headers=two.one)
        assert response.status_code == 403, call


def test_an_admin_sees_everything(two: Two) -> None:
    [made, _] = made_by_one(two, "job_id")
    assert two.client.get(f"/v1/jobs/{made}", headers=two.admin).status_code == 200
    assert made in two.client.get("/v1/jobs?limit=100", headers=two.admin).text


def test_nobody_judges_anothers_answers(two: Two) -> None:
    [_, made] = made_by_one(two, "job_id")
    body = {"job": made, **JUDGED}
    assert two.client.post("/v1/feedback", json=body, headers=two.two).status_code == 404
    assert two.client.post("/v1/feedback", json=body, headers=two.one).status_code == 200


def test_nobody_runs_anothers_file(two: Two) -> None:
    made = make_file(two.client, two.one)
    assert ask_for_batch(two.client, two.two, made).status_code == 404
    assert ask_for_batch(two.client, two.one, made).status_code == 200


def test_a_batch_is_its_owners_job_too(two: Two) -> None:
    """By whichever name."""
    made = make_batch(two.client, two.one)
    assert two.client.get(f"/v1/jobs/{made}", headers=two.one).status_code == 200
    assert two.client.get(f"/v1/jobs/{made}", headers=two.two).status_code == 404


def test_nobody_goes_on_from_anothers_response(two: Two) -> None:
    made = make_response(two.client, two.one)
    body = {"model": "alpha", "input": question(9), "previous_response_id": made}
    assert two.client.post("/v1/responses", json=body, headers=two.two).status_code == 400
    assert two.client.post("/v1/responses", json=body, headers=two.one).status_code == 200


def test_nobody_answers_anothers_file(two: Two) -> None:
    body = {"input_file_id": make_file(two.client, two.one), "endpoint": "/v1/chat/completions"}
    assert two.client.post("/v1/batches", json=body, headers=two.two).status_code == 404
    assert two.client.post("/v1/batches", json=body, headers=two.one).status_code == 200


def test_the_same_idempotency_key_of_two_keys_is_of_two_jobs(two: Two) -> None:
    def submit(headers: Headers) -> str:
        typed = {**headers, "content-type": "application/jsonl", "idempotency-key": "same"}
        made = two.client.post("/v1/jobs?composition=alpha", content=QUESTIONS, headers=typed)
        assert made.status_code == 202
        return str(made.json()["id"])

    assert submit(two.one) == submit(two.one)
    assert submit(two.one) != submit(two.two)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models", "/v1/experts"])
def test_without_a_key_there_is_nothing(two: Two, path: str) -> None:
    assert two.client.get(path).status_code == 401


def test_what_was_made_before_there_were_keys_is_the_admins(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with (
            open_app(load_settings(write_pool(tmp_path)), background=True) as app,
            TestClient(create_app(app), raise_server_exceptions=False) as client,
        ):
            job_id = make_question(client, {})
            assert client.get(f"/v1/jobs/{job_id}").status_code == 200
            status = {}
            for scope in (Scope.ASK, Scope.ADMIN):
                secret = app.keys.create(KeyTerms(scopes=(scope,)))[1]
                headers = {"authorization": f"Bearer {secret}"}
                status[scope] = client.get(f"/v1/jobs/{job_id}", headers=headers).status_code
    assert status == {Scope.ASK: 404, Scope.ADMIN: 200}
