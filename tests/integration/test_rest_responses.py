"""`/v1/responses` through the real app and the official client: asked, streamed, gone on from, kept."""

import json
from collections.abc import Iterator

import openai
import pytest
import yaml

from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.queries import Message
from orchestrator.settings.load import load_settings
from tests.harness.live import live_client

RULES = [
    {"match": "as JSON", "reply": '{"name": "Ada"}'},
    {"match": "weather", "tool_calls": [{"name": "look", "arguments": '{"place": "here"}'}]},
    {"match": "rains", "reply": "Take an umbrella."},
    {"match": "broken", "fail": "request_refused"},
    {"match": "cut", "reply": "one two three four", "truncate": 2},
    {"match": "second", "reply": "And this is the second."},
    {"regex": ".", "reply": "Fine words."},
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("responses")
    member = {
        "model_name": "alpha",
        "litellm_params": {"model": "scripted/alpha"},
        "model_info": {
            "supports_function_calling": True,
            "muster": {"engine": "scripted", "options": {"rules": RULES}},
        },
    }
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": [member], "muster": muster}))
    with open_app(load_settings(path), background=True) as app:
        yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[openai.OpenAI]:
    with live_client(app) as client:
        yield client


def heard(app: App, response_id: str) -> tuple[Message, ...]:
    """Messages that the expert read for a response."""
    [(_, [answered])] = app.store.calls(f"ask-{response_id.removeprefix('resp_')}")
    return answered.call.messages


def test_a_response_has_the_answer_and_says_what_was_asked(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="alpha", input="Say it.", instructions="Be brief.", metadata={"run": "7"}, temperature=0.5
    )
    assert response.output_text == "Fine words."
    [message] = response.output
    assert (message.type, message.status, message.id[:4]) == ("message", "completed", "msg_")
    assert (response.status, response.object, response.model) == ("completed", "response", "alpha")
    assert (response.instructions, response.metadata) == ("Be brief.", {"run": "7"})
    assert (response.temperature, response.error, response.incomplete_details) == (0.5, None, None)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.model_extra is not None
    assert response.model_extra["muster"]["answered_by"] == "alpha"


def test_instructions_are_the_systems_message(client: openai.OpenAI, app: App) -> None:
    response = client.responses.create(model="alpha", input="Say it.", instructions="Be brief.")
    assert [(m.role, m.content) for m in heard(app, response.id)] == [
        ("system", "Be brief."),
        ("user", "Say it."),
    ]


def test_input_may_be_items_as_agent_frameworks_send_them(client: openai.OpenAI, app: App) -> None:
    """A plain message, one in parts, an assistant's as it came back, and what a model thought."""
    response = client.responses.create(
        model="alpha",
        input=[
            {"role": "user", "content": "Hello"},
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "Say"}, {"type": "input_text", "text": "it."}],
            },
        ],
        include=[],
        tools=[],
        parallel_tool_calls=False,
        store=True,
        truncation="disabled",
        extra_body={"stream": False},
    )
    assert [(m.role, m.content) for m in heard(app, response.id)] == [
        ("user", "Hello"),
        ("assistant", "Hi."),
        ("user", "Say\nit."),
    ]


