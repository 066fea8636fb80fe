"""`/v1/completions` through the real app and the official client: one expert goes on with prompts.

`near` is scripted, `far` the same expert behind a server of its own, which is asked over HTTP.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings
from tests.harness.live import live_client
from tests.harness.waiting import wait_for

RULES = [
    {"match": "broken", "fail": "request_refused"},
    {"match": "capital", "reply": " Paris is the capital"},
    {"match": "<|im_end|>", "reply": " control strings are read as they are"},
]
SYSTEM = "You are a chat."


def member(name: str, engine: str, **params: object) -> dict[str, object]:
    options = {"rules": RULES, "default": "answer"} if engine == "scripted" else {}
    muster = {"engine": engine, "options": options, "system_prompt": SYSTEM}
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", **params},
        "model_info": {"muster": muster},
    }


def opened(folder: Path, *members: dict[str, object]) -> App:
    folder.mkdir(exist_ok=True)
    path = folder / "pool.yaml"
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}}
    path.write_text(yaml.safe_dump({"model_list": list(members), "muster": muster}))
    return open_app(load_settings(path), background=True)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("completions")
    with ExitStack() as stack:
        inner = stack.enter_context(opened(folder / "inner", member("far", "scripted")))
        address = str(stack.enter_context(live_client(inner)).base_url)
        far = member("far", "server", api_base=address)
        yield stack.enter_context(opened(folder / "outer", member("near", "scripted"), far))


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[openai.OpenAI]:
    with live_client(app) as client:
        yield client


@pytest.mark.parametrize("model", ["near", "far"])
def test_a_prompt_is_gone_on_with_as_it_is(client: openai.OpenAI, app: App, model: str) -> None:
    """No system prompt, no form of an answer, nothing taken out."""
    prompt = "The capital of France is <|im_start|>"
    done = client.completions.create(model=model, prompt=prompt, max_tokens=9, temperature=0)
    assert (done.object, done.id[:5], done.model) == ("text_completion", "cmpl-", model)
    assert done.choices[0].text == " Paris is the capital"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.completion_tokens == 4
    job_id = f"ask-{done.id.removeprefix('cmpl-')}"
    [(_, [answered])] = app.store.calls(job_id)
    assert [(m.role, m.content) for m in answered.call.messages] == [("user", prompt)]
    assert answered.call.sampling.raw


@pytest.mark.parametrize("model", ["near", "far"])
def test_control_strings_of_a_prompt_are_the_prompts_own(client: openai.OpenAI, model: str) -> None:
    done = client.completions.create(model=model, prompt="a<|im_end|>b")
    assert done.choices[0].text == " control strings are read as they are"


@pytest.mark.parametrize("model", ["near", "far"])
def test_log_probabilities_have_the_older_form(client: openai.OpenAI, model: str) -> None:
    done = client.completions.create(model=model, prompt="The capital?", logprobs=2)
    said = done.choices[0].logprobs
    assert said is not None
    assert said.tokens == [" Paris", " is", " the", " capital"]
    assert said.token_logprobs == [0.0] * 4
    assert said.text_offset == [0, 6, 9, 13]
    assert said.top_logprobs == [{token: 0.0} for token in said.tokens]


@pytest.mark.parametrize("model", ["near", "far"])
def test_a_text_is_streamed(client: openai.OpenAI, model: str) -> None:
    events = list(
        client.completions.create(
            model=model, prompt="The capital?", stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(event.choices[0].text for event in events if event.choices) == " Paris is the capital"
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == "stop"
    assert events[-1].choices == []
    assert events[-1].usage is not None
    assert {event.object for event in events} == {"text_completion"}


def test_several_prompts_and_several_texts_of_each_come_in_order(client: openai.OpenAI) -> None:
    """Of one prompt the texts are drawn with seeds of their own; equal requests have equal texts."""
    asked = {"model": "near", "prompt": ["a", "The capital?"], "n": 2, "temperature": 1.0, "seed": 5}
    done = client.completions.create(**asked)
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    first, second, third, fourth = [choice.text for choice in done.choices]
    assert third == fourth == " Paris is the capital"
    assert first != second
    assert [choice.text for choice in client.completions.create(**asked).choices] == [
        first,
        second,
        third,
        fourth,
    ]
    alone = client.completions.create(**{**asked, "prompt": "a", "n": 1})
    assert alone.choices[0].text == first


def test_words_that_stop_a_text_and_its_length_are_the_requests(client: openai.OpenAI) -> None:
    stopped = client.completions.create(model="near", prompt="The capital?", stop=[" the"])
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == (" Paris is", "stop")
    cut = client.completions.create(model="near", prompt="The capital?", max_tokens=2)
    assert (cut.choices[0].text, cut.choices[0].finish_reason) == (" Paris is", "length")


def test_what_fails_has_its_status(client: openai.OpenAI) -> None:
    for prompt in ("broken", ["The capital?", "broken"]):
        with pytest.raises(openai.UnprocessableEntityError) as failed:
            client.completions.create(model="near", prompt=prompt)
        assert failed.value.code == "no_answer"


@pytest.mark.parametrize("model", ["auto", "muster/majority_all"])
def test_a_composition_is_refused_with_the_remedy(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model=model, prompt="The capital?")
    assert refused.value.param == "model"
    assert "Name an expert" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"echo": True, "max_tokens": 0, "logprobs": 1}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["fine", " "]}, "prompt.1"),
        ({"prompt": ["a", "b"], "stream": True}, "stream"),
        ({"prompt": ["a", "b"], "n": 100}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"api_base": "http://169.254.169.254"}, "api_base"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(
    client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/completions", body={"model": "near", "prompt": "x", **fields}, cast_to=object)
    assert refused.value.param == param


JOBS, JSONL = "/v1/jobs", {"content-type": "application/jsonl"}


def prompt_line(custom_id: str, model: str, **fields: object) -> str:
    body = {"model": model, "prompt": "The capital of France is <|im_start|>", **fields}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": body})


def test_lines_of_a_job_go_on_with_prompts_as_they_are_beside_lines_of_chats(app: App) -> None:
    """Also where all lines agree on their terms, which are the job's then."""
    chat = {"model": "near", "messages": [{"role": "user", "content": "The capital?"}]}
    mixed = [
        prompt_line("near", "near", max_tokens=9, temperature=0),
        prompt_line("far", "far", prompt=["a<|im_end|>b"]),
        prompt_line("cut", "near", max_tokens=2, logprobs=1),
        json.dumps({"custom_id": "chat", "url": "/v1/chat/completions", "body": chat}),
    ]
    with TestClient(create_app(app)) as rest:
        rows = answers_of(rest, mixed)
        bodies = {name: row["response"]["body"] for name, row in rows.items()}
        texts = {name: body["choices"][0].get("text") for name, body in bodies.items()}
        assert texts == {
            "near": " Paris is the capital",
            "far": " control strings are read as they are",
            "cut": " Paris is",
            "chat": None,
        }
        assert {name: body["object"] for name, body in bodies.items()} == {
            **dict.fromkeys(("near", "far", "cut"), "text_completion"),
            "chat": "chat.completion",
        }
        cut = bodies["cut"]["choices"][0]
        assert (cut["finish_reason"], cut["logprobs"]["tokens"]) == ("length", [" Paris", " is"])
        assert (bodies["far"]["model"], bodies["near"]["id"][:5]) == ("far", "cmpl-")
        alike = answers_of(rest, [prompt_line(name, "near") for name in ("a", "b")])
        assert {row["response"]["body"]["choices"][0]["text"] for row in alike.values()} == {
            " Paris is the capital"
        }
        named = answers_of(rest, [prompt_line("a", "far")], "?composition=near")
        assert named["a"]["response"]["body"]["model"] == "near"


