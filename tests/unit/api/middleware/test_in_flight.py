"""The cap on questions in flight."""

import threading
from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.settings.schema import ServerSettings
from tests.fakes.app import FakeApp

QUESTION = {"model": "auto", "messages": [{"role": "user", "content": "Why?"}]}


def test_one_question_too_many_gets_429_while_health_stays_reachable() -> None:
    gate = threading.Event()
    app = FakeApp(server=ServerSettings(max_in_flight=2, max_queued=0), gate=gate)
    with TestClient(create_app(app)) as client, ThreadPoolExecutor(2) as callers:
        first = [callers.submit(client.post, "/v1/chat/completions", json=QUESTION) for _ in range(2)]
        for _ in first:
            assert app.dispatcher.entered.acquire(timeout=30)
        refused = client.post("/v1/chat/completions", json=QUESTION)
        alive = client.get("/health/live")
        gate.set()
        assert [call.result(30).status_code for call in first] == [200, 200]
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert alive.status_code == 200
        assert client.post("/v1/chat/completions", json=QUESTION).status_code == 200


def test_a_burst_waits_and_all_of_it_is_answered() -> None:
    gate = threading.Event()
    app = FakeApp(server=ServerSettings(max_in_flight=2), gate=gate)
    with TestClient(create_app(app)) as client, ThreadPoolExecutor(9) as callers:
        burst = [callers.submit(client.post, "/v1/chat/completions", json=QUESTION) for _ in range(9)]
        for _ in range(2):
            assert app.dispatcher.entered.acquire(timeout=30)
        assert client.get("/v1/models").status_code == 200
        assert len(app.store.submitted) == 2
        gate.set()
        assert [call.result(30).status_code for call in burst] == [200] * 9