def test_the_form_of_an_answer_may_be_a_schema(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_schema", "name": "person", "schema": schema, "strict": False}
    response = client.responses.create(model="alpha", input="Say it as JSON.", text={"format": form})
    assert json.loads(response.output_text) == {"name": "Ada"}
    assert response.text is not None
    assert response.text.format is not None
    assert response.text.format.type == "json_schema"
    with pytest.raises(openai.APIStatusError) as failed:
        client.responses.create(model="alpha", input="Say it.", text={"format": form})
    assert failed.value.status_code < 500


LOOK = {
    "type": "function",
    "name": "look",
    "description": "Look outside.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    "strict": False,
}


def test_a_function_is_called_and_what_it_gave_is_answered(client: openai.OpenAI, app: App) -> None:
    """As agents do it: the output is sent back as input, with what the function gave."""
    said: list[object] = [{"role": "user", "content": "How is the weather?"}]
    first = client.responses.create(model="alpha", input=said, tools=[LOOK], tool_choice="auto")
    [call] = first.output
    assert (call.type, call.name, call.arguments) == ("function_call", "look", '{"place": "here"}')
    said += [item.model_dump(exclude_none=True) for item in first.output]
    said.append({"type": "function_call_output", "call_id": call.call_id, "output": "It rains."})
    second = client.responses.create(model="alpha", input=said, tools=[LOOK])
    assert second.output_text == "Take an umbrella."
    assert [m.role for m in heard(app, second.id)] == ["user", "assistant", "tool"]


def test_what_a_function_gave_goes_on_from_the_response_that_called_it(client: openai.OpenAI) -> None:
    first = client.responses.create(model="alpha", input="How is the weather?", tools=[LOOK])
    [call] = first.output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
    second = client.responses.create(
        model="alpha", input=[result], tools=[LOOK], previous_response_id=first.id
    )
    assert second.output_text == "Take an umbrella."
    kept = client.responses.retrieve(first.id)
    assert kept.output == first.output
    assert kept.tools[0].name == "look"


def test_calls_of_functions_are_streamed_as_items(client: openai.OpenAI) -> None:
    with client.responses.stream(model="alpha", input="How is the weather?", tools=[LOOK]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert final.output[0].arguments == '{"place": "here"}'


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"type": "function_call_output", "call_id": "c", "output": "x"}], "input"),
        ([{"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}], "input"),
        ([{"type": "function_call_output", "call_id": "c"}], "input.1.output"),
        ([{"type": "function_call"}], "input"),
    ],
)
def test_calls_that_do_not_fit_are_refused(
    client: openai.OpenAI, items: list[dict[str, object]], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alpha", input=[{"role": "user", "content": "Hi"}, *items])
    assert (refused.value.param or "").startswith(param)


def test_an_answer_that_was_cut_off_is_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model="alpha", input="cut")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_stream_has_the_events_in_openais_order(client: openai.OpenAI) -> None:
    with client.responses.stream(model="alpha", input="Say it.") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == final.output_text == "Fine words."
    without_deltas = [kind for kind in kinds if kind != "response.output_text.delta"]
    assert without_deltas == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.usage is not None
    assert client.responses.retrieve(final.id).output_text == "Fine words."


def test_a_stream_that_was_cut_off_ends_as_incomplete(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="alpha", input="cut", stream=True))
    assert events[-1].type == "response.incomplete"


def test_what_fails_has_its_status_and_is_kept_as_failed(client: openai.OpenAI, app: App) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as failed:
        client.responses.create(model="alpha", input="broken")
    assert failed.value.code == "no_answer"
    [newest, *_] = app.jobs.jobs(limit=1)
    kept = client.responses.retrieve(f"resp_{newest.job.id.removeprefix('ask-')}")
    assert (kept.status, kept.output) == ("failed", [])
    assert kept.error is not None
    assert kept.error.code == "no_answer"


def test_a_response_goes_on_from_another(client: openai.OpenAI, app: App) -> None:
    """Its instructions are its own; what was said before comes with it."""
    first = client.responses.create(model="alpha", input="The first", instructions="Be brief.")
    second = client.responses.create(model="alpha", input="The second", previous_response_id=first.id)
    third = client.responses.create(
        model="alpha", input="The third", instructions="Be long.", previous_response_id=second.id
    )
    assert second.previous_response_id == first.id
    assert [(m.role, m.content) for m in heard(app, third.id)] == [
        ("system", "Be long."),
        ("user", "The first"),
        ("assistant", "Fine words."),
        ("user", "The second"),
        ("assistant", "And this is the second."),
        ("user", "The third"),
    ]


@pytest.mark.parametrize("named", ["resp_unknown", "chatcmpl-1", "../..", "x" * 300])
def test_nothing_goes_on_from_what_is_not_there(client: openai.OpenAI, named: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="alpha", input="On", previous_response_id=named)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"


