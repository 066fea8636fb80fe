"""`stream` of `POST /v1/chat/completions` over a scripted app."""

import asyncio
import json
from collections.abc import Generator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from api.views.chat import Heading, muster_view
from api.views.chat_streams import Chunks, chat_events, first_part
from api.views.events import PING
from orchestrator.domain.answers import Answer, FinishReason
from orchestrator.domain.stages import StageNews
from orchestrator.errors import BackendError, MusterError
from tests.fakes.app import ANSWER, FakeApp

URL = "/v1/chat/completions"
CHAT = {"model": "org/alpha", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}


def lines(app: FakeApp, **fields: object) -> list[str]:
    """Data of the stream's events."""
    response = TestClient(create_app(app)).post(URL, json={**CHAT, **fields})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    return [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]


def chunks(app: FakeApp, **fields: object) -> list[dict[str, Any]]:
    *data, done = lines(app, **fields)
    assert done == "[DONE]"
    return [json.loads(line) for line in data]


def content(found: list[dict[str, Any]]) -> list[str]:
    return [c["choices"][0]["delta"].get("content", "") for c in found if c["choices"]]


def test_chunks_have_openais_form() -> None:
    first, text, last = chunks(FakeApp())
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    ]
    assert text["choices"][0]["delta"] == {"content": ANSWER.text}
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert first["id"] == text["id"] == last["id"]
    assert (first["model"], first["system_fingerprint"]) == ("org/alpha", text["system_fingerprint"])
    assert not any("usage" in chunk for chunk in (first, text, last))


def test_the_last_choice_carries_what_is_ours() -> None:
    app = FakeApp()
    *others, last = chunks(app)
    [(job, _)] = app.store.submitted
    assert last["muster"]["job_id"] == job.id
    assert last["muster"]["recruits"] == ["org/alpha", "beta"]
    assert not any("muster" in chunk for chunk in others)


def test_usage_comes_in_a_chunk_without_choices_when_it_is_asked_for() -> None:
    *others, last = chunks(FakeApp(), stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 32)
    assert all(chunk["usage"] is None for chunk in others)


def test_only_a_stream_marks_its_job() -> None:
    app = FakeApp()
    chunks(app)
    TestClient(create_app(app)).post(URL, json={**CHAT, "stream": False})
    assert [(job.stream, job.kind) for job, _ in app.store.submitted] == [(True, "ask"), (False, "ask")]


def test_words_are_sent_as_they_come_and_the_rest_with_the_answer() -> None:
    told = [[("w", 0, "The")], [], [("w", 3, " answer")], [("w", 99, "lost the way")]]
    assert content(chunks(FakeApp(told=told))) == ["", "The", " answer", " is (B).", ""]


def test_a_cut_off_answer_finishes_by_length() -> None:
    cut = ANSWER.model_copy(update={"finish_reason": FinishReason.LENGTH})
    assert chunks(FakeApp(answer=cut))[-1]["choices"][0]["finish_reason"] == "length"


def test_an_answer_other_than_what_was_sent_ends_the_stream_with_an_error() -> None:
    *begun, last = lines(FakeApp(told=[[("w", 0, "The sun")], [("v", 0, "The answer")]]))
    assert content([json.loads(line) for line in begun]) == ["", "The sun"]
    assert json.loads(last)["error"]["code"] == "answer_changed"


def test_what_fails_before_the_first_word_has_its_status() -> None:
    app = FakeApp(answer=Answer(text="", error_code="context_exceeded", error="too long."))
    response = TestClient(create_app(app)).post(URL, json=CHAT)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert response.headers["x-muster-decision-id"] == app.store.submitted[0][0].id


def test_what_fails_after_the_first_word_ends_the_stream_with_an_error() -> None:
    failed = Answer(text="", error_code="engine_crashed", error="it died.")
    *begun, last = lines(FakeApp(answer=failed, told=[[("w", 0, "The")]]))
    assert content([json.loads(line) for line in begun]) == ["", "The"]
    error = json.loads(last)["error"]
    assert (error["code"], error["message"], error["type"]) == ("engine_crashed", "it died.", "server_error")


def test_an_unknown_model_is_404_before_anything_is_submitted() -> None:
    app = FakeApp()
    response = TestClient(create_app(app)).post(URL, json={**CHAT, "model": "nobody"})
    assert (response.status_code, app.store.submitted) == (404, [])


def make_chunks() -> Chunks:
    heading = Heading("chatcmpl-1", 1, "m", "fp_1")
    return Chunks(
        heading, muster=lambda answer: muster_view(answer, job_id="j", composition="c"), include_usage=False
    )


def parts_of(*parts: str | Answer | Exception) -> Generator[str | Answer, None, None]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def collect(first: str | Answer, *rest: str | Answer | Exception, ping_s: float) -> list[str]:
    return [e async for e in chat_events(first, parts_of(*rest), make_chunks(), ping_s=ping_s)]


def test_silence_is_bridged_by_pings() -> None:
    events = asyncio.run(collect("a", "", "", ANSWER, ping_s=0.0))
    assert events.count(PING) == 2
    assert PING not in asyncio.run(collect("a", "", "", ANSWER, ping_s=60.0))


def test_a_stage_is_told_by_a_chunk_that_adds_nothing() -> None:
    news = StageNews(event="waiting", experts=("alpha",), ahead=3)

    async def told() -> list[str]:
        return [e async for e in chat_events("a", staged(news, ANSWER), make_chunks(), ping_s=60.0)]

    [chunk] = [json.loads(e[6:]) for e in asyncio.run(told()) if '"stage"' in e]
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
    assert chunk["muster"] == {
        "stage": {"event": "waiting", "experts": ["alpha"], "role": "expert", "ahead": 3}
    }


def test_what_a_call_has_written_is_told_by_such_a_chunk() -> None:
    news = StageNews(event="writing", experts=("alpha",), call=2, n_chars=5, text="Is it")
    data = json.loads(make_chunks().stage(news).removeprefix("data: "))
    assert data["muster"]["stage"] == {
        "event": "writing",
        "experts": ["alpha"],
        "role": "expert",
        "call": 2,
        "n_chars": 5,
        "text": "Is it",
    }


def staged(*parts: str | Answer | StageNews) -> Generator[str | Answer | StageNews, None, None]:
    yield from parts


def test_a_bug_ends_the_stream_with_an_error_that_says_nothing_of_it() -> None:
    *_, last = asyncio.run(collect("a", RuntimeError("secret"), ping_s=60.0))
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "internal_error"
    assert "secret" not in last


def test_a_stream_begins_without_a_word_after_a_while() -> None:
    assert first_part(parts_of("", "", "word"), hold_s=60.0) == "word"
    assert first_part(parts_of("", "", "word"), hold_s=0.0) == ""
    with pytest.raises(MusterError):
        first_part(parts_of("", BackendError("no.")), hold_s=60.0)
