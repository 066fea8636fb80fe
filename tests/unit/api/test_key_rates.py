"""Rates of keys at the door, over a scripted app and a clock by hand."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.runtime.rates import LocalRates
from orchestrator.services.asking import Asking
from tests.fakes.app import FakeApp
from tests.fakes.work import HandClock

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "x+1=2?"}]}
TOKENS = 32
"""Of an answer of the scripted app: 20 + 6 of experts, 5 + 1 of the aggregator."""


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def app(clock: HandClock) -> FakeApp:
    app = FakeApp()
    app.rates._limiter = LocalRates(clock)
    return app


@pytest.fixture
def client(app: FakeApp) -> TestClient:
    return TestClient(create_app(app), raise_server_exceptions=False)


def bearer(app: FakeApp, **limits: int) -> dict[str, str]:
    terms = KeyTerms(scopes=(Scope.ASK,), **limits)
    return {"authorization": f"Bearer {app.keys.create(terms)[1]}"}


def ask(client: TestClient, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    response = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    return response.status_code, dict(response.headers)


def test_a_key_may_send_for_so_many_requests_a_minute(app: FakeApp, client: TestClient) -> None:
    headers = bearer(app, requests_per_minute=3)
    told = [ask(client, headers) for _ in range(5)]
    assert [status for status, _ in told] == [200, 200, 200, 429, 429]
    assert [h["x-ratelimit-remaining-requests"] for _, h in told] == ["2", "1", "0", "0", "0"]
    assert {h["x-ratelimit-limit-requests"] for _, h in told} == {"3"}
    assert told[0][1]["x-ratelimit-reset-requests"] == "20.000s"
    assert "x-ratelimit-limit-tokens" not in told[0][1]


def test_who_is_too_fast_is_told_for_how_long_to_wait(
    app: FakeApp, client: TestClient, clock: HandClock
) -> None:
    headers = bearer(app, requests_per_minute=3)
    for _ in range(3):
        ask(client, headers)
    refused = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == ("20", "true")
    clock.now += 19.9
    assert ask(client, headers)[0] == 429
    clock.now += 0.2
    assert ask(client, headers)[0] == 200


def test_tokens_count_when_they_are_known_and_what_was_too_much_is_waited_for(
    app: FakeApp, client: TestClient, clock: HandClock
) -> None:
    headers = bearer(app, tokens_per_minute=TOKENS + 10)
    assert ask(client, headers)[0] == 200
    status, told = ask(client, headers)
    assert (status, told["x-ratelimit-remaining-tokens"]) == (200, "10")
    assert ask(client, headers)[0] == 429, "22 more than there were"
    clock.now += 60 * 22 / (TOKENS + 10)
    assert ask(client, headers)[0] == 429, "none is left yet"
    clock.now += 60 * 1.1 / (TOKENS + 10)
    assert ask(client, headers)[0] == 200


def test_streams_count_as_well(app: FakeApp, client: TestClient) -> None:
    headers = bearer(app, tokens_per_minute=TOKENS)
    streamed = client.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers)
    assert streamed.text.rstrip().endswith("[DONE]")
    assert ask(client, headers)[0] == 429


def test_look_ups_count_for_nothing_and_say_how_it_stands(app: FakeApp, client: TestClient) -> None:
    headers = bearer(app, requests_per_minute=1)
    ask(client, headers)
    for _ in range(3):
        looked = client.get("/v1/models", headers=headers)
        assert (looked.status_code, looked.headers["x-ratelimit-remaining-requests"]) == (200, "0")


def test_one_key_takes_nothing_of_anothers_rate(app: FakeApp, client: TestClient) -> None:
    one, two = (bearer(app, requests_per_minute=1) for _ in range(2))
    assert [ask(client, headers)[0] for headers in (one, two, one, two)] == [200, 200, 429, 429]


def test_a_key_without_limits_has_no_such_headers(app: FakeApp, client: TestClient) -> None:
    status, told = ask(client, bearer(app))
    assert status == 200
    assert not [name for name in told if name.startswith("x-ratelimit")]


def test_a_refused_request_asks_nobody(app: FakeApp, client: TestClient) -> None:
    headers = bearer(app, requests_per_minute=1)
    for _ in range(4):
        ask(client, headers)
    assert len(app.store.submitted) == 1
    assert isinstance(app.asking, Asking)
