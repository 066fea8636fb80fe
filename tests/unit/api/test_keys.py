"""Keys at the door, over a scripted app."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.errors import InputError
from orchestrator.services.keys import AGAIN_S, Keys
from tests.fakes.app import FakeApp
from tests.fakes.keys import FakeKeyStore
from tests.fakes.work import HandClock

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "x+1=2?"}]}


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
def client(app: FakeApp) -> TestClient:
    return TestClient(create_app(app), raise_server_exceptions=False)


def made(app: FakeApp, *scopes: Scope, **terms: object) -> str:
    """The secret of a new key."""
    return app.keys.create(KeyTerms(scopes=scopes or (Scope.ASK,), **terms))[1]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_nobody_is_asked_for_a_key_before_there_is_one(client: TestClient) -> None:
    assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/models", headers=bearer("sk-none")).status_code == 200


@pytest.mark.parametrize("path", ["/v1", "/health", "/health/live", "/health/ready"])
def test_health_is_told_to_everybody(app: FakeApp, client: TestClient, path: str) -> None:
    made(app)
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs", "/v1/keys", "/docs", "/openapi.json", "/nothing"])
def test_everything_else_needs_a_key_once_there_is_one(app: FakeApp, client: TestClient, path: str) -> None:
    made(app)
    response = client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert response.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_a_key(app: FakeApp, client: TestClient, scheme: str) -> None:
    secret = made(app)
    assert client.get("/v1/models", headers={"authorization": f"{scheme}  {secret} "}).status_code == 200


@pytest.mark.parametrize("name", ["api-key", "x-api-key"])
def test_names_that_other_services_use_are_taken_too(app: FakeApp, client: TestClient, name: str) -> None:
    assert client.get("/v1/models", headers={name: made(app)}).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer ' OR 1=1--",
        "Bearer sk-muster-' UNION SELECT payload FROM api_key --",
        "Bearer sk-muster-" + "A" * 43,
        "Bearer sk-muster-" + "A" * 50_000,
        "Bearer \x00\xff",
        "Basic c2s6bXVzdGVy",
        "Digest x",
        "{secret}",
        "Token {secret}",
        "Bearer {secret}x",
        "Bearer {upper}",
        "Bearer {secret} {secret}",
        "Bearer {digest}",
    ],
)
def test_what_is_no_key_is_refused_in_the_same_words(app: FakeApp, client: TestClient, given: str) -> None:
    secret = made(app)
    [digest] = app.keys._store.by_digest  # type: ignore[attr-defined]
    value = (
        given.replace("{secret}", secret).replace("{upper}", secret.swapcase()).replace("{digest}", digest)
    )
    response = client.get("/v1/models", headers={"authorization": value.encode("latin-1")})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (401, "invalid_api_key")
    assert "not valid" in error["message"]
    assert secret not in response.text


def test_two_authorizations_are_none(app: FakeApp, client: TestClient) -> None:
    secret = made(app)
    headers = [("authorization", f"Bearer {secret}"), ("authorization", f"Bearer {secret}")]
    assert client.get("/v1/models", headers=headers).status_code == 401


def test_a_revoked_key_is_refused_at_once_and_the_door_stays_shut(app: FakeApp, client: TestClient) -> None:
    secret = made(app)
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 200
    app.keys.revoke(app.keys.listed()[0].id)
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 401
    assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "scopes", "status"),
    [
        ("POST", "/v1/chat/completions", (Scope.ASK,), 200),
        ("POST", "/v1/chat/completions", (Scope.ADMIN,), 200),
        ("POST", "/v1/chat/completions", (Scope.BATCH,), 403),
        ("POST", "/v1/jobs", (Scope.ASK,), 403),
        ("GET", "/v1/keys", (Scope.ASK, Scope.BATCH), 403),
        ("POST", "/v1/keys", (Scope.ASK, Scope.BATCH), 403),
        ("DELETE", "/v1/keys/key-1", (Scope.ASK, Scope.BATCH), 403),
        ("GET", "/v1/merges", (Scope.ASK, Scope.BATCH), 403),
        ("GET", "/v1/models", (Scope.BATCH,), 200),
    ],
)
def test_a_key_allows_what_its_scopes_say(
    app: FakeApp, client: TestClient, method: str, path: str, scopes: tuple[Scope, ...], status: int
) -> None:
    secret = made(app, *scopes)
    response = client.request(method, path, json=CHAT if method == "POST" else None, headers=bearer(secret))
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["type"] == "permission_error"


def test_a_key_that_is_over_is_refused(app: FakeApp, client: TestClient) -> None:
    secret = made(app, expires_at=4e9)
    app.keys._now_s = lambda: 4e9  # type: ignore[method-assign]
    assert client.get("/v1/models", headers=bearer(secret)).status_code == 401


def test_a_secret_is_shown_once_and_kept_nowhere(app: FakeApp, client: TestClient) -> None:
    made_now = client.post("/v1/keys", json={"scopes": ["admin"], "name": "first"})
    assert made_now.status_code == 201
    secret = made_now.json()["secret"]
    listed = client.get("/v1/keys", headers=bearer(secret))
    [shown] = listed.json()["data"]
    assert (shown["name"], shown["scopes"], shown["state"]) == ("first", ["admin"], "valid")
    assert secret not in listed.text
    assert secret.startswith(shown["key"].removesuffix("…"))
    assert all(secret not in key.model_dump_json() for key in app.keys.listed())


def test_a_revoked_key_is_listed_as_such(client: TestClient) -> None:
    admin = client.post("/v1/keys", json={"scopes": ["admin"]}).json()["secret"]
    other = client.post("/v1/keys", json={}, headers=bearer(admin)).json()
    revoked = client.delete(f"/v1/keys/{other['id']}", headers=bearer(admin))
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert client.delete("/v1/keys/key-0", headers=bearer(admin)).status_code == 404
    assert client.get("/v1/models", headers=bearer(other["secret"])).status_code == 401


def test_keys_are_listed_page_by_page_in_both_orders(app: FakeApp, client: TestClient) -> None:
    times = iter(range(1, 6))
    app.keys._now_s = lambda: float(next(times))  # type: ignore[method-assign]
    made_now = [app.keys.create(KeyTerms(scopes=(Scope.ADMIN,), name=str(n))) for n in range(4)]
    app.keys._now_s = lambda: 9.0  # type: ignore[method-assign]
    headers = bearer(made_now[0][1])

    def page(**asked: object) -> tuple[str, bool, str]:
        shown = client.get("/v1/keys", params=asked, headers=headers).json()
        return "".join(key["name"] for key in shown["data"]), shown["has_more"], shown["last_id"]

    ids = [key.id for key, _ in made_now]
    assert page() == ("3210", False, ids[0])
    assert page(limit=3) == ("321", True, ids[1])
    assert page(limit=3, after=ids[1]) == ("0", False, ids[0])
    assert page(limit=2, order="asc") == ("01", True, ids[1])
    assert page(limit=2, order="asc", after=ids[1]) == ("23", False, ids[3])


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "order=newest", "after=key-none", "after=%00", "before=key-1"],
)
def test_a_page_of_keys_that_cannot_be_is_refused_by_name(client: TestClient, query: str) -> None:
    secret = client.post("/v1/keys", json={"scopes": ["admin"]}).json()["secret"]
    response = client.get(f"/v1/keys?{query}", headers=bearer(secret))
    assert (response.status_code, response.json()["error"]["param"]) == (400, query.split("=")[0])


@pytest.mark.parametrize(
    ("body", "param", "status"),
    [
        ({"scopes": []}, "scopes", 400),
        ({"scopes": ["root"]}, "scopes.0", 400),
        ({"scope": ["ask"]}, "scope", 400),
        ({"experts": ["nobody"]}, "experts", 404),
        ({"experts": []}, "experts", 400),
        ({"expires_at": 1}, "expires_at", 400),
        ({"requests_per_minute": 0}, "requests_per_minute", 400),
        ({"budget": {"per": "year"}}, "budget.per", 400),
        ({"budget": {"usd": -1}}, "budget.usd", 400),
        ({"budget": {"usd": "5"}}, "budget.usd", 400),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    app: FakeApp, client: TestClient, body: dict[str, object], param: str, status: int
) -> None:
    response = client.post("/v1/keys", json={"scopes": ["admin"], **body})
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert app.keys.listed() == []


@pytest.mark.parametrize("body", [{}, {"scopes": ["ask", "batch"]}])
def test_the_first_key_over_rest_is_an_admins_so_that_nobody_is_locked_out(
    client: TestClient, body: dict[str, object]
) -> None:
    refused = client.post("/v1/keys", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "scopes")
    assert client.get("/v1/models").status_code == 200
    admin = client.post("/v1/keys", json={"scopes": ["admin"]}).json()["secret"]
    assert client.post("/v1/keys", json=body, headers=bearer(admin)).status_code == 201


def test_a_known_key_is_not_looked_up_again_and_an_unknown_one_is_told_from_its_form(
    app: FakeApp, client: TestClient
) -> None:
    secret = made(app)
    store = app.keys._store
    for _ in range(5):
        client.get("/v1/models", headers=bearer(secret))
        client.get("/v1/models", headers=bearer("sk-wrong"))
    assert store.n_finds == 1  # type: ignore[attr-defined]


def test_without_keys_the_books_are_not_looked_at_for_every_call(app: FakeApp, client: TestClient) -> None:
    looks = []
    has_any = app.keys._store.has_any
    app.keys._store.has_any = lambda: looks.append(1) or has_any()  # type: ignore[method-assign,func-returns-value]
    app.keys._clock = lambda: 5.0
    for _ in range(10):
        client.get("/v1/models")
    assert len(looks) == 1


def test_the_secret_of_a_form_s_key_is_told_again_for_a_minute_and_by_nobody_else() -> None:
    store, clock, terms = FakeKeyStore(), HandClock(), KeyTerms(scopes=(Scope.ASK,))
    keys, others = (Keys(store, experts=(), clock=clock) for _ in range(2))
    made = keys.create(terms, nonce="n")
    assert keys.create(terms, nonce="n") == made
    assert keys.create(terms.model_copy(update={"scopes": (Scope.BATCH,)}), nonce="n") != made
    with pytest.raises(InputError, match="has made a key before"):
        others.create(terms, nonce="n")
    clock.now += AGAIN_S + 1
    with pytest.raises(InputError, match="has made a key before"):
        keys.create(terms, nonce="n")
    assert keys.create(terms) != keys.create(terms)
    assert len(store.by_digest) == 4
