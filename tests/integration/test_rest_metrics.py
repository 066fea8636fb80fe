"""`/metrics` over scripted experts: numbers of requests, calls, loads, queues; labels from fixed sets."""

import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from api.main import create_app
from orchestrator import __version__
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.metrics import METRICS, OTHER
from orchestrator.domain.usage import ROLES
from orchestrator.settings.load import load_settings
from tests.integration.scripted_pool import EXPERTS, question, write_pool, write_questions

CHAT = "/v1/chat/completions"

Labels = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder)), background=True) as app:
            yield app


@pytest.fixture
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), raise_server_exceptions=False) as client:
        yield client


def scrape(client: TestClient) -> dict[tuple[str, Labels], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float:
    return scrape(client).get((name, frozenset(labels.items())), 0.0)


def chat(client: TestClient, number: int, model: str = "muster/majority_all") -> None:
    options = [str(2 * number + more) for more in range(3)]
    body = {"model": model, "messages": [{"role": "user", "content": question(number)}]}
    assert client.post(CHAT, json={**body, "muster": {"options": options}}).status_code == 200


def test_every_metric_has_its_name_and_help_before_anything_happened(client: TestClient) -> None:
    text = client.get("/metrics").text
    for metric in METRICS:
        assert f"# HELP {metric.name} " in text or f"# HELP {metric.name.removesuffix('_total')} " in text


def test_a_question_is_counted_with_its_calls_tokens_loads_and_stages(client: TestClient, app: App) -> None:
    before = scrape(client)
    chat(client, 30)
    after = scrape(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after.get(key, 0.0) - before.get(key, 0.0)

    endpoint = {"endpoint": CHAT}
    assert grown("muster_requests_total", **endpoint, model="muster/majority_all", outcome="ok") == 1
    assert grown("muster_request_duration_seconds_count", **endpoint) == 1
    for stage, n in {"annotate": 1, "recruit": 1, "experts": 3, "aggregate": 1}.items():
        assert grown("muster_stage_duration_seconds_count", stage=stage) == n
    for expert in EXPERTS:
        tokens = {"model": expert, "role": "expert"}
        assert grown("muster_tokens_total", **tokens, direction="input") > 0
        assert grown("muster_tokens_total", **tokens, direction="output") > 0
        engine = app.pool.by_id[expert].engine.id
        assert after["muster_model_loads_total", frozenset({("model", engine), ("kind", "cold")})] >= 1
        assert after["muster_model_load_seconds_count", frozenset({("model", engine), ("kind", "cold")})] >= 1
    assert grown("muster_group_size_count") >= 3


def test_lines_of_batches_are_counted_by_how_they_end(client: TestClient, app: App, tmp_path: Path) -> None:
    before = value(client, "muster_batch_lines_total", state="completed")
    lines = write_questions(tmp_path / "lines.jsonl", range(40, 45)).read_bytes()
    headers = {"content-type": "application/jsonl"}
    job = client.post("/v1/jobs?composition=majority_all", content=lines, headers=headers).json()
    app.jobs.run(job["id"])
    assert value(client, "muster_batch_lines_total", state="completed") == before + 5
    assert value(client, "muster_reserved_cost") == 0


def test_strangers_make_no_new_series(client: TestClient, app: App) -> None:
    """Random models, paths, methods and streams: the label values stay within what is configured."""
    draw = random.Random(7)

    def word() -> str:
        return "".join(draw.choices(string.ascii_letters + string.digits + "-_./%", k=draw.randint(1, 30)))

    for _ in range(60):
        client.post(CHAT, json={"model": word(), "messages": [{"role": "user", "content": "?"}]})
        client.request(draw.choice(["GET", "POST", "DELETE", "PUT"]), "/" + word())
        client.get(f"/v1/models/{word()}")
        client.get(f"/v1/jobs/{word()}")
        client.get(f"/v1/experts/{word()}/card")
    names = {name for name, _ in scrape(client)}
    values: dict[str, set[str]] = {}
    for _, labels in scrape(client):
        for label, said in labels:
            values.setdefault(label, set()).add(said)
    templates = set(client.app.openapi()["paths"]) | {"/"}  # type: ignore[attr-defined]
    models = {*app.pool.by_id, *app.pool.engines, *app.catalogue.names}
    models |= {f"muster/{name}" for name in app.catalogue.names}
    assert values["endpoint"] <= templates | {OTHER}
    assert values["model"] <= models | {OTHER, ""}
    assert values["role"] <= set(ROLES)
    assert values["outcome"] <= {"ok", "refused", "limited", "failed", "left"}
    assert OTHER in values["endpoint"]
    assert OTHER in values["model"]
    assert {name.split("_")[0] for name in names} == {"muster"}


def test_the_same_version_is_told_everywhere(client: TestClient) -> None:
    assert client.get("/version").json() == {"version": __version__}
    assert client.get("/v1").json()["version"] == __version__
    assert client.get("/openapi.json").json()["info"]["version"] == __version__
    assert f"Muster {__version__}" in client.get("/").text
    processes = [p for host in client.get("/v1/system").json()["hosts"] for p in host["processes"]]
    assert [process["versions"]["muster"] for process in processes] == [__version__]
