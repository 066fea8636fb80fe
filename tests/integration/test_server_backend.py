"""The `server` backend against a live server that misbehaves."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from orchestrator.bootstrap.app import open_app
from orchestrator.domain.answers import FinishReason
from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, Failed, Finished, Tokens
from orchestrator.settings.schema import Settings
from tests.contracts.test_backend_contract import ask, ends
from tests.fakes.bad_server import (
    Act,
    BadServer,
    completion,
    drips,
    floods,
    hangs,
    hangs_up,
    last_piece,
    piece,
    redirects,
    refuses,
    says,
    sends,
    streams,
)
from tests.fakes.openai_server import openai_server
from tests.harness.processes import free_port
from workers.backends.registry import get_backend

KEY = "sk-secret-7"
LOOPBACK = "http://127.0.0.1"


def engine_at(
    url: str, *, retries: int = 2, allowed_fails: int = 3, cooldown_s: float = 0.0, **options: object
) -> Engine:
    access = EngineAccess(
        api_base=url,
        api_key=SecretStr(KEY),
        retries=retries,
        allowed_fails=allowed_fails,
        cooldown_s=cooldown_s,
    )
    spec = EngineSpec(id="engine", backend="server", model="openai/base", options=options)
    return get_backend("server", {"engine": access}).load(spec, ())


class Asked(NamedTuple):
    end: Finished | Failed
    pieces: list[str]


def one(engine: Engine, name: str = "a") -> Asked:
    """An interactive request to its end."""
    engine.submit(ask(name, priority=INTERACTIVE))
    pieces: list[str] = []
    while True:
        for event in engine.poll(1):
            if not isinstance(event, Tokens):
                return Asked(event, pieces)
            pieces.append(event.text)


@contextmanager
def bad_engine(*acts: Act, **options: object) -> Iterator[tuple[BadServer, Engine]]:
    with BadServer(*acts) as server:
        engine = engine_at(server.url, **options)
        try:
            yield server, engine
        finally:
            engine.close()


# ── faults ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("act", "code", "n_asked"),
    [
        (hangs, "generation_timeout", 2),
        (drips, "generation_timeout", 2),
        (hangs_up, "expert_unavailable", 2),
        (refuses(500), "expert_unavailable", 2),
        (refuses(503, retry_after="0"), "expert_unavailable", 2),
        (refuses(429, retry_after_ms="1"), "rate_limited", 2),
        (refuses(401), "expert_misconfigured", 1),
        (refuses(403), "expert_misconfigured", 1),
        (refuses(404), "expert_misconfigured", 1),
        (redirects("http://127.0.0.1:9/"), "expert_misconfigured", 1),
        (refuses(400, "maximum context length is 12"), "context_exceeded", 1),
        (refuses(422, "bad"), "request_refused", 1),
        (refuses(502, x_should_retry="false"), "expert_unavailable", 1),
        (floods, "bad_response", 1),
        (sends(b"x" * 200_000), "bad_response", 1),
        (sends(b"<html>proxy</html>", content_type="text/html"), "bad_response", 1),
        (sends(b'{"choices": [{"mess'), "bad_response", 1),
        (says({"choices": []}), "bad_response", 1),
        (says(completion(None)), "bad_response", 1),
        (streams(piece("half an"), cut=True), "bad_response", 2),
        (streams(piece("half an")), "bad_response", 2),
        (streams(piece("a"), '{"error": {"message": "out of memory"}}'), "expert_unavailable", 2),
        (streams(piece("a"), "not json"), "bad_response", 1),
    ],
)
def test_a_fault_is_an_abstention_and_the_engine_lives_on(act: Act, code: str, n_asked: int) -> None:
    """With one retry, transient faults are seen twice, the others once; the next request succeeds."""
    timeout_s = 1.0 if code == "generation_timeout" else 60.0
    acts = [act] * n_asked
    with bad_engine(
        *acts, says(completion()), retries=1, timeout_s=timeout_s, max_response_bytes=100_000
    ) as (server, engine):
        end = one(engine).end
        assert isinstance(end, Failed)
        assert end.error_code == code
        assert server.asked == n_asked
        assert isinstance(one(engine, "b").end, Finished)


def test_a_transient_fault_is_forgotten_when_the_next_attempt_succeeds() -> None:
    with bad_engine(refuses(429, retry_after="0"), refuses(500), says(completion())) as (server, engine):
        end = one(engine).end
        assert isinstance(end, Finished)
        assert (end.text, end.usage.prompt_tokens, end.usage.completion_tokens) == ("fine", 3, 1)
        assert server.asked == 3


def test_a_second_attempt_is_streamed_from_where_the_first_was_cut() -> None:
    whole = streams(piece("one "), piece("two "), piece("three"), last_piece())
    with bad_engine(streams(piece("one "), piece("two"), cut=True), whole) as (_, engine):
        end, pieces = one(engine)
        assert isinstance(end, Finished)
        assert "".join(pieces) == end.text == "one two three"


def test_a_text_that_ended_before_its_connection_broke_is_whole() -> None:
    with bad_engine(streams(piece("fine"), last_piece("length"), cut=True)) as (server, engine):
        end = one(engine).end
        assert isinstance(end, Finished)
        assert (end.text, end.finish_reason) == ("fine", FinishReason.LENGTH)
        assert server.asked == 1


def test_a_stream_in_another_servers_manner_is_read_as_it_comes() -> None:
    """Lines that end with CR, events that say nothing, counts as text."""
    end = '{"choices": null, "usage": {"prompt_tokens": "3", "completion_tokens": "many"}}'
    events = ["[]", piece("So "), '{"type": "ping"}', piece("so."), last_piece(), end, "[DONE]"]
    body = "".join(f"data: {event}\r\r" for event in events).encode()
    with BadServer(sends(body, content_type="text/event-stream")) as server:
        engine = engine_at(server.url)
        asked = one(engine)
        engine.close()
    assert isinstance(asked.end, Finished)
    assert (asked.end.text, "".join(asked.pieces)) == ("So so.", "So so.")
    assert (asked.end.usage.prompt_tokens, asked.end.usage.completion_tokens) == (3, 1)


def test_streaming_that_is_not_understood_is_not_asked_for_again() -> None:
    acts = (refuses(422, "extra", param="stream_options"), refuses(400, "stream: no"), says(completion()))
    with bad_engine(*acts) as (server, engine):
        assert isinstance(one(engine).end, Finished)
        end, pieces = one(engine, "b")
        assert isinstance(end, Finished)
        assert pieces == ["fine"]
        streaming = [sorted({"stream", "stream_options"} & body.keys()) for body in server.bodies]
        assert streaming == [["stream", "stream_options"], ["stream"], [], []]


def test_a_server_that_asks_for_more_patience_than_there_is_is_left_alone() -> None:
    with bad_engine(refuses(429, retry_after="3600"), says(completion()), patience_s=60.0) as (
        server,
        engine,
    ):
        for name in ("a", "b"):
            end = one(engine, name).end
            assert isinstance(end, Failed)
            assert end.error_code == "rate_limited"
        assert server.asked == 1


def test_an_output_that_leaves_no_room_for_a_prompt_is_refused_before_the_call() -> None:
    with bad_engine(says(completion())) as (server, engine):
        engine.submit(ask("all", max_tokens=4096))
        engine.submit(ask("most", max_tokens=4095))
        found = {end.id: end for end in ends(engine, 2)}
        refused = found["all"]
        assert isinstance(refused, Failed)
        assert refused.error_code == "context_exceeded"
        assert "raise the engine's max_model_len" in refused.error
        assert isinstance(found["most"], Finished)
        assert [body["max_tokens"] for body in server.bodies] == [4095]


def test_refused_credentials_are_not_sent_again_for_a_while() -> None:
    with bad_engine(refuses(401), cooldown_s=3600) as (server, engine):
        for name in ("a", "b", "c"):
            end = one(engine, name).end
            assert isinstance(end, Failed)
            assert end.error_code == "expert_misconfigured"
        assert server.asked == 1


def test_when_the_probe_fails_all_that_waits_fails_with_it() -> None:
    with bad_engine(refuses(500), retries=0, allowed_fails=0, cooldown_s=0.05, max_concurrent=1) as (
        server,
        engine,
    ):
        for i in range(20):
            engine.submit(ask(str(i)))
        found = ends(engine, 20)
        assert {end.error_code for end in found if isinstance(end, Failed)} == {"expert_unavailable"}
        assert server.asked < 20


def test_aborted_request_ends_at_once_and_frees_its_place() -> None:
    with bad_engine(hangs, says(completion()), max_concurrent=1) as (server, engine):
        engine.submit(ask("hangs"))
        engine.submit(ask("waits"))
        while not server.asked:
            engine.poll(0.05)
        engine.abort("hangs")
        found = ends(engine, 2)
        assert [end.id for end in found] == ["hangs", "waits"]
        assert isinstance(found[0], Failed)
        assert found[0].error_code == "aborted"
        assert isinstance(found[1], Finished)


def test_at_most_so_many_calls_run_at_once() -> None:
    with bad_engine(hangs, max_concurrent=3) as (server, engine):
        for i in range(9):
            engine.submit(ask(str(i)))
        while server.asked < 3:
            engine.poll(0.05)
        engine.poll(0.1)
        assert server.asked == 3


def test_the_key_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with bad_engine(refuses(401, f"wrong key {KEY}")) as (server, engine):
        end = one(engine).end
        assert isinstance(end, Failed)
        assert end.error == "HTTP 401: wrong key [api_key] (check api_key)"
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert KEY not in repr(EngineAccess(api_key=SecretStr(KEY)))


# ── loading ───────────────────────────────────────────────────────────────────────────────────────


def test_nobody_there_is_a_load_error() -> None:
    with pytest.raises(EngineLoadError, match=r"cannot be reached.*Start the server"):
        engine_at(f"{LOOPBACK}:{free_port()}/v1")


def test_a_model_that_is_not_offered_is_a_load_error_with_those_that_are() -> None:
    server = BadServer(hangs, models=("alpha", "beta"))
    with server, pytest.raises(EngineLoadError, match=r"does not offer 'base'. It offers: alpha, beta\."):
        engine_at(server.url)


def test_the_model_is_not_looked_for_where_that_is_asked() -> None:
    with BadServer(says(completion()), models=()) as server:
        engine = engine_at(server.url, check_models=False)
        assert isinstance(one(engine).end, Finished)
        engine.close()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://host/v1?key=1", "http://"])
def test_an_address_that_is_none_is_a_load_error(url: str) -> None:
    with pytest.raises(EngineLoadError) as caught:
        engine_at(url)
    assert caught.value.param == "api_base"


def test_the_pool_file_leads_to_the_server_and_its_key_stays_out_of_the_database(tmp_path: Path) -> None:
    """Prompt 2 words, answer 2 words: 2 * 0.5 + 2 * 1.0 USD by the file's prices."""
    with openai_server(script={"answers": {"say hello": "hello there"}}) as server:
        params = {
            "model": "openai/base",
            "api_base": server.url,
            "api_key": KEY,
            "max_tokens": 20,
            "rpm": 600,
        }
        info = {
            "input_cost_per_token": 0.5,
            "output_cost_per_token": 1.0,
            "muster": {"engine": "server", "prompt": "plain"},
        }
        member = {"model_name": "hosted", "litellm_params": params, "model_info": info}
        section = {"data_dir": tmp_path, "embedder": {"model": "hash"}}
        settings = Settings.model_validate({"model_list": [member], "muster": section})
        with open_app(settings) as app:
            answer = app.asking.ask(Query(id="q", question="say hello"), AskOptions(model="hosted"))
    assert answer.text == "hello there"
    assert answer.usage.cost_usd == pytest.approx(3.0)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in content for content in files)
