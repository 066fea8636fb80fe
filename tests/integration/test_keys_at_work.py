"""Keys as people use them: made on the command line, asked for by a server, told to nobody."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.main import main
from tests.harness.embedded import serving
from tests.harness.processes import Process
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool

CHAT = {"model": "alpha", "messages": [{"role": "user", "content": question(2)}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_CONFIG", str(write_pool(tmp_path)))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *line: str) -> Any:
    """The JSON of a command that went well."""
    capsys.readouterr()
    code = main(["--json", *line])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


@pytest.mark.usefixtures("folder")
def test_a_key_is_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    limits = [
        "--rpm",
        "5",
        "--tpm",
        "6",
        "--usd",
        "0.5",
        "--tokens",
        "7",
        "--engine-seconds",
        "8",
        "--per",
        "day",
    ]
    terms = ["--scope", "ask", "--scope", "batch", "--expert", "org/beta", "--expires", "90d", *limits]
    made = run(capsys, "keys", "create", "--name", "first", *terms)
    assert re.fullmatch(r"sk-muster-[A-Za-z0-9_-]{43}", made["secret"])
    [listed] = run(capsys, "keys", "list")
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert (listed["scopes"], listed["experts"], listed["state"]) == (["ask", "batch"], ["org/beta"], "valid")
    assert listed["budget"] == {"per": "day", "tokens": 7, "usd": 0.5, "engine_seconds": 8.0}
    assert (listed["used"], listed["held"]) == (None, None)
    assert listed["expires_at"] - listed["created_at"] == pytest.approx(90 * 86_400, abs=5)
    assert run(capsys, "keys", "revoke", made["id"])["state"] == "revoked"
    assert run(capsys, "keys", "list")[0]["state"] == "revoked"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--scope", "root"], "scopes"),
        (["--expert", "nobody"], "nobody"),
        (["--expires", "2001-01-01"], "over already"),
        (["--expires", "soon"], "90d"),
        (["--expires", "999999w"], "year"),
        (["--usd", "-1"], "usd"),
        (["--usd", "nan"], "usd"),
        (["--tokens", "5", "--per", "year"], "per"),
    ],
)
def test_a_key_that_makes_no_sense_is_bad_usage(
    capsys: pytest.CaptureFixture[str], line: list[str], said: str
) -> None:
    assert main(["keys", "create", *line]) == 2
    assert said in capsys.readouterr().err
    assert run(capsys, "keys", "list") == []


@pytest.mark.usefixtures("folder")
def test_an_unknown_key_cannot_be_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", "key-none"]) == 1
    assert "no key 'key-none'" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "muster.example"])
def test_nobody_else_is_served_without_a_key(capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert main(["serve", "--host", host, "--port", "0"]) == 2
    assert "muster keys create --scope admin" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_with_a_key_a_public_address_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not this machine's: what is refused is the address."""
    run(capsys, "keys", "create")
    assert main(["serve", "--host", "192.0.2.7", "--port", "0"]) == 2
    assert "cannot listen on 192.0.2.7" in capsys.readouterr().err


@pytest.fixture
def served(folder: Path) -> Iterator[tuple[Process, str]]:
    with serving(folder) as (process, url):
        yield process, url


def test_a_server_that_runs_notices_keys_that_come_and_go(
    served: tuple[Process, str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{served[1]}/v1/models"
    assert httpx.get(url).status_code == 200
    made = run(capsys, "keys", "create")
    wait_for("a shut door", lambda: httpx.get(url).status_code == 401, within_s=30)
    with_key = {"authorization": f"Bearer {made['secret']}"}
    assert httpx.get(url, headers=with_key).status_code == 200
    run(capsys, "keys", "revoke", made["id"])
    wait_for("a key's end", lambda: httpx.get(url, headers=with_key).status_code == 401, within_s=30)


def test_a_key_is_in_no_log_and_in_no_file(
    folder: Path, served: tuple[Process, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever a client puts it: in every header, the path, the query, the body."""
    process, url = served
    admin = run(capsys, "keys", "create", "--scope", "admin")["secret"]
    wait_for("a shut door", lambda: httpx.get(f"{url}/v1/models").status_code == 401, within_s=30)
    revoked = run(capsys, "keys", "create")
    run(capsys, "keys", "revoke", revoked["id"])
    told = []
    for secret in (admin, revoked["secret"]):
        for headers in (
            {"authorization": f"Bearer {secret}"},
            {"authorization": f"Basic {secret}"},
            {"x-api-key": secret},
            {"x-request-id": secret, "api-key": secret},
            {"user-agent": secret},
            {"host": secret},
            {"origin": f"https://{secret}"},
        ):
            told += [
                httpx.get(f"{url}/v1/models/{secret}", headers=headers),
                httpx.get(f"{url}/v1/jobs/{secret}?key={secret}", headers=headers),
                httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "model": secret}, headers=headers),
                httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "api_key": secret}, headers=headers),
                httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers=headers),
                httpx.post(f"{url}/v1/keys", json={}, headers=headers),
            ]
    assert {200, 400, 401, 403, 404} <= {response.status_code for response in told}
    for secret in (admin, revoked["secret"]):
        assert secret.removeprefix("sk-muster-") not in process.log.read_text()
        for path in (folder / "data").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_a_head_that_is_too_long_is_431(served: tuple[Process, str]) -> None:
    host, _, port = served[1].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"A" * 70_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")
