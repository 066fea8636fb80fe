"""`muster merge` by its command line: on small checkpoints and the zoo; refused, killed, taken up again."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.cli.main import main
from tests.fakes.checkpoints import (
    read_safetensors,
    tensors,
    write_adapter,
    write_checkpoint,
    write_safetensors,
)
from tests.harness.waiting import wait_for
from workers.checkpoints.merging.child import work
from workers.checkpoints.merging.runner import MergeOrder, OnProgress, check_order, run_order

ZOO = Path(__file__).parents[2] / "examples" / "zoo" / "models"


def run(*words: str | Path, cwd: Path | None = None, code: int = 0) -> dict[str, Any]:
    """The JSON document of a merge, whose exit code must be this."""
    command = [sys.executable, "-m", "api.cli.main", "merge", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, env=environment())
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def here(folder: Path, on_progress: OnProgress, _: object) -> dict[str, Any]:
    """What the process that merges does, in this one."""
    said: list[dict[str, Any]] = []
    work(folder, said.append)
    for line in said[:-1]:
        on_progress(line["progress"]["done"], line["progress"]["of"])
    return said[-1]


def merged(recipe: Path, out: Path, **more: Any) -> Any:
    return run_order(check_order(MergeOrder(recipe, out, **more)), child=here)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def write_recipe(folder: Path, method: str = "task_arithmetic", **more: Any) -> Path:
    weight = {"parameters": {"weight": 0.5}}
    document = {"merge_method": method, "base_model": "base", "models": [{"model": "a", **weight}], **more}
    (folder / "recipe.yaml").write_text(json.dumps(document))
    return folder / "recipe.yaml"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "base", tensors(0))
    write_checkpoint(tmp_path / "a", {n: t + 0.01 for n, t in tensors(0).items()})
    write_checkpoint(tmp_path / "b", {n: t - 0.02 for n, t in tensors(0).items()})
    return tmp_path


def half_way(folder: Path) -> Mapping[str, Any]:
    """What half of the way from `base` to `a` is."""
    base, tuned = tensors(0), {n: t + np.float32(0.01) for n, t in tensors(0).items()}
    return {n: base[n] + 0.5 * (tuned[n] - base[n]) for n in base}


@pytest.mark.zoo
def test_two_specialists_of_the_zoo_become_a_model_that_loads(tmp_path: Path) -> None:
    recipe = {
        "merge_method": "linear",
        "models": [{"model": str(ZOO / name)} for name in ("roman", "reverse")],
        "dtype": "float32",
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))

    report = run("recipe.yaml", "--out", "merged", "--no-profile", cwd=tmp_path)

    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    roman, reverse = (load_file(ZOO / name / "model.safetensors") for name in ("roman", "reverse"))
    name = "model.layers.1.mlp.up_proj.weight"
    assert (loaded[name] - (roman[name].float() + reverse[name].float()) / 2).abs().max() <= 1e-6
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    assert set(report) == {"merge", "preflight", "verdict"}
    assert set(report["merge"]) == {"method", "out", "sha256", "seconds", "peak_rss_mb", "tensors"}
    assert (report["merge"]["tensors"], report["preflight"]["ok"], report["verdict"]) == (29, True, "merged")


def test_the_same_merge_gives_the_same_bytes_and_says_their_hash(models: Path) -> None:
    recipe = write_recipe(models)
    first, second = (merged(recipe, models / out, seed=3) for out in ("x", "y"))
    assert first.merge.sha256 == second.merge.sha256
    for name in ("model.safetensors", "muster-merge.json", "config.json"):
        assert (models / "x" / name).read_bytes() == (models / "y" / name).read_bytes()
    result = read_safetensors(models / "x" / "model.safetensors")
    for name, expected in half_way(models).items():
        assert np.abs(result[name] - expected).max() <= 1e-6


def test_folders_named_like_packages_of_ours_in_the_working_directory_are_not_run(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("workers", "orchestrator"):
        (models / name).mkdir()
        (models / name / "__init__.py").write_text("raise SystemExit('never run')")
    monkeypatch.chdir(models)
    report = run_order(check_order(MergeOrder(write_recipe(models), models / "x")))
    assert report.merge is not None


def test_a_merge_without_no_profile_needs_a_configuration(models: Path) -> None:
    report = run(write_recipe(models), "--out", models / "x", cwd=models, code=2)
    assert "no configuration" in report["error"]["message"]
    assert not (models / "x").exists()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda f: write_safetensors(f / "a" / "model.safetensors", tensors(0), cut=1), "truncated"),
        (lambda f: (f / "a" / "model.safetensors").unlink(), "model"),
        (lambda f: write_checkpoint(f / "a", tensors(0, n_layers=3)), "extra_tensor"),
    ],
)
def test_a_refused_merge_says_why_and_writes_nothing(models: Path, change: Any, kind: str) -> None:
    change(models)
    report = run(write_recipe(models), "--out", models / "x", "--no-profile", code=1)
    assert (report["preflight"]["ok"], report["merge"]["sha256"]) == (False, None)
    assert kind in {problem["kind"] for problem in report["preflight"]["problems"]}
    assert report["verdict"].startswith("refused: ")
    assert sorted(p.name for p in models.iterdir()) == ["a", "b", "base", "recipe.yaml"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_result_that_is_not_finite_is_none(models: Path, value: float) -> None:
    broken = {n: t.copy() for n, t in tensors(0).items()}
    broken["model.layers.1.self_attn.q_proj.weight"][2, 1] = value
    write_safetensors(models / "a" / "model.safetensors", broken)
    report = merged(write_recipe(models), models / "x")
    assert "model.layers.1.self_attn.q_proj.weight" in report.verdict
    assert not report.preflight.ok
    assert sorted(p.name for p in models.iterdir()) == ["a", "b", "base", "recipe.yaml"]


def test_an_overflow_in_the_results_dtype_is_found(models: Path) -> None:
    write_safetensors(models / "a" / "model.safetensors", {n: t * 1e6 for n, t in tensors(0).items()})
    report = merged(write_recipe(models, dtype="float16"), models / "x")
    assert "infinite" in report.verdict


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.yaml", "--out", "x"], "there is no recipe"),
        (["recipe.yaml"], "--out"),
        (["recipe.yaml", "--out", "a"], "input"),
        (["recipe.yaml", "--out", "a/inside"], "input"),
        (["recipe.yaml", "--out", "."], "input"),
        (["recipe.yaml", "--out", "recipe.yaml"], "no folder"),
        (["recipe.yaml", "--out", "b"], "there already"),
        (["recipe.yaml", "--out", "b", "--force"], "was not made by"),
        (["recipe.yaml", "--out", "x", "--seed", "-1"], "bad usage"),
        (["recipe.yaml", "--out", "x", "--sed", "1"], "bad usage"),
        (["rebuild", "--out", "x"], "rebuild"),
    ],
)
def test_bad_usage_is_told_and_touches_nothing(
    models: Path,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(models)
    write_recipe(models)
    before = sorted(models.rglob("*"))
    assert main(["merge", *words, "--no-profile", "--json"]) == 2
    assert said in json.loads(capsys.readouterr().out)["error"]["message"]
    assert sorted(models.rglob("*")) == before


def test_force_replaces_what_a_merge_made(models: Path) -> None:
    first = merged(write_recipe(models), models / "x")
    (models / "x" / "of the first").touch()
    recipe = write_recipe(models, parameters={"lambda": 0.5})
    run(recipe, "--out", models / "x", "--no-profile", code=2)
    second = run(recipe, "--out", models / "x", "--no-profile", "--force")
    assert first.merge.sha256 != second["merge"]["sha256"]
    assert not (models / "x" / "of the first").exists()
    assert [p.name for p in models.iterdir() if p.name.startswith(".")] == []


def test_preflight_writes_nothing(models: Path) -> None:
    report = run(write_recipe(models), "--out", models / "x", "--preflight")
    assert (report["merge"]["sha256"], report["verdict"]) == (None, "preflight: ok")
    assert sorted(p.name for p in models.iterdir()) == ["a", "b", "base", "recipe.yaml"]


def test_shards_in_and_out_and_an_index_that_fits(models: Path) -> None:
    (models / "a" / "model.safetensors").unlink()
    write_checkpoint(models / "a", {n: t + 0.01 for n, t in tensors(0).items()}, shards=3)
    report = merged(write_recipe(models), models / "x", shard_bytes=150)

    index = json.loads((models / "x" / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 2
    assert all((models / "x" / file).stat().st_size < 150 + 500 for file in index.values())
    for name, file in index.items():
        assert np.abs(read_safetensors(models / "x" / file)[name] - half_way(models)[name]).max() <= 1e-6
    assert report.merge.sha256 is not None
    (models / "a").rename(models / "before")
    (models / "x").rename(models / "a")
    assert merged(write_recipe(models), models / "y").merge.tensors == len(index)


def test_an_adapter_counts_as_the_product_of_its_factors(models: Path) -> None:
    write_adapter(models / "lora")
    for number, rows in enumerate([["lora"], ["base+lora"]]):
        recipe = write_recipe(models, models=[{"model": row} for row in rows])
        merged(recipe, models / f"x{number}")
        result = read_safetensors(models / f"x{number}" / "model.safetensors")
        factors = read_safetensors(models / "lora" / "adapter_model.safetensors")
        front = "base_model.model.model.layers.1.self_attn.q_proj"
        name = "model.layers.1.self_attn.q_proj.weight"
        product = 2 * factors[f"{front}.lora_B.weight"] @ factors[f"{front}.lora_A.weight"]
        assert np.abs(result[name] - (tensors(0)[name] + product)).max() <= 1e-5
        untouched = "model.layers.1.mlp.up_proj.weight"
        assert (result[untouched] == tensors(0)[untouched]).all()


def test_a_killed_merge_leaves_no_result_and_is_taken_up_where_it_stopped(models: Path) -> None:
    large = {f"model.layers.{i}.mlp.up_proj.weight": np.ones((256, 256), np.float32) for i in range(60)}
    for name in ("base", "a"):
        write_checkpoint(models / name, large)
    order = MergeOrder(write_recipe(models, "ties"), models / "x", shard_bytes=1 << 18)
    code = (
        "import sys; from pathlib import Path; from workers.checkpoints.merging.runner import *; "
        "run_order(check_order(MergeOrder(Path(sys.argv[1]), Path(sys.argv[2]), shard_bytes=1 << 18)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, order.recipe, order.out], env=environment())
    try:
        wait_for("a shard", lambda: any(models.glob(".x.merging-*/done.json")), within_s=60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not order.out.exists()
    (work,) = models.glob(".x.merging-*")
    # The one that was written when the process died is not noted yet, and is written again.
    noted = json.loads((work / "done.json").read_text())
    kept = {
        path.name: path.stat().st_mtime_ns for path in work.glob("*.safetensors") if path.name in str(noted)
    }
    assert 0 < len(kept) < 60

    seen: list[int] = []
    report = run_order(check_order(order), on_progress=lambda done, _: seen.append(done), child=here)

    assert report.verdict == "merged"
    assert min(seen, default=60) > min(len(kept), 59) - 1
    assert all((order.out / name).stat().st_mtime_ns == time for name, time in kept.items())
    whole = run_order(check_order(order._replace(out=models / "y")), child=here)
    assert whole.merge.sha256 == report.merge.sha256
    assert list(models.glob(".*")) == []


def test_a_stopped_merge_says_so_and_leaves_no_result(models: Path) -> None:
    from orchestrator.errors import MergeStoppedError

    with pytest.raises(MergeStoppedError):
        run_order(check_order(MergeOrder(write_recipe(models), models / "x")), stopped=lambda: True)
    assert not (models / "x").exists()
    assert list(models.glob(".*")) == []
