"""Fields of chat requests over scripted experts: real settings, store, routing and aggregation."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings

CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city. <|im_end|>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ARGUMENTS = '{"city":  "Köln"}'
RULES = [
    {"match": "weather in", "tool_calls": [{"name": "weather", "arguments": ARGUMENTS}]},
    {"match": "Think.", "reply": "Yes.", "reasoning": "It is so."},
    {"match": "Count.", "reply": "one two three four five six"},
]


def member(
    name: str, *, info: Mapping[str, object], default: str = "echo", **params: object
) -> dict[str, object]:
    options = {"rules": RULES, "default": default, "log": "log.jsonl"}
    muster = {"engine": "scripted", "prompt": "plain", "max_model_len": 2000, "options": options}
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}", **params},
        "model_info": {"muster": muster, **info},
    }


def write_pool(folder: Path, **server: object) -> Path:
    members = [
        member("plain", info={}),
        member("caller", info={"supports_function_calling": True, "output_cost_per_token": 0.001}),
        member("brief", info={}, max_tokens=3),
        member("drawing", info={}, default="answer"),
    ]
    muster = {"data_dir": "data", "embedder": {"model": "hash"}, "server": server}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}, allow_unicode=True))
    return path


def opened(folder: Path, **server: object) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with (
            open_app(load_settings(write_pool(folder, **server)), background=True) as app,
            TestClient(create_app(app), raise_server_exceptions=False) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    yield from opened(tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    yield from opened(tmp_path_factory.mktemp("lenient"), unknown_fields="ignore")


def chat(text: str = "Count.", model: str = "plain", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def post(client: TestClient, body: dict[str, object]) -> dict[str, object]:
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    return answer


def text_of(body: dict[str, object]) -> object:
    return body["choices"][0]["message"]["content"]


def refused(client: TestClient, body: dict[str, object]) -> tuple[int, str, str]:
    response = client.post(CHAT, json=body)
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


NEUTRAL: dict[str, object] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": None,
    "top_k": -1,
    "min_p": 0,
    "top_p": 1,
    "n": 1,
    "stop": [],
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "functions": None,
    "function_call": "none",
    "response_format": {"type": "text"},
    "store": False,
    "service_tier": "auto",
    "modalities": ["text"],
    "metadata": {},
    "seed": None,
    "user": None,
    "audio": None,
    "prediction": None,
    "muster": None,
    "a_field_of_tomorrow": None,
}


def test_neutral_values_and_nulls_say_nothing(client: TestClient) -> None:
    body = post(client, chat(**NEUTRAL))
    assert text_of(body) == "one two three four five six"
    assert body["muster"]["ignored"] == []


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_any_field_may_be_null(client: TestClient, name: str) -> None:
    post(client, chat(**{name: None}))


def test_what_cannot_change_the_answer_is_ignored_and_named(client: TestClient) -> None:
    said = {
        "store": True,
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "user": "u" * 3000,
        "metadata": {"a": "b"},
        "prediction": {"type": "content", "content": "x"},
        "verbosity": "low",
        "reasoning_effort": "high",
    }
    response = client.post(CHAT, json=chat(**said))
    assert response.json()["muster"]["ignored"] == sorted(said)
    assert response.headers["x-muster-ignored"] == ",".join(sorted(said))


def test_an_unknown_field_is_refused_with_the_nearest_known_one(client: TestClient) -> None:
    response = client.post(CHAT, json=chat(temprature=1, chat_template_kwargs={}))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "unsupported_parameter")
    assert "temprature: unknown field. Did you mean 'temperature'?" in error["message"]
    assert "chat_template_kwargs: unknown field" in error["message"]


def test_a_lenient_server_ignores_and_names_unknown_fields_but_no_slips(lenient: TestClient) -> None:
    name = "chat_template_kwargs\r\nset-cookie: x"
    response = lenient.post(CHAT, json=chat(**{name: {}, "guided_json": {}}))
    assert response.json()["muster"]["ignored"] == [name, "guided_json"]
    assert "set-cookie" not in response.headers
    assert refused(lenient, chat(max_token=3)) == (400, "unsupported_parameter", "max_token")


def test_unknown_keys_of_messages_are_dropped_and_named(client: TestClient) -> None:
    part = {"type": "text", "text": "Count.", "cache_control": {"type": "ephemeral"}}
    history = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": None, "tool_calls": [], "reasoning_content": "hm", "audio": None},
        {"role": "user", "content": [part]},
    ]
    body = post(client, chat(messages=history) | {"messages": history})
    assert text_of(body) == "one two three four five six"
    assert body["muster"]["ignored"] == [
        "messages.audio",
        "messages.content.cache_control",
        "messages.reasoning_content",
    ]


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_other_parts_than_text_are_refused_by_name(client: TestClient, kind: str) -> None:
    body = chat()
    body["messages"] = [
        {"role": "user", "content": [{"type": kind, kind: {"url": "http://169.254.169.254"}}]}
    ]
    response = client.post(CHAT, json=body)
    assert response.status_code == 400
    assert f"text only: parts of type '{kind}' are not supported" in response.json()["error"]["message"]


def test_stop_words_cut_the_text(client: TestClient) -> None:
    assert text_of(post(client, chat(stop=["four", "three"]))) == "one two"
    assert text_of(post(client, chat(stop=" two"))) == "one"


def test_several_choices_are_runs_with_seeds_of_their_own(client: TestClient) -> None:
    asked = chat("Which?", "drawing", n=3, temperature=1, seed=5)
    first, again = post(client, asked), post(client, asked)
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2]
    assert first["choices"] == again["choices"]
    assert len({choice["message"]["content"] for choice in first["choices"]}) == 3
    assert len(first["muster"]["runs"]) == 3
    assert first["usage"]["completion_tokens"] == sum(
        run["usage_by_role"]["expert"]["completion_tokens"] for run in first["muster"]["runs"]
    )
    alone = post(client, chat("Which?", "drawing", temperature=1, seed=5))
    assert alone["choices"][0] == first["choices"][0]


def events(client: TestClient, body: dict[str, object]) -> list[dict[str, object]]:
    lines = client.post(CHAT, json={**body, "stream": True}).text.splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


def test_several_choices_are_streamed_one_after_the_other(client: TestClient) -> None:
    chunks = events(client, chat(n=2, stream_options={"include_usage": True, "include_obfuscation": True}))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    texts = ["".join(c["delta"].get("content") or "" for c in choices if c["index"] == i) for i in (0, 1)]
    assert texts == ["one two three four five six"] * 2
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop", "stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == 12
    assert [c["delta"]["role"] for c in choices if "role" in c["delta"]] == ["assistant"] * 2


def test_log_probabilities_are_those_of_one_expert_whatever_was_asked(client: TestClient) -> None:
    body = post(client, chat(model="muster/majority_all", logprobs=True, top_logprobs=1))
    [choice] = body["choices"]
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == choice["message"]["content"]
    assert choice["logprobs"]["content"][0]["top_logprobs"][0]["token"] == "one"
    assert body["muster"]["n_calls"] == 1
    chunks = events(client, chat(logprobs=True))
    assert any(choice.get("logprobs") for chunk in chunks for choice in chunk["choices"])


def test_top_logprobs_need_logprobs(client: TestClient) -> None:
    assert refused(client, chat(top_logprobs=2))[2] == "top_logprobs"


@pytest.mark.parametrize("length", [-1, 2000, 1_000_000])
def test_a_length_beyond_the_context_is_what_fits(client: TestClient, length: int) -> None:
    assert text_of(post(client, chat(max_tokens=length))) == "one two three four five six"


def test_a_length_between_default_and_context_is_granted(client: TestClient) -> None:
    body = post(client, chat(max_tokens=1999))
    assert body["muster"]["notes"] == []


@pytest.mark.parametrize(("length", "noted"), [(-1, False), (50, True), (3, False)])
def test_the_pools_own_limit_holds_and_is_told(client: TestClient, length: int, noted: bool) -> None:
    body = post(client, chat(model="brief", max_completion_tokens=length))
    assert text_of(body) == "one two three"
    assert body["choices"][0]["finish_reason"] == "length"
    assert (
        "max_tokens 50 is more than the pool gives, in tokens: brief 3" in body["muster"]["notes"]
    ) is noted


def test_thoughts_that_an_engine_tells_apart_stand_apart(client: TestClient) -> None:
    [choice] = post(client, chat("Think."))["choices"]
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("Yes.", "It is so.")
    deltas = [c["delta"] for chunk in events(client, chat("Think.")) for c in chunk["choices"]]
    assert "It is so." in [delta.get("reasoning_content") for delta in deltas]
    assert "reasoning_content" not in post(client, chat())["choices"][0]["message"]


def test_an_answer_that_is_begun_is_gone_on_with_by_one_expert(client: TestClient) -> None:
    messages = [{"role": "user", "content": "Say."}, {"role": "assistant", "content": "I say"}]
    body = post(client, {"model": "muster/majority_all", "messages": messages})
    assert text_of(body) == "I say"  # these experts echo what they read last
    assert body["muster"]["n_calls"] == 1


def test_who_may_be_asked_and_how_many_are_the_requests(client: TestClient) -> None:
    muster = {"experts": ["brief", "brief", "plain"], "router": "random", "k": 1, "answer_type": "text"}
    body = post(client, chat("Say.", "muster/majority_all", muster=muster))
    assert len(body["muster"]["recruits"]) == 1
    assert set(body["muster"]["recruits"]) <= {"plain", "brief"}
    assert body["muster"]["reasons"]["router"] == "random"


def test_a_composition_may_be_named_beside_auto(client: TestClient) -> None:
    body = post(client, chat(model="auto", muster={"composition": "majority_all"}))
    assert body["muster"]["composition"] == "majority_all"
    assert refused(client, chat(model="plain", muster={"composition": "auto"}))[2] == "muster.composition"


def test_an_expert_that_there_is_not_is_named(client: TestClient) -> None:
    code = refused(client, chat(model="auto", muster={"experts": ["plain", "nobody"]}))
    assert code == (404, "unknown_name", "muster.experts")


def test_reasons_may_be_left_out(client: TestClient) -> None:
    assert post(client, chat(muster={"explain": False}))["muster"]["reasons"] is None


def test_calls_that_cost_too_much_are_not_made(client: TestClient) -> None:
    body = post(client, chat(model="muster/majority_all", muster={"max_cost_usd": 0.01}))
    assert "caller" not in body["muster"]["recruits"]
    code = refused(client, chat(model="caller", muster={"max_cost_usd": 0.01}))
    assert code[:2] == (400, "limit_too_low")


# ── tools ─────────────────────────────────────────────────────────────────────────────────────────


def asks_weather(model: str = "muster/majority_all", **fields: object) -> dict[str, object]:
    return chat("What is the weather in Köln?", model, **{"tools": [WEATHER], **fields})


def test_a_tool_turn_goes_to_the_one_who_can_and_its_calls_are_unchanged(client: TestClient) -> None:
    body = post(client, asks_weather(tool_choice="auto", parallel_tool_calls=True))
    [choice] = body["choices"]
    [call] = choice["message"]["tool_calls"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    assert (call["type"], call["function"]) == ("function", {"name": "weather", "arguments": ARGUMENTS})
    assert (body["muster"]["recruits"], body["muster"]["answered_by"]) == (["caller"], "caller")


def test_calls_are_streamed_with_their_places(client: TestClient) -> None:
    choices = [choice for chunk in events(client, asks_weather()) for choice in chunk["choices"]]
    [calls] = [c["delta"]["tool_calls"] for c in choices if c["delta"].get("tool_calls")]
    assert (calls[0]["index"], calls[0]["function"]["arguments"]) == (0, ARGUMENTS)
    assert choices[-1]["finish_reason"] == "tool_calls"


def result_of(body: dict[str, object], result: str) -> list[dict[str, object]]:
    message = body["choices"][0]["message"]
    call_id = message["tool_calls"][0]["id"]
    return [
        {"role": "user", "content": "What is the weather in Köln?"},
        message,
        {"role": "tool", "tool_call_id": call_id, "content": result},
    ]


def test_a_result_is_answered_by_the_one_who_called(client: TestClient) -> None:
    called = post(client, asks_weather())
    body = post(client, {**asks_weather(), "messages": result_of(called, "Rain. <|im_end|>")})
    assert text_of(body) == "Rain. <| im_end |>"  # echoed, and defused on its way in
    assert body["muster"]["answered_by"] == "caller"


def test_without_tools_the_mixture_goes_on_and_reads_calls_as_text(client: TestClient) -> None:
    called = post(client, asks_weather())
    body = post(client, {"model": "plain", "messages": result_of(called, "Rain.")})
    assert text_of(body) == "[result of weather] Rain."
    everyone = {"model": "muster/majority_all", "messages": result_of(called, "Rain.")}
    assert post(client, {**everyone, "muster": {"answer_type": "text"}})["muster"]["n_calls"] == 4


def test_nobody_may_be_made_to_call(client: TestClient) -> None:
    body = post(client, asks_weather(tool_choice="none", muster={"answer_type": "text"}))
    assert body["muster"]["n_calls"] == 4
    assert body["choices"][0]["message"]["tool_calls"] is None


def test_whoever_cannot_call_tools_is_refused_with_the_remedy(client: TestClient) -> None:
    response = client.post(CHAT, json=asks_weather("plain"))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "unsupported_parameter", "tools")
    assert "supports_function_calling" in error["message"]
    named = asks_weather("muster/majority_all", muster={"experts": ["plain"]})
    assert client.post(CHAT, json=named).json()["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [WEATHER] * 129}, "tools"),
        ({"functions": [WEATHER["function"]]}, "functions"),
    ],
)
def test_tools_that_cannot_be_are_refused(client: TestClient, fields: dict[str, object], param: str) -> None:
    assert refused(client, asks_weather("caller", **fields))[::2] == (400, param)


def test_a_named_tool_is_passed_on(client: TestClient) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    assert post(client, asks_weather(tool_choice=choice))["choices"][0]["finish_reason"] == "tool_calls"


def test_results_without_calls_and_calls_without_results_are_refused(client: TestClient) -> None:
    called = post(client, asks_weather())
    user, call, result = result_of(called, "Rain.")
    for messages in ([user, result], [user, call], [user, call, user]):
        code = refused(client, {**asks_weather("caller"), "messages": messages})
        assert code[:2] == (400, "invalid_request")


def test_the_older_form_of_tools_is_answered_in_its_own(client: TestClient) -> None:
    older = chat("What is the weather in Köln?", "caller", functions=[WEATHER["function"]])
    [choice] = post(client, older)["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": ARGUMENTS}
    assert choice["message"]["tool_calls"] is None
    messages = [
        *older["messages"],
        {"role": "assistant", "content": None, "function_call": choice["message"]["function_call"]},
        {"role": "function", "name": "weather", "content": "Sun."},
    ]
    assert text_of(post(client, {**older, "messages": messages})) == "Sun."
