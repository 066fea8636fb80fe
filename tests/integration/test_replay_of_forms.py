"""A pool profiled on questions of several forms; what it said is written down and replayed by commands."""

import json
from pathlib import Path

import pytest
import yaml

from api.cli.main import main

Captured = pytest.CaptureFixture[str]
N = 30
"""Questions; every third is a number, a literal, a choice."""

TYPES = ("number", "literal", "choice")


def question(i: int) -> dict[str, object]:
    form = TYPES[i % 3]
    fields: dict[str, object] = {"id": f"q{i}", "answer_type": form, "domain": form}
    if form == "number":
        return fields | {"question": f"What is {i} minus a half?", "answer": f"{i - 0.5}"}
    if form == "literal":
        return fields | {"question": f"What does f({i}) return?", "answer": f"[{i}, 'x']"}
    return fields | {"question": f"Which letter has door {i}?", "options": ["u", "v", "w"], "answer": i % 2}


def says(expert: str, i: int) -> str:
    """`exact` is always right, `round` and `mute` every other time, and `mute` says nothing of numbers."""
    form, right = TYPES[i % 3], expert == "exact" or i % 2 == 0
    if form == "number":
        return "I ponder." if expert == "mute" else f"The answer is {i - 0.5 if right else i}."
    if form == "literal":
        return f"The answer is `[{i},'x']`." if right else f"The answer is `[{i}]`."
    return f"The answer is ({'AB'[i % 2] if right else 'C'})."


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(question(i))}\n" for i in range(N)))
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
        for name in ("exact", "round", "mute")
    ]
    muster = {"data_dir": "data", "embedder": {"model": "hash"}}
    path = tmp_path / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


def test_what_a_pool_said_is_written_down_and_replayed(pool: Path, capsys: Captured) -> None:
    config = ["--config", str(pool)]
    assert main([*config, "profile", "questions.jsonl"]) == 0
    assert main([*config, "cards", "--record", "recorded"]) == 0
    assert "Written: 30 questions to recorded." in capsys.readouterr().err
    values = [json.loads(line) for line in Path("recorded/values.jsonl").read_text().splitlines()]
    assert values[0] == {"id": "q0", "values": ["-0.5"], "right": 0}
    assert values[3] == {"id": "q4", "values": ["[4, 'x']"], "right": 0}
    assert len(values) == 20
    for reading in ("record", "texts"):
        words = ["--rows", "best_single,oracle", "--seeds", "0", "--workers", "1", "--json"]
        assert main([*config, "replay", "recorded", *words, "--read", reading]) == 0
        report = json.loads(capsys.readouterr().out)
        assert [row["accuracy"] for row in report["rows"]] == [100, 100]
        assert set(report["domains"]) == set(TYPES)
