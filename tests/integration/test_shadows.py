"""Shadows through the real app: some questions are answered twice, compared, and nobody is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.assignments import BATCH
from orchestrator.errors import ConfigError
from orchestrator.services.shadowing import is_drawn
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for

CHAT = "/v1/chat/completions"
LIVE = [{"match": "paris", "reply": "The answer is (A)."}, {"regex": ".", "reply": "The answer is (B)."}]
OTHER = [{"match": "broken", "fail": "request_refused"}, {"regex": ".", "reply": "I say: the answer is (A)."}]


def settings_file(folder: Path, **shadow: object) -> Path:
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {"muster": {"engine": "scripted", "options": {"rules": rules}}},
        }
        for name, rules in (("live", LIVE), ("other", OTHER))
    ]
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}, "shadow": shadow}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    path = settings_file(tmp_path, composition="other", share=1.0)
    with open_app(load_settings(path), background=True) as app:
        yield app


def ask(app: App, question: str, **fields: object) -> str:
    """The job that answered a choice."""
    body = {"model": "live", "messages": [{"role": "user", "content": question}], **fields}
    body["muster"] = {"options": ["yes", "no"]}
    reply = TestClient(create_app(app)).post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["muster"]["job_id"])


def shadows(app: App, n: int) -> None:
    wait_for("the shadows to end", lambda: len(app.store.ended_shadows(limit=100)) >= n, within_s=60)


def test_a_shadow_answers_the_same_by_another_composition_when_nothing_else_waits(app: App) -> None:
    job_id = ask(app, "Is it paris?", temperature=0.5, max_tokens=9)
    shadows(app, 1)
    shadow = app.jobs.job(f"shadow-{job_id}").job
    assert (shadow.kind, shadow.composition, shadow.priority) == ("shadow", "expert:other", BATCH)
    assert (shadow.temperature, shadow.max_tokens) == (0.5, 9)
    live, other = (app.store.query_record(i, None).query for i in (job_id, shadow.id))
    assert live.content_hash == other.content_hash


def test_answers_are_compared_as_votes_are(app: App) -> None:
    """Of three pairs one agrees; the shadow that failed is in no pair."""
    for question in ("Is it paris?", "Is it rome?", "Is it oslo?", "Is it broken?"):
        ask(app, question)
    shadows(app, 4)
    report = TestClient(create_app(app)).get("/v1/shadow").json()
    assert (report["composition"], report["share"]) == ("other", 1.0)
    assert (report["n"], report["n_failed"], report["n_unread"]) == (3, 1, 0)
    assert report["agreement"]["value"] == pytest.approx(1 / 3)
    low, high = report["agreement"]["ci95"]
    assert 0 <= low < report["agreement"]["value"] < high <= 1
    assert report["more_usd"]["value"] == pytest.approx(report["cost_usd"] - report["shadow_cost_usd"])


def test_without_pairs_there_is_nothing_to_compare(app: App) -> None:
    report = TestClient(create_app(app)).get("/v1/shadow").json()
    assert (report["n"], report["agreement"], report["more_seconds"]) == (0, None, None)


def test_what_the_shadowing_composition_answers_is_not_shadowed(app: App) -> None:
    assert not app.shadowing.shadow(ask(app, "Is it paris?", model="other"))


def test_no_more_shadows_are_begun_than_may_be_under_way(tmp_path: Path) -> None:
    """Nobody works in the second app, so that its shadow stays under way."""
    path = settings_file(tmp_path, composition="other", share=0.0, max_waiting=1)
    with open_app(load_settings(path), background=True) as app:
        asked = [ask(app, "Is it paris?"), ask(app, "Is it rome?")]
    with open_app(load_settings(path)) as idle:
        assert [idle.shadowing.shadow(job_id) for job_id in ["ask-gone", *asked]] == [False, True, False]


def test_nothing_is_shadowed_without_a_composition(tmp_path: Path) -> None:
    with open_app(load_settings(settings_file(tmp_path)), background=True) as app:
        ask(app, "Is it paris?")
        assert not app.shadowing.is_on
        assert [p.job.kind for p in app.jobs.jobs()] == ["ask"]


def test_an_unknown_composition_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="nobody") as refused,
        open_app(load_settings(settings_file(tmp_path, composition="nobody"))),
    ):
        pass
    assert refused.value.param == "muster.shadow.composition"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_drawn_by_the_jobs_names(share: float) -> None:
    """Of 2000 questions; a tenth more or less is far outside of chance."""
    drawn = sum(is_drawn(f"ask-{i}", share) for i in range(2000)) / 2000
    assert drawn == pytest.approx(share, abs=0.1 * share)
