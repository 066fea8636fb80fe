"""A pool profiled on questions of several forms; what it said is written down and replayed by commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from api.cli.main import main

Captured = pytest.CaptureFixture[str]
N = 32
"""Questions; every fourth is a number, a literal, a choice, open."""

TYPES = ("number", "literal", "choice", "open")
SCORES = {"exact": 0.8, "round": 0.5, "mute": 0.3}


def question(i: int) -> dict[str, object]:
    form = TYPES[i % 4]
    fields: dict[str, object] = {"id": f"q{i}", "answer_type": form, "domain": form}
    if form == "number":
        return fields | {"question": f"What is {i} minus a half?", "answer": f"{i - 0.5}"}
    if form == "literal":
        return fields | {"question": f"What does f({i}) return?", "answer": f"[{i}, 'x']"}
    if form == "open":
        return fields | {"question": f"Write a line about {i}."}
    return fields | {
        "question": f"Which letter has door {i}?",
        "options": ["u", "v", "w"],
        "answer": i // 4 % 2,
    }


def says(expert: str, i: int) -> str:
    """`exact` is always right, `round` and `mute` every other time, and `mute` says nothing of numbers."""
    form, right = TYPES[i % 4], expert == "exact" or i % 8 < 4
    if form == "number":
        return "I ponder." if expert == "mute" else f"The answer is {i - 0.5 if right else i}."
    if form == "literal":
        return f"The answer is `[{i},'x']`." if right else f"The answer is `[{i}]`."
    if form == "open":
        return f"{expert} writes about {i}."
    return f"The answer is ({'AB'[i // 4 % 2] if right else 'C'})."


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(question(i))}\n" for i in range(N)))
    given = [
        {"id": f"q{i}", "expert": name, "score": score}
        for i in range(3, N, 4)
        for name, score in SCORES.items()
    ]
    (tmp_path / "scores.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in given))
    members = [
        {
            "model_name": name,
            "litellm_params": {"model": f"scripted/{name}"},
            "model_info": {
                "muster": {
                    "engine": "scripted",
                    "options": {"answers": {str(question(i)["question"]): says(name, i) for i in range(N)}},
                }
            },
        }
        for name in SCORES
    ]
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


def test_what_a_pool_said_is_written_down_and_replayed(pool: Path, capsys: Captured) -> None:
    config = ["--config", str(pool)]
    assert main([*config, "profile", "questions.jsonl", "--scores", "scores.jsonl"]) == 0
    assert main([*config, "cards", "--record", "recorded"]) == 0
    assert f"Written: {N} questions to recorded." in capsys.readouterr().err
    values = [json.loads(line) for line in Path("recorded/values.jsonl").read_text().splitlines()]
    assert values[0] == {"id": "q0", "values": ["-0.5"], "right": 0}
    assert values[3] == {"id": "q5", "values": ["[5, 'x']", "[5]"], "right": 0}
    assert len(values) == N // 2
    scores = np.load("recorded/scores.npy")
    assert scores[:, 3] == pytest.approx(list(SCORES.values()))
    assert np.isnan(scores[:, :3]).all()
    for reading in ("record", "texts"):
        words = ["--rows", "best_single,oracle", "--seeds", "0", "--workers", "1", "--json"]
        assert main([*config, "replay", "recorded", *words, "--read", reading]) == 0
        report = json.loads(capsys.readouterr().out)
        exact = {domain: rows["oracle"] for domain, rows in report["domains"].items()}
        assert exact == {"number": 100, "literal": 100, "choice": 100, "open": 80}
        assert report["rows"][0]["accuracy"] == report["rows"][1]["accuracy"]