def answers_of(rest: TestClient, lines: list[str], query: str = "") -> dict[str, Any]:
    """Lines of the answers of a job, by their ids."""
    job = rest.post(f"{JOBS}{query}", content="\n".join(lines), headers=JSONL)
    assert job.status_code == 202, job.text
    assert "event: done" in rest.get(f"{JOBS}/{job.json()['id']}/events").text
    rows = rest.get(f"{JOBS}/{job.json()['id']}/answers").text.splitlines()
    return {row["custom_id"]: row for row in map(json.loads, rows)}


def test_a_batch_of_prompts_is_made_and_read_by_the_official_client(client: openai.OpenAI) -> None:
    content = "\n".join([prompt_line("good", "near"), prompt_line("bad", "near", prompt="broken")])
    file = client.files.create(file=("in.jsonl", content.encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
    wait_for("the batch", lambda: client.batches.retrieve(batch.id).status == "completed", within_s=60)
    made = client.batches.retrieve(batch.id)
    assert made.output_file_id is not None
    assert made.error_file_id is not None
    [row] = map(json.loads, client.files.content(made.output_file_id).text.splitlines())
    assert row["response"]["body"]["choices"][0]["text"] == " Paris is the capital"
    [row] = map(json.loads, client.files.content(made.error_file_id).text.splitlines())
    assert (row["custom_id"], row["error"]["code"]) == ("bad", "no_answer")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": "auto"}, "composition"),
        ({"prompt": ["a", "b"]}, "body.prompt"),
        ({"prompt": [1, 2]}, "body.prompt"),
        ({"prompt": " "}, "question"),
        ({"n": 2}, "body.n"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"stream": True}, "body.stream"),
        ({"messages": []}, "body.messages"),
    ],
)
def test_what_a_line_of_a_prompt_cannot_have_is_refused_with_its_line(
    app: App, fields: dict[str, object], says: str
) -> None:
    content = "\n".join([prompt_line("good", "near"), prompt_line("bad", **{"model": "near", **fields})])
    with TestClient(create_app(app)) as rest:
        refused = rest.post(JOBS, content=content, headers=JSONL)
    [told] = refused.json()["error"]["lines"]
    assert (refused.status_code, told["line"]) == (400, 2)
    assert says in told["message"]


def test_a_composition_of_several_answers_no_file_with_prompts(app: App) -> None:
    content = "\n".join([prompt_line("a", "near"), json.dumps({"id": "own", "question": "Why?"})])
    with TestClient(create_app(app)) as rest:
        refused = rest.post(f"{JOBS}?composition=majority_all", content=content, headers=JSONL)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
