"""Requests that come again under their Idempotency-Key, and clients that go away, at a live server."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from api.idempotency import REPLAYED
from api.main import create_app
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import JobState
from orchestrator.errors import StoreUnavailableError
from orchestrator.settings.schema import ServerSettings
from tests.fakes.app import FakeApp
from tests.harness.waiting import wait_for

URL = "/v1/chat/completions"
PATIENCE_S = 30.0
THE = [[("w", 0, "The ")]]


@contextmanager
def serving(app: FakeApp) -> Iterator[httpx.Client]:
    """A client of a server in a thread; what waits at the app's gate goes on at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(app), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            yield client
    finally:
        if app.dispatcher.gate is not None:
            app.dispatcher.gate.set()
        server.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


def chat(**fields: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": "Why?"}], **fields}


def ask(client: httpx.Client, key: str | None = "k", **fields: object) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return client.post(URL, json=chat(**fields), headers=headers)


def is_replayed(response: httpx.Response) -> bool:
    return response.headers.get(REPLAYED) == "true"


def n_asked(app: FakeApp) -> int:
    return len(app.store.submitted)


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_is_answered_once_and_told_the_same_again(stream: bool) -> None:
    app = FakeApp(told=THE)
    with serving(app) as client:
        first, again = (ask(client, stream=stream) for _ in range(2))
    assert (first.status_code, is_replayed(first), n_asked(app)) == (200, False, 1)
    assert (again.status_code, is_replayed(again), again.content) == (200, True, first.content)
    own = {"date", "x-request-id", "x-muster-request-id", REPLAYED, "content-length", "transfer-encoding"}
    kept = [{name: v for name, v in r.headers.items() if name not in own} for r in (first, again)]
    assert kept[0] == kept[1]
    assert again.headers["x-muster-decision-id"] == app.store.submitted[0][0].id


def test_other_keys_and_no_key_are_other_requests() -> None:
    app = FakeApp()
    with serving(app) as client:
        ids = {ask(client, key).json()["id"] for key in ("a", "b", None, None)}
    assert (len(ids), n_asked(app)) == (4, 4)


def test_the_order_of_fields_and_blanks_make_no_other_request() -> None:
    app = FakeApp()
    with serving(app) as client:
        ask(client, seed=1)
        body = json.dumps(dict(reversed(chat(seed=1).items())), indent=3)
        headers = {"idempotency-key": "k", "content-type": "application/json"}
        assert is_replayed(client.post(URL, content=body, headers=headers))


@pytest.mark.parametrize("change", [{"seed": 2}, {"stream": True}, {"model": "beta"}, {"user": "me"}])
def test_another_content_under_the_same_key_is_refused_and_not_tried_again(change: dict[str, object]) -> None:
    app = FakeApp()
    with serving(app) as client:
        ask(client)
        other = ask(client, **change)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert other.headers["x-should-retry"] == "false"
    assert n_asked(app) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "ü".encode().decode("latin-1"), "a b"])
def test_what_cannot_be_a_key_is_refused(key: str) -> None:
    with serving(FakeApp()) as client:
        refused = client.post(URL, json=chat(), headers=[(b"idempotency-key", key.encode("latin-1"))])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "Idempotency-Key")


def test_who_comes_while_the_first_is_answered_is_told_the_same() -> None:
    app = FakeApp(gate=threading.Event())
    with serving(app) as client, ThreadPoolExecutor(3) as callers:
        replies = [callers.submit(ask, client) for _ in range(3)]
        app.dispatcher.entered.acquire(timeout=PATIENCE_S)
        app.dispatcher.gate.set()
        told = [reply.result(PATIENCE_S) for reply in replies]
    assert [reply.status_code for reply in told] == [200] * 3
    assert len({reply.content for reply in told}) == 1
    assert sorted(map(is_replayed, told)) == [False, True, True]
    assert n_asked(app) == 1


def test_who_comes_while_a_stream_is_written_reads_it_from_its_beginning() -> None:
    app = FakeApp(told=THE, gate=threading.Event())

    def read_on(reply: httpx.Response, lines: Iterator[str]) -> list[str]:
        return [*lines]

    with serving(app) as client, ThreadPoolExecutor(2) as readers:
        headers = {"idempotency-key": "k"}
        with (
            client.stream("POST", URL, json=chat(stream=True), headers=headers) as first,
            client.stream("POST", URL, json=chat(stream=True), headers=headers) as second,
        ):
            lines = [first.iter_lines(), second.iter_lines()]
            begun = [[line for _, line in zip(range(4), one, strict=False)] for one in lines]
            assert begun[0] == begun[1]
            assert "The " in begun[1][2]
            app.dispatcher.gate.set()
            rest: list[Future[list[str]]] = [
                readers.submit(read_on, reply, one) for reply, one in zip((first, second), lines, strict=True)
            ]
            ends = [one.result(PATIENCE_S) for one in rest]
    assert ends[0] == ends[1]
    assert "data: [DONE]" in ends[1]
    assert (is_replayed(first), is_replayed(second), n_asked(app)) == (False, True, 1)


