"""The `remote` backend with the real litellm against a server that misbehaves."""

import logging

import pytest
from pydantic import SecretStr

from orchestrator.domain.answers import FinishReason
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, Failed, Finished
from tests.contracts.test_backend_contract import ask, ends
from tests.fakes.bad_server import Act, BadServer, completion, drips, hangs, hangs_up, refuses, says, sends
from workers.backends.registry import get_backend

KEY = "sk-secret-7"


def engine_at(url: str | None, *, model: str = "openai/base", **options: object) -> Engine:
    access = EngineAccess(api_base=url, api_key=SecretStr(KEY) if url else None, retries=1, cooldown_s=0.0)
    spec = EngineSpec(id="engine", backend="remote", model=model, options=options)
    return get_backend("remote", {"engine": access}).load(spec, ())


@pytest.fixture(scope="module", autouse=True)
def _first_call() -> None:
    """litellm's first call takes seconds, longer than some timeouts here."""
    with BadServer(says(completion())) as server:
        engine = engine_at(server.url)
        engine.submit(ask("a"))
        assert isinstance(ends(engine, 1)[0], Finished)
        engine.close()


@pytest.mark.parametrize(
    ("act", "code", "n_asked"),
    [
        (hangs, "generation_timeout", 2),
        (drips, "generation_timeout", 2),
        (hangs_up, "expert_unavailable", 2),
        (refuses(500), "expert_unavailable", 2),
        (refuses(503), "expert_unavailable", 2),
        (refuses(429, retry_after_ms="1"), "rate_limited", 2),
        (refuses(401), "expert_misconfigured", 1),
        (refuses(404), "expert_misconfigured", 1),
        (refuses(400, "This model's maximum context length is 12"), "context_exceeded", 1),
        (refuses(422), "request_refused", 1),
        (sends(b"<html>proxy</html>", content_type="text/html"), "expert_unavailable", 2),
        (sends(b'{"choices": [{"mess'), "expert_unavailable", 2),
        (says({"choices": []}), "bad_response", 1),
        (says(completion(None)), "bad_response", 1),
    ],
)
def test_a_fault_is_an_abstention_and_nobody_retries_but_us(act: Act, code: str, n_asked: int) -> None:
    with BadServer(*[act] * n_asked, says(completion("x", reason="length"))) as server:
        engine = engine_at(server.url, timeout_s=1.0 if code == "generation_timeout" else 60.0)
        engine.submit(ask("a"))
        (failed,) = ends(engine, 1)
        assert isinstance(failed, Failed)
        assert failed.error_code == code
        assert server.asked == n_asked
        engine.submit(ask("b"))
        (finished,) = ends(engine, 1)
        assert isinstance(finished, Finished)
        assert finished.finish_reason is FinishReason.LENGTH
        engine.close()


def test_retry_after_comes_through_litellm_and_is_obeyed() -> None:
    with BadServer(refuses(429, retry_after="3600"), says(completion())) as server:
        engine = engine_at(server.url, patience_s=60.0)
        for name in ("a", "b"):
            engine.submit(ask(name))
            (failed,) = ends(engine, 1)
            assert isinstance(failed, Failed)
            assert failed.error_code == "rate_limited"
        engine.close()
        assert server.asked == 1


def test_the_key_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="")
    with BadServer(refuses(401, f"wrong key {KEY}")) as server:
        engine = engine_at(server.url)
        engine.submit(ask("a"))
        (failed,) = ends(engine, 1)
        engine.close()
        assert isinstance(failed, Failed)
        assert "wrong key [api_key]" in failed.error
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text


def test_what_litellm_cannot_call_is_found_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EngineLoadError, match="OPENAI_API_KEY"):
        engine_at(None)
    with pytest.raises(EngineLoadError, match="no provider"):
        engine_at(None, model="nobodys-model")