def test_nothing_goes_on_from_a_failure(client: openai.OpenAI, app: App) -> None:
    with pytest.raises(openai.UnprocessableEntityError):
        client.responses.create(model="alpha", input="broken")
    [newest, *_] = app.jobs.jobs(limit=1)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(
            model="alpha", input="On", previous_response_id=f"resp_{newest.job.id.removeprefix('ask-')}"
        )
    assert refused.value.code == "previous_response_not_found"


def test_what_is_not_stored_cannot_be_found_again(client: openai.OpenAI) -> None:
    response = client.responses.create(model="alpha", input="Say it.", store=False)
    assert response.model_extra is not None
    assert response.model_extra["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_deleted_response_is_gone_with_its_question(client: openai.OpenAI, app: App) -> None:
    first = client.responses.create(model="alpha", input="The first")
    second = client.responses.create(model="alpha", input="The second", previous_response_id=first.id)
    client.responses.delete(first.id)
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(first.id)
    assert f"ask-{first.id.removeprefix('resp_')}" not in [p.job.id for p in app.jobs.jobs()]
    third = client.responses.create(model="alpha", input="The third", previous_response_id=second.id)
    assert [m.content for m in heard(app, third.id)] == ["The second", "And this is the second.", "The third"]


def test_a_response_whose_job_is_deleted_goes_with_it(client: openai.OpenAI, app: App) -> None:
    response = client.responses.create(model="alpha", input="Say it.")
    app.ended.delete(f"ask-{response.id.removeprefix('resp_')}")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_input_items_come_in_pages(client: openai.OpenAI) -> None:
    said = [{"role": "user", "content": text} for text in ("a", "b", "c")]
    response = client.responses.create(model="alpha", input=said)
    pages = client.responses.input_items.list(response.id, limit=2, order="asc")
    assert [item.content[0].text for item in pages.data] == ["a", "b"]
    assert pages.has_more
    assert [item.content[0].text for item in pages] == ["a", "b", "c"]
    newest = client.responses.input_items.list(response.id, limit=1)
    assert newest.data[0].content[0].text == "c"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input.0"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}, "input.0.content.0"),
        ({"input": [{"role": "assistant", "content": "only"}]}, "input"),
        ({"input": " \u200b"}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"temperature": 3.0}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {f"k{i}": "v" for i in range(17)}}, "metadata"),
        ({"api_base": "http://169.254.169.254"}, "api_base"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(
    client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/responses", body={"model": "alpha", "input": "Say it.", **fields}, cast_to=object)
    assert refused.value.param == param


def test_what_changes_nothing_is_named_in_a_header(client: openai.OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="alpha", input="Say it.", truncation="auto", include=["reasoning.encrypted_content"]
    )
    assert raw.headers["x-muster-ignored"] == "include,truncation"
    raw = client.responses.with_raw_response.create(
        model="alpha", input="Say it.", text={"verbosity": "low"}, reasoning={"effort": "low"}, user="me"
    )
    assert raw.headers["x-muster-ignored"] == "reasoning.effort,text.verbosity,user"


def test_an_unknown_model_is_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-x", input="Say it.")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_under_a_key_is_answered_once(client: openai.OpenAI, stream: bool) -> None:
    def post(text: str) -> str:
        return client.with_options(default_headers={"Idempotency-Key": f"key-{stream}"}).post(
            "/responses", body={"model": "alpha", "input": text, "stream": stream}, cast_to=str
        )

    first = post("Say it.")
    assert post("Say it.") == first
    with pytest.raises(openai.UnprocessableEntityError) as other:
        post("Say something else.")
    assert other.value.code == "idempotency_key_reused"


def test_a_response_that_was_deleted_does_not_come_again_under_its_key(client: openai.OpenAI) -> None:
    keyed = client.with_options(default_headers={"Idempotency-Key": "key-deleted"})
    first = keyed.responses.create(model="alpha", input="Say it.")
    client.responses.delete(first.id)
    assert keyed.responses.create(model="alpha", input="Say it.").id != first.id