def test_an_answer_that_failed_for_good_is_told_again() -> None:
    app = FakeApp(answer=Answer(text="", error_code="aggregation_failed", error="no."))
    with serving(app) as client:
        first, again = ask(client), ask(client)
    assert (first.status_code, again.status_code, n_asked(app)) == (first.status_code, first.status_code, 1)
    assert is_replayed(again)


def test_what_was_never_begun_frees_its_key_for_another_content() -> None:
    app = FakeApp()
    with serving(app) as client:
        assert ask(client, model="nobody").status_code == 404
        assert ask(client).status_code == 200


def test_a_stream_that_broke_off_is_made_anew() -> None:
    app = FakeApp(told=[[("w", 0, "Another text")]])
    with serving(app) as client:
        broken = ask(client, stream=True)
        app.dispatcher.told = ()
        mended = ask(client, stream=True)
    assert "answer_changed" in broken.text
    assert "[DONE]" in mended.text
    assert n_asked(app) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_out_of_time_the_question_goes_on_and_whoever_comes_again_waits_for_the_same(stream: bool) -> None:
    app = FakeApp(answer=None)
    with serving(app) as client:
        late = ask(client, stream=stream)
        app.store.answers_with = FakeApp().store.answers_with
        again = ask(client, stream=stream)
    assert (late.status_code, late.json()["error"]["code"]) == (504, "generation_timeout")
    assert "same Idempotency-Key" in late.json()["error"]["message"]
    assert (again.status_code, n_asked(app), app.store.states) == (200, 1, {})
    assert late.headers["x-muster-decision-id"] == again.headers["x-muster-decision-id"]


def test_a_database_that_is_away_for_a_moment_costs_no_second_question() -> None:
    app = FakeApp(fails_with=StoreUnavailableError("away."))
    with serving(app) as client:
        assert ask(client).status_code == 503
        app.store.fails_with = None
        again = ask(client)
    assert (again.status_code, is_replayed(again)) == (200, True)
    [known] = app.keyed.known.values()
    assert app.store.submitted[0][0].id == f"ask-{known.unique}"


def test_a_bug_says_nothing_of_itself_and_frees_the_key() -> None:
    app = FakeApp(fails_with=RuntimeError("secret"))
    with serving(app) as client:
        failed = ask(client)
        app.store.fails_with = None
        assert ask(client).status_code == 200
    assert (failed.status_code, "secret" in failed.text) == (500, False)


# ── clients that go away ─────────────────────────────────────────────────────────────────────────────


def leave(client: httpx.Client, app: FakeApp, *, key: str | None, stream: bool) -> None:
    """Ask, and close the connection as soon as somebody works on the question."""
    address = (client.base_url.host, client.base_url.port)
    body = json.dumps(chat(stream=stream)).encode()
    head = [f"POST {URL} HTTP/1.1", "host: localhost", "content-type: application/json"]
    head += [f"content-length: {len(body)}", *([f"idempotency-key: {key}"] if key else [])]
    with socket.create_connection(address) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        assert app.dispatcher.entered.acquire(timeout=PATIENCE_S)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_has_its_question_cancelled(stream: bool) -> None:
    app = FakeApp(gate=threading.Event())
    with serving(app) as client:
        leave(client, app, key=None, stream=stream)
        wait_for("the question is cancelled", lambda: app.store.states, within_s=PATIENCE_S)
        app.dispatcher.gate.set()
    [(job, _)] = app.store.submitted
    assert app.store.states == {job.id: JobState.CANCELLED}


@pytest.mark.parametrize("stream", [False, True])
def test_with_a_key_the_question_of_a_client_that_goes_away_is_answered(stream: bool) -> None:
    app = FakeApp(gate=threading.Event())
    with serving(app) as client:
        leave(client, app, key="k", stream=stream)
        with ThreadPoolExecutor(1) as caller:
            again = caller.submit(ask, client, stream=stream)
            app.dispatcher.gate.set()
            reply = again.result(PATIENCE_S)
    assert (reply.status_code, is_replayed(reply), n_asked(app), app.store.states) == (200, True, 1, {})


def test_as_many_keyed_requests_are_answered_at_once_as_any_whoever_waits_for_them() -> None:
    app = FakeApp(gate=threading.Event(), server=ServerSettings(max_in_flight=2))
    with serving(app) as client:
        for key in ("a", "b"):
            leave(client, app, key=key, stream=False)
        refused = ask(client, "c")
        assert "requests with a key are in flight" in refused.json()["error"]["message"]
    assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
