"""Conversations through the real app: their turns stay with their experts, also after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings

CHAT = "/v1/chat/completions"
EXPERTS = ("one", "two", "three", "four")
SEEDS = range(8)
"""Under which the router draws each of the experts at least once, where it draws anew."""


def settings_file(folder: Path, **sessions: object) -> Path:
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {"muster": {"engine": "scripted", "options": {"default": "echo"}}},
        }
        for name in EXPERTS
    ]
    muster = {
        "data_dir": str(folder / "data"),
        "embedder": {"model": "hash"},
        "compositions": {"draw": {"router": "random", "router_options": {"k": 1}, "aggregator": "first"}},
        "sessions": sessions,
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with open_app(load_settings(settings_file(tmp_path)), background=True) as app:
        yield app


def answered_by(app: App, seed: int, session: str | None = None, **fields: object) -> str:
    muster = {} if session is None else {"session": session}
    messages = [{"role": "user", "content": f"Question {seed}?"}]
    body = {"model": "muster/draw", "messages": messages, "seed": seed, "muster": muster, **fields}
    reply = TestClient(create_app(app)).post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["muster"]["answered_by"])


def test_turns_of_a_session_stay_with_the_first_ones_expert(app: App) -> None:
    assert len({answered_by(app, seed) for seed in SEEDS}) > 1
    assert len({answered_by(app, seed, "talk") for seed in SEEDS}) == 1


def test_sessions_do_not_touch_each_other(app: App) -> None:
    drawn = {seed: answered_by(app, seed) for seed in SEEDS}
    assert {seed: answered_by(app, seed, f"talk-{seed}") for seed in SEEDS} == drawn


def test_a_turn_that_stays_says_so(app: App) -> None:
    first = answered_by(app, 0, "talk")
    other = next(seed for seed in SEEDS if answered_by(app, seed) != first)
    assert answered_by(app, other, "talk") == first
    newest = app.jobs.jobs(limit=1)[0].job
    assert newest.session == "talk"
    decision = app.store.last_decision("", "talk")
    assert decision is not None
    assert decision.notes[-1] == "the conversation's experts stay: 0.00 less accurate than the best"


def test_a_turn_leaves_whom_its_terms_leave_out_and_stays_with_the_next(app: App) -> None:
    first = answered_by(app, 0, "talk")
    others = [name for name in EXPERTS if name != first]
    second = answered_by(app, 1, "talk", muster={"session": "talk", "experts": others})
    assert second in others
    assert {answered_by(app, seed, "talk") for seed in SEEDS} == {second}


def test_a_session_outlives_the_process(tmp_path: Path) -> None:
    path = settings_file(tmp_path)
    with open_app(load_settings(path), background=True) as app:
        first = answered_by(app, 0, "talk")
    with open_app(load_settings(path), background=True) as app:
        assert {answered_by(app, seed, "talk") for seed in SEEDS} == {first}


def test_other_fields_name_a_session_where_the_settings_say_so(tmp_path: Path, app: App) -> None:
    folder = tmp_path / "named"
    folder.mkdir()
    path = settings_file(folder, fields=["prompt_cache_key", "user"])
    with open_app(load_settings(path), background=True) as named:
        assert len({answered_by(named, seed, user="me") for seed in SEEDS}) == 1
        assert len({answered_by(named, seed, prompt_cache_key="mine", user="me") for seed in SEEDS}) == 1
    assert len({answered_by(app, seed, user="me", prompt_cache_key="mine") for seed in SEEDS}) > 1


def test_what_goes_on_from_a_response_is_a_turn_of_its_session(app: App) -> None:
    client = TestClient(create_app(app))
    said: dict[str, object] = {"model": "muster/draw"}
    first = client.post("/v1/responses", json={**said, "input": "A?"}).json()
    second = client.post(
        "/v1/responses", json={**said, "input": "B?", "previous_response_id": first["id"]}
    ).json()
    sessions = {progress.job.id: progress.job.session for progress in app.jobs.jobs()}
    assert sessions[second["muster"]["job_id"]] == first["id"] == sessions[first["muster"]["job_id"]]


@pytest.mark.parametrize("session", ["", "x" * 513, 7, ["s"], "nul\x00"])
def test_what_cannot_name_a_session_is_refused(app: App, session: object) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "?"}], "muster": {"session": session}}
    reply = TestClient(create_app(app), raise_server_exceptions=False).post(CHAT, json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "muster.session"
