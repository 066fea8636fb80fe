"""`response_format` over scripted experts: votes, synthesis, one repair, and what cannot be mended."""

import json
from collections.abc import Iterator, Mapping, Sequence

import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import BaseModel

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.compositions.structured import screened
from orchestrator.domain.assignments import CallRole, Response
from orchestrator.settings.load import load_settings

CHAT = "/v1/chat/completions"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer", "minimum": 1}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
RIGHT = '{"people": 3, "city": "Köln"}'
MENDED = {"match": "That is not the JSON", "reply": RIGHT}


def member(
    name: str, rules: Sequence[Mapping[str, object]], *, roles: Sequence[str] = ("expert",), **info: object
) -> dict[str, object]:
    speed = 20.0 if "aggregator" in roles else None
    options = {"rules": [*rules], "default": "echo", "log": "log.jsonl", "tokens_per_s": speed}
    muster = {"engine": "scripted", "roles": list(roles), "options": options, "max_model_len": 20_000}
    params = {"model": f"scripted/{name}"}
    return {"model_name": name, "litellm_params": params, "model_info": {"muster": muster, **info}}


MEMBERS = [
    member("fenced", [{"match": "Which", "reply": f"```json\n{RIGHT}\n```"}], supports_response_schema=False),
    member("same", [{"match": "Which", "reply": '{"city": "Köln", "people": 3.0}'}]),
    member("other", [{"match": "Which", "reply": '{"city": "Bonn", "people": 1}'}]),
    member("wrong", [MENDED, {"match": "Which", "reply": '{"city": "Rom", "people": 0}'}]),
    member("hopeless", [{"regex": ".", "reply": "I would rather talk."}]),
    member(
        "writer",
        [{"match": "Several experts", "reply": '{"city": "Ulm", "people": 7}'}],
        roles=["aggregator"],
    ),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("json")
    path = folder / "pool.yaml"
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    path.write_text(yaml.safe_dump({"model_list": MEMBERS, "muster": muster}, allow_unicode=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with (
            open_app(load_settings(path), background=True) as app,
            TestClient(create_app(app), raise_server_exceptions=False) as client,
        ):
            yield client


def ask(model: str, *, experts: Sequence[str] = (), **fields: object) -> dict[str, object]:
    muster = {"experts": list(experts)} if experts else {}
    messages = [{"role": "user", "content": "Which city?"}]
    return {"model": model, "messages": messages, "response_format": FORM, "muster": muster, **fields}


def answered(client: TestClient, body: dict[str, object]) -> tuple[object, dict[str, object]]:
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    reply = response.json()
    return json.loads(reply["choices"][0]["message"]["content"]), reply["muster"]


@pytest.mark.parametrize("expert", ["fenced", "same"])
def test_an_experts_json_comes_without_a_fence(client: TestClient, expert: str) -> None:
    value, muster = answered(client, ask(expert))
    assert value == {"city": "Köln", "people": 3}
    assert muster["degraded"] is False


def test_votes_count_values_not_their_spelling_and_what_is_wrong_abstains(client: TestClient) -> None:
    experts = ["fenced", "same", "other", "wrong"]
    value, muster = answered(client, ask("muster/majority_all", experts=experts))
    assert value == {"city": "Köln", "people": 3}
    reasons = {vote["expert"]: vote["abstained_because"] for vote in muster["votes"]}
    assert reasons["fenced"] is reasons["same"] is reasons["other"] is None
    assert "invalid_output: people: 0 is less than the minimum of 1" in reasons["wrong"]
    assert muster["n_calls"] == 4


def test_what_everybody_got_wrong_is_mended_once(client: TestClient) -> None:
    value, muster = answered(client, ask("muster/majority_all", experts=["wrong", "hopeless"]))
    assert value == {"city": "Köln", "people": 3}
    assert (muster["aggregator"], muster["answered_by"], muster["degraded"]) == ("repair", "wrong", True)
    assert muster["usage_by_role"]["repair"]["completion_tokens"] > 0


def test_what_cannot_be_mended_is_an_error_that_no_repeat_heals(client: TestClient) -> None:
    response = client.post(CHAT, json=ask("hopeless"))
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_output")
    assert response.headers["x-should-retry"] == "false"
    assert "it is no JSON value" in response.json()["error"]["message"]


def test_a_writer_keeps_to_the_form_too(client: TestClient) -> None:
    value, muster = answered(client, ask("muster/synthesize", experts=["same", "other"]))
    assert value == {"city": "Ulm", "people": 7}
    assert muster["n_calls"] == 3


def test_any_object_may_be_asked_for(client: TestClient) -> None:
    value, _ = answered(client, ask("wrong", response_format={"type": "json_object"}))
    assert value == {"city": "Rom", "people": 0}


def test_a_stream_holds_the_checked_text(client: TestClient) -> None:
    lines = client.post(CHAT, json=ask("wrong", stream=True)).text.splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    text = "".join(c["delta"].get("content") or "" for chunk in data for c in chunk["choices"])
    assert json.loads(text) == {"city": "Köln", "people": 3}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "http://169.254.169.254/"}, "not in it"),
        ({"$ref": "#"}, "refers to itself"),
        ({"type": "nothing"}, "the schema is none"),
    ],
)
def test_schemas_that_cannot_be_used_are_named(
    client: TestClient, schema: dict[str, object], message: str
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    error = client.post(CHAT, json=ask("same", response_format=form)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "response_format.json_schema.schema")
    assert message in error["message"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '{"a": "\\ud800"}',
        '{"a": "\\u0000"}',
        "[" * 10_000,
        '{"a":' * 100 + "1" + "}" * 100,
        '{"a": 1' + "0" * 5000 + "}",
        "{} {}",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_json_is_told_so(text: str) -> None:
    response = Response(expert_id="e", role=CallRole.EXPERT, stage=0, text=text)
    [screen] = screened([response], {"type": "object"})
    assert screen.error_code == "invalid_output"


@pytest.mark.parametrize("text", [" {} ", "```json\n{}\n```", "```\n{}\n```\n", "<think>{</think>{}"])
def test_json_may_stand_in_a_fence_or_behind_a_thought(text: str) -> None:
    response = Response(expert_id="e", role=CallRole.EXPERT, stage=0, text=text)
    assert screened([response], {"type": "object"}) == (response,)


def test_another_form_beside_it_is_refused(client: TestClient) -> None:
    body = ask("same", muster={"options": ["a", "b"]})
    assert client.post(CHAT, json=body).json()["error"]["param"] == "response_format"


class City(BaseModel):
    city: str
    people: int


def test_a_schema_as_openais_client_makes_it_is_kept_to(client: TestClient) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": City.model_json_schema()}}
    value, _ = answered(client, ask("same", response_format=form))
    assert City.model_validate(value).people == 3


def test_a_writers_words_come_as_they_are_written(client: TestClient) -> None:
    body = ask("muster/synthesize", experts=["same", "other"], response_format=None, stream=True)
    lines = client.post(CHAT, json=body).text.splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    words = [c["delta"]["content"] for chunk in data for c in chunk["choices"] if c["delta"].get("content")]
    assert "".join(words) == '{"city": "Ulm", "people": 7}'
    assert len(words) > 1
    assert data[-1]["muster"]["aggregator"] == "synthesize"
