"""The official OpenAI client against a live server."""

import socket
import threading
from collections.abc import Iterator

import openai
import pytest
import uvicorn

from api.main import create_app
from orchestrator.domain.answers import Answer
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


def test_models(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert {"auto", "muster/knn", "org/alpha"} <= set(ids)
    assert client.models.retrieve("muster/knn").owned_by == "muster"


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-x", messages=SAY)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unsupported:
        client.chat.completions.create(model="auto", messages=SAY, n=3)
    assert unsupported.value.param == "n"
    with pytest.raises(openai.UnprocessableEntityError) as invalid:
        client.chat.completions.create(model="auto", messages=SAY, temperature=9)
    assert invalid.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_a_failed_question_is_not_asked_again_by_the_client() -> None:
    app = FakeApp(answer=Answer(text="", error_code="backend_error", error="all experts failed."))
    with LiveServer(app) as client, client, pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="auto", messages=SAY)
    assert failed.value.code == "backend_error"
    assert len(app.jobs.submitted) == 1
