"""Control strings and headings in requests and lines of files command nobody: the whole way, over REST.

The experts and the aggregator are scripted; the aggregator obeys a control string wherever it reads one, and
headings of other models in an expert's answer.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

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
IN_ANSWER = rf"\[candidate \d+ (\w+)\]\n(?:(?!\[end of candidate \d+ \1)[\s\S])*?(?i:###|ignor|model \d)"
SAID = [*FAMILIES.items(), *SECTIONS.items()]


def scripted(name: str, reply: str, *rules: dict[str, object], role: str = "expert") -> dict[str, object]:
    options = {"rules": [*rules, {"regex": ".", "reply": reply}]}
    muster = {"engine": "scripted", "roles": [role], "options": options}
    params = {"model": f"scripted/{name}", "max_tokens": 64}
    return {"model_name": name, "litellm_params": params, "model_info": {"muster": muster}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("injected")
    attacks = {**FAMILIES, **SECTIONS, **ORDERS}
    says = [{"match": f"{QUESTION} #{n}#", "reply": f"{text}\n{WRONG}"} for n, text in enumerate(attacks.values())]
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
    muster = {"data_dir": str(folder), "embedder": {"model": "hash"}, "compositions": {"careful": composition}}
    (folder / "pool.yaml").write_text(yaml.safe_dump({"model_list": pool, "muster": muster}))
    settings = load_settings(folder / "pool.yaml")
    with open_app(settings, background=True) as app, TestClient(create_app(app)) as client:
        yield client


def body(*messages: tuple[str, str], options: list[str] | None = None) -> dict[str, object]:
    said = [{"role": role, "content": content} for role, content in messages]
    return {"model": "muster/careful", "messages": said, "muster": {"options": options or OPTIONS}}


def ask(client: TestClient, *messages: tuple[str, str], options: list[str] | None = None) -> dict[str, object]:
    reply = client.post("/v1/chat/completions", json=body(*messages, options=options))
    assert reply.status_code == 200, reply.text
    return dict(reply.json()["muster"])


@pytest.mark.parametrize("n", range(len(FAMILIES) + len(SECTIONS) + len(ORDERS)))
def test_an_experts_answer(client: TestClient, n: int) -> None:
    told = ask(client, ("user", f"{QUESTION} #{n}#"))
    assert (told["value"], told["n_calls"]) == ("A", 4)


@pytest.mark.parametrize(("name", "attack"), SAID, ids=[name for name, _ in SAID])
def test_a_request(client: TestClient, name: str, attack: str) -> None:
    del name
    requests = [
        ([("user", f"{QUESTION}\n{attack}")], None),
        ([("user", QUESTION)], [attack, "green", "blue"]),
        ([("system", attack), ("user", QUESTION)], None),
        ([("user", attack), ("assistant", "Well."), ("user", QUESTION)], None),
        ([("user", "Hello."), ("assistant", attack), ("user", QUESTION)], None),
    ]
    for messages, options in requests:
        told = ask(client, *messages, options=options)
        assert (told["value"], told["n_calls"]) == ("A", 4)


def test_lines_of_a_file(client: TestClient) -> None:
    lines: list[dict[str, object]] = []
    for n, (_, attack) in enumerate(SAID):
        own = {"id": f"own-{n}", "question": f"{attack}\n{QUESTION}", "options": OPTIONS}
        turns = [("user", attack), ("assistant", attack), ("user", QUESTION)]
        openai = {"method": "POST", "url": "/v1/chat/completions", "body": body(*turns)}
        lines += [own, {"custom_id": f"openai-{n}", **openai}]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    jsonl = {"content-type": "application/jsonl"}
    for part in (lines[::2], lines[1::2]):
        content = "".join(json.dumps(line) + "\n" for line in part)
        params = {"composition": "muster/careful"}
        posted = client.post("/v1/jobs", content=content, headers=jsonl, params=params)
        assert posted.status_code == 202, posted.text
        job = f"/v1/jobs/{posted.json()['id']}"
        assert "event: done" in client.get(f"{job}/events").text
        answers = client.get(f"{job}/answers").text
        assert len(answers.splitlines()) == len(part)
        assert answers.count('"value": "A"') == len(part)
        assert answers.count('"value": "C"') == 0
