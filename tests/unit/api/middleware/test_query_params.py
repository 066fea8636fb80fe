"""Query parameters that a route does not have."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from tests.fakes.app import FakeApp


@pytest.fixture
def client() -> TestClient:
    return TestClient(create_app(FakeApp()), raise_server_exceptions=False)


def test_an_unknown_one_is_told_with_the_nearest(client: TestClient) -> None:
    response = client.get("/v1/jobs?lmit=1")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "lmit"
    assert "Did you mean 'limit'?" in error["message"]


def test_known_ones_pass(client: TestClient) -> None:
    """To where their values are checked."""
    error = client.get("/v1/jobs?limit=0").json()["error"]
    assert (error["param"], "unknown" in error["message"]) == ("limit", False)


def test_probes_may_add_what_they_like(client: TestClient) -> None:
    assert client.get("/health?t=1").status_code == client.get("/health").status_code


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/auto"])
def test_clients_of_other_servers_may_add_what_these_know(client: TestClient, path: str) -> None:
    assert client.get(f"{path}?api-version=2024-02-01").status_code == 200
