"""A merge becomes an expert: measured, compared with its parents, registered; or not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.cli.main import main

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
pytestmark = pytest.mark.zoo


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`reverse` and `roman` of the zoo, and some profile questions of their skills."""
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in (ZOO / "profile.jsonl").read_text().splitlines()]
    asked = [r for r in rows if set(r["skills"]) in ({"roman"}, {"reverse"})]
    asked = asked[10:34] + asked[60:84]
    (tmp_path / "profile.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    members = yaml.safe_load((ZOO / "pool.yaml").read_text())["model_list"]
    kept = [member for member in members if member["model_name"] in ("reverse", "roman")]
    for member in kept:
        name = member["model_name"]
        shutil.copytree(ZOO / "models" / name, tmp_path / name)
        member["litellm_params"]["model"] = name
    document = {
        "model_list": kept,
        "muster": {
            "profile_set": "profile.jsonl",
            "embedder": {"model": "hash"},
            "skills": {"vocabulary": "builtin"},
        },
    }
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "pool.yaml"


def run(pool: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["--config", str(pool), *words, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def write_recipe(folder: Path, share: float, **more: Any) -> str:
    """`share` of reverse, the rest of roman: at 1 it is reverse."""
    rows = [
        {"model": "reverse", "parameters": {"weight": share}},
        {"model": "roman", "parameters": {"weight": 1 - share}},
    ]
    (folder / "recipe.yaml").write_text(json.dumps({"merge_method": "linear", "models": rows, **more}))
    return str(folder / "recipe.yaml")


def test_a_merge_that_is_worth_it_joins_the_pool_and_others_do_not(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pool.parent
    lost = run(pool, capsys, "merge", write_recipe(folder, 0.5), "--out", "lost", code=1)
    assert lost["verdict"].startswith("not kept: ")
    assert (folder / "lost" / "model.safetensors").is_file()
    assert [expert["id"] for expert in run(pool, capsys, "experts")] == ["reverse", "roman"]

    recipe = write_recipe(folder, 1.0, name="twin-of-reverse")
    kept = run(pool, capsys, "merge", recipe, "--out", "kept")

    assert kept["verdict"].startswith("kept: as good, and one model in place of 2; ")
    listed = {expert["id"]: expert for expert in run(pool, capsys, "experts")}
    lineage = listed["twin-of-reverse"]["lineage"]
    assert (lineage["method"], lineage["parents"]) == ("linear", ["reverse", "roman"])
    assert (
        lineage["recipe_hash"] == json.loads((folder / "kept/muster-merge.json").read_text())["recipe_sha256"]
    )
    assert listed["reverse"]["lineage"] is None
    card = run(pool, capsys, "cards", "twin-of-reverse")
    assert card["lineage"] == lineage
    assert card["total"]["n_right"] == run(pool, capsys, "cards", "reverse")["total"]["n_right"]
    answered = run(pool, capsys, "ask", "-c", "twin-of-reverse", "reverse: abc")
    assert answered["muster"]["recruits"] == ["twin-of-reverse"]

    again = run(pool, capsys, "merge", recipe, "--out", "another", code=2)
    assert "'twin-of-reverse' already" in again["error"]["message"]
    odd = run(pool, capsys, "merge", write_recipe(folder, 1.0, name="my\u202eown"), "--out", "odd", code=2)
    assert "(U+202E)" in odd["error"]["message"]
    assert not (folder / "odd").exists()
    shutil.rmtree(folder / "kept")
    assert [expert["id"] for expert in run(pool, capsys, "experts")] == ["reverse", "roman"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["muster"].pop("profile_set"), "no questions"),
        (lambda d: d["muster"].update(profile_set="none.jsonl"), "none.jsonl"),
        (lambda d: d["muster"].update(merges={"held_out": "none.jsonl"}), "none.jsonl"),
        (lambda d: d["model_list"][0].update(model_name="lost"), "an expert 'lost' already"),
    ],
)
def test_what_could_not_be_measured_is_not_merged(
    pool: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    document = yaml.safe_load(pool.read_text())
    change(document)
    pool.write_text(yaml.safe_dump(document))
    words = ("merge", write_recipe(pool.parent, 0.5), "--out", "lost")
    assert said in run(pool, capsys, *words, code=2)["error"]["message"]
    assert not (pool.parent / "lost").exists()


def test_the_verdict_is_of_questions_that_no_card_is_counted_from(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pool.parent
    rows = [json.loads(line) for line in (ZOO / "test.jsonl").read_text().splitlines()]
    held_out = [row for row in rows if row["skills"] == ["reverse"]][:30]
    known = (folder / "profile.jsonl").read_text().splitlines()
    (folder / "held-out.jsonl").write_text("".join(json.dumps(r) + "\n" for r in held_out) + known[0] + "\n")
    document = yaml.safe_load(pool.read_text())
    document["muster"]["merges"] = {"held_out": "held-out.jsonl"}
    pool.write_text(yaml.safe_dump(document))

    kept = run(pool, capsys, "merge", write_recipe(folder, 1.0, name="again"), "--out", "kept")

    assert f"% right on {len(held_out)} held-out questions" in kept["verdict"], "one is in the profile, too"
    total = run(pool, capsys, "cards", "again")["total"]
    assert total["n_right"] + total["n_wrong"] + total["n_abstain"] == len(known)
    assert {e["id"]: e["accuracy"] is not None for e in run(pool, capsys, "experts")} == {
        "reverse": True,
        "roman": True,
        "again": True,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "held-out.jsonl"),
        ('{"question": "reverse: abc"}\n', "no answer"),
        ("profile", "no question is held out"),
    ],
)
def test_held_out_questions_that_say_nothing_are_refused_before_anything_is_merged(
    pool: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    folder = pool.parent
    known = (folder / "profile.jsonl").read_text()
    (folder / "held-out.jsonl").write_text(known if text == "profile" else text)
    document = yaml.safe_load(pool.read_text())
    document["muster"]["merges"] = {"held_out": "held-out.jsonl"}
    pool.write_text(yaml.safe_dump(document))
    words = ("merge", write_recipe(folder, 1.0), "--out", "kept")
    assert said in json.dumps(run(pool, capsys, *words, code=2)["error"])
    assert not (folder / "kept").exists()


def test_a_store_is_no_expert_and_no_failure(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {"merge_method": "twin", "base_model": "reverse", "models": [{"model": "roman"}]}
    (pool.parent / "recipe.yaml").write_text(json.dumps({**recipe, "parameters": {"r": 2}}))
    stored = run(pool, capsys, "merge", str(pool.parent / "recipe.yaml"), "--out", "store")
    assert stored["verdict"].startswith("stored")
    assert [expert["id"] for expert in run(pool, capsys, "experts")] == ["reverse", "roman"]


def test_what_is_refused_needs_no_pool_to_say_so(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration is only read for what could join its pool."""
    pool.unlink()
    config = json.loads((pool.parent / "roman" / "config.json").read_text())
    (pool.parent / "roman" / "config.json").write_text(json.dumps({**config, "model_type": "mistral"}))
    refused = run(pool, capsys, "merge", write_recipe(pool.parent, 0.5), "--out", "lost", code=1)
    assert {problem["kind"] for problem in refused["preflight"]["problems"]} >= {"model_type"}
    assert not (pool.parent / "lost").exists()


def test_numbers_of_a_store_are_searched_on_questions_that_it_is_not_judged_on(
    pool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither input is of the pool. Ten times the signs of a task vector is noise."""
    for name in ("untied", "near-roman"):
        shutil.copytree(ZOO / "models" / name, pool.parent / name)
    monkeypatch.setattr("workers.checkpoints.merging.search.ALPHAS", (1.0, 10.0))
    recipe = {"merge_method": "compeft", "base_model": "untied", "models": [{"model": "near-roman"}]}
    path = pool.parent / "recipe.yaml"
    path.write_text(json.dumps({**recipe, "parameters": {"alpha": "search", "density": 0.5}}))

    refused = run(pool, capsys, "merge", str(path), "--out", "store", "--no-profile", code=1)
    assert "needs questions" in refused["verdict"]
    stored = run(pool, capsys, "merge", str(path), "--out", "store")

    assert "chosen on 24 questions: near-roman density 0.5, alpha 1, " in stored["verdict"]
    assert "held-out questions of their skills" in stored["verdict"]
    record = json.loads((pool.parent / "store" / "muster-merge.json").read_text())
    assert record["recipe"]["models"][0]["parameters"] == {"density": 0.5, "alpha": 1.0}
    assert {p.name for p in (pool.parent / "store").iterdir()} == {
        "muster-merge.json",
        "near-roman.compeft",
        "store.json",
    }
    assert [p for p in pool.parent.iterdir() if "searching" in p.name] == [], "nothing is left"
    assert [expert["accuracy"] for expert in run(pool, capsys, "experts")] == [None, None]

    path.write_text(json.dumps({**recipe, "parameters": {"alpha": "search", "density": 0.5, "smaller": 15}}))
    refused = run(pool, capsys, "merge", str(path), "--out", "small", code=1)
    assert "no density makes it 15 times smaller" in json.dumps(refused)
    assert not (pool.parent / "small").exists()
