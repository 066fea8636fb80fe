"""Traces of real questions over scripted experts, with the exporter in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.bootstrap.tracing import open_tracer
from orchestrator.domain.metrics import OTHER
from orchestrator.errors import ConfigError
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import TracingSettings
from tests.fakes.traces import Recorder, as_text, paths, recorder
from tests.integration.scripted_pool import EXPERTS, question, write_pool, write_questions

CHAT = "/v1/chat/completions"
FAILS = 150
TRACE, SPAN = "ab" * 16, "cd" * 8


@pytest.fixture
def traces() -> Recorder:
    return recorder()


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: Recorder) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    rules = [{"match": question(FAILS), "fail": "context_exceeded"}]
    with open_app(
        load_settings(write_pool(tmp_path, rules=rules)), background=True, tracer=traces.tracer
    ) as app:
        yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, number: int, **headers: str) -> dict[str, object]:
    options = [str(2 * number + more) for more in range(3)]
    messages = [{"role": "user", "content": question(number)}]
    body = {"model": "muster/majority_all", "messages": messages, "muster": {"options": options}}
    answer: dict[str, object] = client.post(CHAT, json=body, headers=headers).json()
    return answer


def test_an_ensemble_is_one_trace_from_the_request_to_each_generation(
    client: TestClient, app: App, traces: Recorder
) -> None:
    ask(client, 30)
    app.dispatcher.stop()
    asked = "POST > invoke_workflow muster/majority_all"
    assert paths(traces.spans) == {
        "POST",
        asked,
        *(f"{asked} > {stage}" for stage in ("annotate", "recruit", "experts", "aggregate")),
        *(f"{asked} > experts > chat {expert}" for expert in EXPERTS),
    }
    assert len({span.context.trace_id for span in traces.spans}) == 1


def test_spans_have_the_attributes_that_others_know_and_no_content(
    client: TestClient, app: App, traces: Recorder
) -> None:
    answer = ask(client, 31)
    app.dispatcher.stop()
    by_name = {span.name: dict(span.attributes or {}) for span in traces.spans}
    chat = by_name["chat alpha"]
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.request.model"] == chat["gen_ai.response.model"] == "alpha"
    assert chat["gen_ai.usage.input_tokens"] > 0
    assert chat["gen_ai.response.finish_reasons"] == ("stop",)
    workflow = by_name["invoke_workflow muster/majority_all"]
    assert workflow["gen_ai.operation.name"] == "invoke_workflow"
    usage = answer["usage"]
    assert workflow["gen_ai.usage.output_tokens"] == usage["completion_tokens"]  # type: ignore[index]
    assert by_name["POST"] == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
    }
    assert question(31) not in as_text(traces.spans)
    assert "The answer is" not in as_text(traces.spans)


def test_a_client_that_traces_finds_the_question_in_its_own_trace(
    client: TestClient, app: App, traces: Recorder
) -> None:
    ask(client, 32, traceparent=f"00-{TRACE}-{SPAN}-01")
    app.dispatcher.stop()
    assert {f"{span.context.trace_id:032x}" for span in traces.spans} == {TRACE}
    [request] = [span for span in traces.spans if span.name == "POST"]
    assert f"{request.parent.span_id:016x}" == SPAN  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    ["", "x", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01", "00-" * 4000],
)
def test_what_is_no_traceparent_begins_a_trace(
    client: TestClient, app: App, traces: Recorder, wrong: str
) -> None:
    client.get("/v1/models", headers={"traceparent": wrong})
    [request] = traces.spans
    assert request.parent is None


def test_a_client_that_traces_without_listening_is_not_told_of(
    client: TestClient, app: App, traces: Recorder
) -> None:
    ask(client, 33, traceparent=f"00-{TRACE}-{SPAN}-00")
    app.dispatcher.stop()
    assert traces.spans == ()


def test_what_failed_says_by_what(client: TestClient, app: App, traces: Recorder) -> None:
    ask(client, FAILS)
    app.dispatcher.stop()
    failed = {span.name: span.attributes["error.type"] for span in traces.spans if not span.status.is_ok}  # type: ignore[index]
    assert failed["chat alpha"] == "context_exceeded"


def test_paths_of_strangers_are_not_told(client: TestClient, traces: Recorder) -> None:
    client.get("/v1/nothing/s3cret")
    client.get("/health/live")
    [request] = traces.spans
    assert request.attributes["http.route"] == OTHER  # type: ignore[index]
    assert "s3cret" not in as_text(traces.spans)


def test_a_batch_has_spans_of_passes_that_link_to_the_jobs_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: Recorder
) -> None:
    """Two files of 20 lines on three engines: a few spans, not one for each of the 120 calls."""
    monkeypatch.chdir(tmp_path)
    headers = {"content-type": "application/jsonl"}
    with (
        open_app(load_settings(write_pool(tmp_path)), tracer=traces.tracer) as app,
        TestClient(create_app(app)) as client,
    ):
        for first in (40, 70):
            lines = write_questions(tmp_path / f"{first}.jsonl", range(first, first + 20)).read_bytes()
            job = client.post("/v1/jobs?composition=majority_all", content=lines, headers=headers).json()
        app.jobs.run(job["id"])
    passes = [span for span in traces.spans if span.name.startswith("chat ")]
    assert sum(span.attributes["muster.calls"] for span in passes) >= 60  # type: ignore[index]
    assert len(passes) < 40
    asked = "POST > invoke_workflow muster/majority_all"
    assert {path.removeprefix(asked) for path in paths(traces.spans)} >= {"", " > recruit", " > chat alpha"}
    linked = [span for span in passes if span.links]
    assert linked
    assert all(link.context.trace_id != span.context.trace_id for span in linked for link in span.links)


def test_without_a_collector_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert open_tracer(TracingSettings()) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracer = open_tracer(TracingSettings())
    assert tracer is not None
    tracer.close()


def test_a_collector_without_the_library_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(ConfigError, match="muster\\[otel\\]"):
        open_tracer(TracingSettings(endpoint="http://127.0.0.1:1"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert open_tracer(TracingSettings()) is None
