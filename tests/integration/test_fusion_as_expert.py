"""A fusion is an expert: asked by the command line and over HTTP, profiled, recruited, streamed, in a batch.

Its large member is the zoo's generalist, which is its base, too: so `dynamic` chooses alpha 1 at every token,
and the answers are those of the expert `reverse`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.cli.main import main
from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings

ZOO = Path(__file__).parents[2] / "examples/zoo"
QUESTIONS = [json.loads(line) for line in (ZOO / "test.jsonl").read_text().splitlines()[:4]]
CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.zoo


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion")
    (folder / "models").symlink_to(ZOO / "models")
    path = folder / "pool.yaml"
    path.write_text(
        """
model_list:
  - model_name: fused
    litellm_params: {model: models/generalist, max_tokens: 24}
    model_info:
      muster:
        engine: fusion
        prompt: plain
        max_model_len: 512
        options: {rule: dynamic, base: models/generalist, experts: [{model: models/reverse}]}
  - model_name: reverse
    litellm_params: {model: models/reverse, max_tokens: 24}
    model_info: {muster: {prompt: plain, max_model_len: 512}}
muster:
  embedder: {model: hash}
  data_dir: data
"""
    )
    return path


@pytest.fixture(scope="module")
def app(pool: Path) -> Iterator[App]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pool.parent)
        with open_app(load_settings(pool), background=True) as app:
            yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app)) as client:
        yield client


def chat(model: str, number: int = 0, **muster: Any) -> dict[str, Any]:
    asked = QUESTIONS[number]
    messages = [{"role": "user", "content": asked["question"]}]
    return {"model": model, "messages": messages, "muster": {"options": asked["options"], **muster}}


def muster_json(pool: Path, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["--config", str(pool), *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_command_line_tells_the_trace(
    pool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pool.parent)
    asked = QUESTIONS[0]
    words = ["ask", "-c", "fused", asked["question"], *(f"--option={option}" for option in asked["options"])]

    answer = muster_json(pool, capsys, *words, "--json")
    assert main(["--config", str(pool), *words, "--trace"]) == 0

    assert answer["value"] == "B"
    trace = answer["muster"]["fusion"]
    n_tokens = answer["muster"]["usage_by_role"]["expert"]["completion_tokens"]
    assert trace["rule"] == "dynamic"
    assert {step["alpha"] for step in trace["steps"]} == {1.0}
    assert len(trace["steps"]) == n_tokens
    assert trace["passes"] == {"large": n_tokens, "experts[0]": n_tokens, "base": 0}
    assert trace["seconds"] > 0
    shown = capsys.readouterr().out
    assert "Fusion dynamic" in shown
    assert "passes: large" in shown


def test_chat_has_the_trace_if_it_is_asked_for_and_the_cost_always(client: TestClient) -> None:
    traced = client.post(CHAT, json=chat("fused", trace=True)).json()["muster"]["fusion"]
    plain = client.post(CHAT, json=chat("muster/fused")).json()["muster"]["fusion"]
    assert traced["steps"][0].keys() == {"token_id", "alpha", "loss"}
    assert plain["steps"] == []
    assert plain["passes"] == traced["passes"]


def test_answers_of_other_experts_have_none(client: TestClient) -> None:
    assert client.post(CHAT, json=chat("reverse", trace=True)).json()["muster"]["fusion"] is None


def test_the_page_of_an_answer_shows_the_trace_under_the_text(client: TestClient) -> None:
    asked = {"question": QUESTIONS[0]["question"], "model": "fused"}
    page = client.post("/ask", data=asked, headers={"accept": "text/html"}).text
    assert "Strength of the expert at each of" in page
    assert 'class="h10" title="token 1: 1.00"' in page


def test_stream_ends_with_the_trace(client: TestClient) -> None:
    body = {**chat("fused", trace=True), "stream": True}
    lines = [line for line in client.post(CHAT, json=body).text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    [told] = [chunk["muster"] for chunk in chunks if chunk.get("muster")]
    whole = client.post(CHAT, json=chat("fused")).json()
    assert text == whole["choices"][0]["message"]["content"]
    assert len(told["fusion"]["steps"]) == whole["usage"]["completion_tokens"]


def test_profile_card_and_vote(client: TestClient, app: App) -> None:
    path = app.settings.base_dir / "known.jsonl"
    path.write_text("".join(json.dumps(asked) + "\n" for asked in QUESTIONS))
    profile = app.profiling.run(read_questions(path), exam=False)

    right = {name: card.total.n_right for name, card in profile.cards.items()}
    assert right == {"fused": 4, "reverse": 4}
    muster = client.post(CHAT, json=chat("muster/majority_all", 1)).json()["muster"]
    assert {vote["expert"] for vote in muster["votes"]} == {"fused", "reverse"}


def test_batch_of_openai_lines_keeps_the_traces(
    pool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pool.parent)
    lines = [
        {"custom_id": str(at), "method": "POST", "url": CHAT, "body": chat("fused", at, trace=True)}
        for at in range(3)
    ]
    (pool.parent / "batch.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert main(["--config", str(pool), "batch", "batch.jsonl", "--out", "out.jsonl"]) == 0

    answers = [json.loads(line) for line in (pool.parent / "out.jsonl").read_text().splitlines()]
    fusions = [answer["response"]["body"]["muster"]["fusion"] for answer in answers]
    assert all({step["alpha"] for step in fusion["steps"]} == {1.0} for fusion in fusions)
