"""Who may call the API: hosts and origins, as browsers and others say them."""

from collections.abc import Mapping

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from api.main import create_app
from api.middleware.origins import host_of
from orchestrator.settings.schema import ServerSettings
from tests.fakes.app import FakeApp

READS = ("GET", "/v1/models")
ACTS = ("POST", "/v1/route")


def answer(
    headers: Mapping[str, str], request: tuple[str, str] = READS, *, port: int = 8321, **server: object
) -> Response:
    method, path = request
    app = FakeApp(server=ServerSettings.model_validate(server))
    with TestClient(create_app(app), base_url=f"http://127.0.0.1:{port}") as client:
        body = {"question": "Why?"} if method == "POST" else None
        response: Response = client.request(method, path, json=body, headers=dict(headers))
    return response


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.0.0.1:8321",
            "localhost",
            "localhost:8321",
            "LocalHost:9",
            "localhost.",
            "localhost.:80",
        ),
        *("[::1]", "[::1]:8321", "127.0.0.2", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"),
    ],
)
def test_the_loopback_is_called_by_its_names(host: str) -> None:
    assert answer({"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.com",
            "evil.com:8321",
            "127.0.0.1.evil.com",
            "localhost.evil.com",
            "evil.com.",
            "192.168.0.9",
        ),
        *(
            "8.8.8.8:8321",
            "[2001:db8::1]",
            "0.0.0.0",
            "localhost:x",
            "localhost@evil.com",
            "evil.com/localhost",
        ),
        *(
            "",
            " ",
            "localhost evil.com",
            "localhost,evil.com",
            "[::1",
            "::1]",
            "0x7f000001",
            "2130706433",
            "muster",
        ),
    ],
)
@pytest.mark.parametrize(
    "request_", [READS, ACTS, ("GET", "/health/ready"), ("GET", "/docs"), ("GET", "/nowhere")]
)
def test_other_names_are_refused_with_the_remedy(host: str, request_: tuple[str, str]) -> None:
    response = answer({"host": host}, request_)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (403, "host_not_allowed", "Host")
    assert "allowed_hosts" in error["message"]


@pytest.mark.parametrize("host", ["muster.example", "MUSTER.example:443", "muster.example."])
def test_configured_names_are_allowed_however_they_are_written(host: str) -> None:
    assert answer({"host": host}, allowed_hosts=["Muster.Example"]).status_code == 200
    assert answer({"host": "other.example"}, allowed_hosts=["muster.example"]).status_code == 403
    assert answer({"host": host}, allowed_hosts=["*"]).status_code == 200


def test_whether_it_lives_may_be_asked_by_any_name() -> None:
    for path in ("/health", "/health/live"):
        assert answer({"host": "10.1.2.3", "origin": "http://evil.com"}, ("GET", path)).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.com",
            "null",
            "NULL",
            "",
            "file://",
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://127.0.0.1",
        ),
        *(
            "http://127.0.0.1:8321.evil.com",
            "http://127.0.0.1:83210",
            "http://[::1]:8321",
            "chrome-extension://abc",
        ),
        *(
            "http://evil.com#http://127.0.0.1:8321",
            "http://user@evil.com:8321",
            "http://127.0.0.1:8321@evil.com",
        ),
    ],
)
@pytest.mark.parametrize(
    "request_", [READS, ACTS, ("POST", "/v1/jobs"), ("DELETE", "/v1/jobs/j"), ("GET", "/health/ready")]
)
def test_pages_of_others_neither_act_nor_read(origin: str, request_: tuple[str, str]) -> None:
    response = answer({"origin": origin}, request_)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (403, "origin_not_allowed", "Origin")
    assert "allowed_origins" in error["message"]
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8321", "HTTP://127.0.0.1:8321"])
@pytest.mark.parametrize("request_", [READS, ACTS])
def test_its_own_pages_may_use_it(origin: str, request_: tuple[str, str]) -> None:
    assert answer({"origin": origin}, request_).status_code == 200


@pytest.mark.parametrize(
    ("site", "more", "status"),
    [
        ("cross-site", {}, 403),
        ("same-site", {}, 403),
        ("Cross-Site", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ("cross-site", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        ("cross-site", {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
        ("same-origin", {}, 200),
        ("none", {"sec-fetch-mode": "navigate"}, 200),
    ],
)
def test_a_browser_says_that_a_request_is_foreign_where_it_names_no_origin(
    site: str, more: Mapping[str, str], status: int
) -> None:
    """A picture of `/v1/jobs` in a foreign page, say; a link to it may be followed."""
    assert answer({"sec-fetch-site": site, **more}).status_code == status
    acts = answer({"sec-fetch-site": site, **more}, ACTS).status_code
    assert acts == (403 if site.lower() in ("cross-site", "same-site") else 200)


def test_pages_are_let_in_as_configured_and_told_so() -> None:
    mine = {"origin": "https://app.example:8443"}
    allowed = {"allowed_origins": ["https://App.example:8443/"]}
    response = answer(mine, ACTS, **allowed)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == mine["origin"]
    preflight = answer(
        {**mine, "access-control-request-method": "POST", "access-control-request-headers": "content-type"},
        ("OPTIONS", "/v1/chat/completions"),
        **allowed,
    )
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, mine["origin"])
    assert answer({"origin": "https://app.example"}, ACTS, **allowed).status_code == 403
    assert answer({"origin": "https://evil.com"}, ACTS, allowed_origins=["*"]).status_code == 200


def test_a_preflight_of_others_is_refused() -> None:
    asks = {"origin": "http://evil.com", "access-control-request-method": "POST"}
    response = answer(asks, ("OPTIONS", "/v1/chat/completions"))
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_two_hosts_or_origins_are_none() -> None:
    with TestClient(create_app(FakeApp()), base_url="http://127.0.0.1:8321") as client:
        twice = [("host", "localhost"), ("host", "evil.com")]
        assert client.get("/v1/models", headers=twice).status_code == 403
        own = [("origin", "http://127.0.0.1:8321"), ("origin", "http://evil.com")]
        assert client.get("/v1/models", headers=own).status_code == 403


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("A.b:1", "a.b"),
        ("[::1]:1", "::1"),
        ("::1", "::1"),
        ("a..", "a."),
        (".", None),
        ("a:b", None),
        ("a b", None),
    ],
)
def test_a_host_has_one_spelling(value: str, host: str | None) -> None:
    assert host_of(value) == host


@pytest.mark.parametrize(
    "origin", ["evil.com", "https://", "ftp://a.b", "https://a.b/path", "null", "https://a.b?x"]
)
def test_an_origin_of_the_settings_is_one(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        ServerSettings(allowed_origins=(origin,))
