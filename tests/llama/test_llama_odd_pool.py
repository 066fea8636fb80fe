"""Odd GGUF files in a pool behind the API: who can be asked answers, who cannot is left out with the reason,
nobody is told 502 at every question, and no server outlives the pool."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.llama.served import CONTEXT, EXACTLY, options
from tests.odd.gguf import GGUF_FILES
from tests.tiny_models import tiny_model
from tests.unit.workers.backends.command.commands import await_end_of, tagged
from workers.backends.command.backend import CommandBackend

CHAT = "/v1/chat/completions"
ANSWERING = ("plain", "no system role", "strict alternation", "one turn", "no template")
REFUSED = ("pointer", "cut off", "no tokens", "an adapter", "template without the question")
DYING = ("a lost norm", "broken template")
Loads = list[str]


def called(name: str) -> str:
    return name.replace(" ", "-")


@pytest.fixture(scope="module")
def loads() -> Loads:
    """Ids of engines, at each try to load one."""
    return []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, loads: Loads) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("odd-files")
    plain = tiny_model(folder / "weights")
    rows = []
    for name in (*REFUSED, *ANSWERING, *DYING):
        home = folder / called(name)
        home.mkdir()
        path = GGUF_FILES[name].make(plain, home)
        path = path.rename(home / f"{called(name)}.gguf")
        muster: dict[str, Any] = {"engine": "command", "max_model_len": CONTEXT, "prompt": "plain"}
        muster["options"] = options(folder.name, *EXACTLY)
        params = {"model": str(path), "max_tokens": 8}
        rows.append({"model_name": called(name), "litellm_params": params, "model_info": {"muster": muster}})
    section = {
        "embedder": {"model": "hash"},
        "skills": {"vocabulary": "builtin"},
        "data_dir": str(folder / "d"),
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": rows, "muster": section}))
    load = CommandBackend.load

    def counted(self: CommandBackend, spec: Any, adapters: Any) -> object:
        loads.append(spec.id.removesuffix(".gguf"))
        return load(self, spec, adapters)

    with (
        pytest.MonkeyPatch.context() as patch,
        open_app(load_settings(folder / "pool.yaml"), background=True) as app,
        TestClient(create_app(app), raise_server_exceptions=False) as client,
    ):
        patch.setattr(CommandBackend, "load", counted)
        yield client
    await_end_of(folder.name)
    assert tagged(folder.name) == []


def chat(client: TestClient, model: str, *turns: tuple[str, str]) -> Any:
    messages = [{"role": role, "content": content} for role, content in turns or [("user", "Is it so?")]]
    return client.post(CHAT, json={"model": model, "messages": messages})


def states(client: TestClient) -> dict[str, dict[str, Any]]:
    return {row["id"]: row["state"] for row in client.get("/v1/experts").json()["data"]}


def thought_of(response: dict[str, Any]) -> set[str]:
    """Experts that were recruited, or stood by."""
    decision = response["muster"]["reasons"]
    return {one["expert"] for one in (*decision["recruits"], *decision["reserves"])}


CONVERSATIONS = {
    "a system message": [("system", "Be brief."), ("user", "Is it so?")],
    "two questions in a row": [("user", "Is it so?"), ("user", "Well?")],
    "a later system message": [
        *(("user", "Hi"), ("assistant", "Yes.")),
        *(("system", "Be kind."), ("user", "Is it so?")),
    ],
}


@pytest.mark.parametrize("name", ANSWERING)
def test_whoever_can_be_asked_answers_every_conversation_with_one_load(
    client: TestClient, loads: Loads, name: str
) -> None:
    before = loads.count(called(name))
    found = [chat(client, called(name), *turns) for turns in CONVERSATIONS.values()]
    assert [response.status_code for response in found] == [200] * len(found), [r.text for r in found]
    assert loads.count(called(name)) == before + 1


def test_a_conversation_that_an_assistant_begins_goes_to_those_who_take_it(client: TestClient) -> None:
    turns = [("assistant", "Hello!"), ("user", "Is it so?")]
    refused = chat(client, called("strict alternation"), *turns)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert chat(client, "plain", *turns).status_code == 200


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_server_can_load_is_down_with_the_reason_and_starts_none(
    client: TestClient, loads: Loads, name: str
) -> None:
    responses = [chat(client, called(name)) for _ in range(5)]
    state = states(client)[called(name)]

    assert state["state"] == "down"
    assert GGUF_FILES[name].says in state["why"]
    assert {response.status_code for response in responses} == {503}
    assert loads.count(called(name)) <= 1


@pytest.mark.parametrize("name", DYING)
def test_whose_server_dies_at_its_start_rests_and_says_so_at_every_question(
    client: TestClient, loads: Loads, name: str
) -> None:
    responses = [chat(client, called(name))]
    n_loads = loads.count(called(name))
    responses += [chat(client, called(name)) for _ in range(5)]

    assert {response.status_code for response in responses} == {503}
    assert all("its command ended with code 1" in r.json()["error"]["message"] for r in responses)
    assert loads.count(called(name)) <= n_loads + 1
    assert states(client)[called(name)]["state"] in ("cooling", "down")


def test_nobody_recruits_who_cannot_be_asked(client: TestClient) -> None:
    """Of equal experts the first of the pool file are recruited, and those here cannot be asked."""
    for name in REFUSED:
        chat(client, called(name))
    refused, answering = ({called(name) for name in names} for names in (REFUSED, ANSWERING))

    def recruited() -> set[str]:
        return thought_of(chat(client, "muster/majority_all").json())

    wait_for("those that are down are left out", lambda: not recruited() & refused, within_s=60)
    assert recruited() & answering
