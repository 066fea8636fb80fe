"""Odd models in a pool: who can be asked answers, who cannot is down with the reason, and nobody waits."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.odd.files import FILES
from tests.odd.making import TEMPLATE, Made
from tests.odd.templates import TEMPLATES, TURNS
from tests.tiny_models import tiny_model
from workers.backends.transformers import TransformersBackend

CHAT = "/v1/chat/completions"
SOUND, NO_SYSTEM, ALTERNATES, POINTER, HALF, BROKEN = (
    *("sound", "no-system", "alternates", "pointer", "half", "broken-template"),
)
WITHIN_S = 60.0
Loads = list[str]


@pytest.fixture(scope="module")
def loads() -> Loads:
    """Ids of engines, at each try to load one."""
    return []


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, loads: Loads) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("odd-pool")
    plain = tiny_model(folder / "plain")
    made: dict[str, Callable[[Path, Path], Made]] = {
        SOUND: TEMPLATES["begun twice"].make,
        NO_SYSTEM: TEMPLATES["no system role"].make,
        ALTERNATES: TEMPLATES["strict alternation"].make,
        POINTER: FILES["pointer to weights"].make,
        HALF: FILES["truncated weights"].make,
        BROKEN: TEMPLATES["broken template"].make,
    }
    for name, make in made.items():
        make(plain, folder / name)
    (folder / SOUND / TEMPLATE).write_text(TURNS + ">")
    rows = [
        {
            "model_name": name,
            "litellm_params": {"model": name, "max_tokens": 8},
            "model_info": {"muster": {"prompt": "plain", "max_model_len": 128, "options": {"threads": 1}}},
        }
        for name in made
    ]
    muster = {
        "embedder": {"model": "hash"},
        "skills": {"vocabulary": "builtin"},
        "data_dir": str(folder / "d"),
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": rows, "muster": muster}))
    load = TransformersBackend.load

    def counted(self: TransformersBackend, spec: object, adapters: object) -> object:
        loads.append(spec.id)  # type: ignore[attr-defined]
        return load(self, spec, adapters)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformersBackend, "load", counted)
        with open_app(load_settings(folder / "pool.yaml"), background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def chat(model: str, *turns: dict[str, str], **more: object) -> dict[str, object]:
    return {"model": model, "messages": list(turns) or [turn("user", "Is it so?")], **more}


def thought_of(response: dict[str, Any]) -> set[str]:
    """Experts that were recruited, or stood by."""
    decision = response["muster"]["reasons"]
    return {one["expert"] for one in (*decision["recruits"], *decision["reserves"])}


CONVERSATIONS = {
    "a system message": [turn("system", "Be brief."), turn("user", "Is it so?")],
    "two questions in a row": [turn("user", "Is it so?"), turn("user", "Well?")],
    "a later system message": [
        *(turn("user", "Hi"), turn("assistant", "Yes.")),
        *(turn("system", "Be kind."), turn("user", "Is it so?")),
    ],
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", [SOUND, NO_SYSTEM, ALTERNATES])
def test_whoever_can_be_asked_answers_every_conversation(
    client: TestClient, name: str, conversation: str
) -> None:
    response = client.post(CHAT, json=chat(name, *CONVERSATIONS[conversation]))
    assert response.status_code == 200, response.text


def test_a_conversation_that_an_assistant_begins_goes_to_those_who_take_it(client: TestClient) -> None:
    turns = [turn("assistant", "Hello!"), turn("user", "Is it so?")]
    refused = client.post(CHAT, json=chat(ALTERNATES, *turns))
    taken = client.post(CHAT, json=chat(SOUND, *turns))
    everybody = client.post(CHAT, json=chat("muster/majority_all", *turns))

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert f"the chat template of {ALTERNATES} refuses" in refused.json()["error"]["message"]
    assert (taken.status_code, everybody.status_code) == (200, 200)
    assert ALTERNATES not in thought_of(everybody.json())


@pytest.mark.parametrize(
    ("name", "says"),
    [(POINTER, "Git LFS pointer"), (HALF, "truncated"), (BROKEN, "chat template")],
)
def test_whoever_cannot_is_down_with_the_reason_and_tried_once(
    client: TestClient, loads: Loads, name: str, says: str
) -> None:
    first = client.post(CHAT, json=chat(name))
    states = {row["id"]: row["state"] for row in client.get("/v1/experts").json()["data"]}
    again = [client.post(CHAT, json=chat(name)) for _ in range(5)]

    assert states[name]["state"] == "down"
    assert says in states[name]["why"]
    assert all(says in response.json()["error"]["message"] for response in (first, *again))
    assert 502 not in {response.status_code for response in (first, *again)}
    assert loads.count(name) == 1


def test_nobody_recruits_who_is_down(client: TestClient, app: App) -> None:
    for name in (POINTER, HALF, BROKEN):
        client.post(CHAT, json=chat(name))

    def left_out() -> bool:
        response = client.post(CHAT, json=chat("muster/majority_all")).json()
        return thought_of(response) == {SOUND, NO_SYSTEM, ALTERNATES}

    wait_for("those that are down are left out", left_out, within_s=WITHIN_S)


def test_what_is_streamed_is_what_is_stored(client: TestClient) -> None:
    messages = CONVERSATIONS["a system message"]
    whole = client.post(CHAT, json=chat(NO_SYSTEM, *messages)).json()["choices"][0]["message"]["content"]
    streamed = client.post(CHAT, json=chat(NO_SYSTEM, *messages, stream=True)).text
    lines = [line.removeprefix("data: ") for line in streamed.splitlines() if line.startswith("data: {")]
    pieces = [yaml.safe_load(line)["choices"] for line in lines]

    assert "".join(one[0]["delta"].get("content") or "" for one in pieces if one) == whole
