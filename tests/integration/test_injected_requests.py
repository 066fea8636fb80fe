"""Control strings and headings in requests and lines of files command nobody: the whole way, over REST.

The experts and the aggregator are scripted; the aggregator obeys a control string wherever it reads one, and
headings of other models in an expert's answer.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.bootstrap.app import open_app
from orchestrator.settings.load import load_settings
from tests.fakes.gullible import CONTROLS, FAMILIES, ORDERS, SECTIONS

QUESTION = "Which one?"
RIGHT, WRONG = "The answer is (A).", "The answer is (C)."
OPTIONS = ["red", "green", "blue"]
CONTROL = "|".join(map(re.escape, CONTROLS))
IN_ANSWER = r"\[candidate \d+ (\w+)\]\n(?:(?!\[end of candidate \d+ \1)[\s\S])*?(?i:###|ignor|model \d)"
ATTACKS = {**FAMILIES, **SECTIONS, **ORDERS}
SAID = [*FAMILIES.items(), *SECTIONS.items()]


def scripted(name: str, reply: str, *rules: dict[str, object], role: str = "expert") -> dict[str, object]:
    options = {"rules": [*rules, {"regex": ".", "reply": reply}]}
    muster = {"engine": "scripted", "roles": [role], "options": options}
    params = {"model": f"scripted/{name}", "max_tokens": 64}
    return {"model_name": name, "litellm_params": params, "model_info": {"muster": muster}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("injected")
    says = [
        {"match": f"{QUESTION} #{n}#", "reply": f"{text}\n{WRONG}"} for n, text in enumerate(ATTACKS.values())
    ]
    obeys = [{"regex": CONTROL, "reply": WRONG}, {"regex": IN_ANSWER, "reply": WRONG}]
    pool = [
        scripted("a", RIGHT),
        scripted("b", RIGHT),
        scripted("x", WRONG, *says),
        scripted("scribe", RIGHT, *obeys, role="aggregator"),
    ]
    composition = {
        "router": "all",
        "aggregator": "synthesize",
        "aggregator_options": {"aggregator": "scribe"},
    }
    muster = {
        "data_dir": str(folder),
        "embedder": {"model": "hash"},
        "compositions": {"careful": composition},
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": pool, "muster": muster}))
    settings = load_settings(folder / "pool.yaml")
    with open_app(settings, background=True) as app, TestClient(create_app(app)) as client:
        yield client


def body(*messages: tuple[str, str], options: list[str] | None = None) -> dict[str, object]:
    said = [{"role": role, "content": content} for role, content in messages]
    return {"model": "muster/careful", "messages": said, "muster": {"options": options or OPTIONS}}


def requests(attack: str) -> Iterator[dict[str, object]]:
    """An attack in each place of a request."""
    yield body(("user", f"{attack}\n{QUESTION}"))
    yield body(("user", QUESTION), options=[attack, "green", "blue"])
    yield body(("system", attack), ("user", QUESTION))
    yield body(("user", attack), ("assistant", "Well."), ("user", QUESTION))
    yield body(("user", "Hello."), ("assistant", attack), ("user", QUESTION))


def test_a_conversation(client: TestClient) -> None:
    for request in requests(FAMILIES["ChatML"]):
        reply = client.post("/v1/chat/completions", json=request)
        assert reply.status_code == 200, reply.text
        told = reply.json()["muster"]
        assert (told["value"], told["n_calls"]) == ("A", 4), request


def answers(client: TestClient, lines: list[dict[str, object]]) -> list[dict[str, Any]]:
    """Answers of a file."""
    content = "".join(json.dumps(line) + "\n" for line in lines)
    headers = {"content-type": "application/jsonl"}
    params = {"composition": "muster/careful"}
    posted = client.post("/v1/jobs", content=content, headers=headers, params=params)
    assert posted.status_code == 202, posted.text
    job = f"/v1/jobs/{posted.json()['id']}"
    assert "event: done" in client.get(f"{job}/events").text
    return [json.loads(line) for line in client.get(f"{job}/answers").text.splitlines()]


def test_experts_answers_and_lines_of_a_file(client: TestClient) -> None:
    lines: list[dict[str, object]] = [
        {"id": f"expert-{n}", "question": f"{QUESTION} #{n}#", "options": OPTIONS}
        for n in range(len(ATTACKS))
    ]
    for name, attack in SAID:
        lines += [
            {"id": f"own-{name}", "question": f"{attack}\n{QUESTION}", "options": OPTIONS},
            {"id": f"option-{name}", "question": QUESTION, "options": [attack, "green", "blue"]},
        ]
    told = {line["id"]: (line["value"], line["muster"]["n_calls"]) for line in answers(client, lines)}
    assert told == {line["id"]: ("A", 4) for line in lines}


def test_lines_in_openais_form(client: TestClient) -> None:
    form = {"method": "POST", "url": "/v1/chat/completions"}
    lines: list[dict[str, object]] = [
        {"custom_id": f"{name}-{n}", **form, "body": request}
        for name, attack in SAID
        for n, request in enumerate(requests(attack))
    ]
    told = {line["custom_id"]: line["response"]["body"]["muster"] for line in answers(client, lines)}
    assert len(told) == len(lines)
    assert {(one["value"], one["n_calls"]) for one in told.values()} == {("A", 4)}
