"""The official OpenAI client against a live server."""

import socket
import threading
import time
from collections.abc import Iterator

import openai
import pytest
import uvicorn

from api.main import create_app
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import JobState
from tests.fakes.app import FakeApp

SAY = [{"role": "user", "content": "Why?"}]


class LiveServer:
    """uvicorn in a thread on a free loopback port."""

    def __init__(self, app: FakeApp) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(create_app(app), log_config=None))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def client(self) -> openai.OpenAI:
        port = self.socket.getsockname()[1]
        return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=2)

    def __enter__(self) -> openai.OpenAI:
        # The socket listens already: early connections wait for the server to accept them.
        self.thread.start()
        return self.client()

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with LiveServer(FakeApp()) as client, client:
        yield client


def test_create(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="auto", messages=SAY, extra_body={"muster": {"options": ["1", "2"]}}
    )
    assert completion.choices[0].message.content == "The answer is (B)."
    assert completion.usage is not None
    assert completion.usage.total_tokens == 32
    assert completion._request_id
    assert completion.model_extra is not None
    assert completion.model_extra["muster"]["recruits"] == ["org/alpha", "beta"]


def test_an_answer_can_be_sent_back_as_context(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="auto", messages=SAY)
    again = [*SAY, first.choices[0].message, *SAY]
    assert client.chat.completions.create(model="auto", messages=again).choices


def test_a_stream_gives_the_words_as_they_come_and_the_usage_at_its_end() -> None:
    """Two pieces of the answer are told before it is there."""
    app = FakeApp(told=[[("w", 0, "The ")], [("w", 4, "answer")]])
    with LiveServer(app) as client, client:
        stream = client.chat.completions.create(
            model="org/alpha", messages=SAY, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert words == ["", "The ", "answer", " is (B).", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-3:-1]] == [None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 32
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_that_breaks_off_raises() -> None:
    app = FakeApp(told=[[("w", 0, "An other answer")]])
    with LiveServer(app) as client, client, pytest.raises(openai.APIError) as broken:
        list(client.chat.completions.create(model="org/alpha", messages=SAY, stream=True))
    assert broken.value.code == "answer_changed"


def test_a_client_that_leaves_a_stream_is_no_longer_served_and_its_question_is_cancelled() -> None:
    app = FakeApp(told=[[("w", 0, "The ")]], gate=threading.Event())
    with LiveServer(app) as client, client:
        stream = client.chat.completions.create(model="org/alpha", messages=SAY, stream=True)
        assert next(iter(stream)).choices
        assert app.dispatcher.n_listening == 1
        stream.close()
        deadline = time.monotonic() + 30
        while app.dispatcher.n_listening:
            assert time.monotonic() < deadline, "it is still listened for"
            time.sleep(0.01)
    assert list(app.store.states.values()) == [JobState.CANCELLED]


def test_models(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert {"auto", "muster/knn", "org/alpha"} <= set(ids)
    assert client.models.retrieve("muster/knn").owned_by == "muster"


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-x", messages=SAY)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.chat.completions.create(model="auto", messages=SAY, modalities=["text", "audio"])
    assert unsupported.value.param == "modalities"
    with pytest.raises(openai.BadRequestError) as invalid:
        client.chat.completions.create(model="auto", messages=SAY, temperature=9)
    assert invalid.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_a_failed_question_is_not_asked_again_by_the_client() -> None:
    app = FakeApp(answer=Answer(text="", error_code="backend_error", error="all experts failed."))
    with LiveServer(app) as client, client, pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="auto", messages=SAY)
    assert failed.value.code == "backend_error"
    assert len(app.store.submitted) == 1
