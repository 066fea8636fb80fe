"""Residency's script, as far as it goes without vLLM."""

import json
from pathlib import Path

import pytest

from benchmarks import residency
from orchestrator.batching import Family
from orchestrator.domain.experts import EngineSpec
from workers.backends.scripted import ScriptedBackend


@pytest.mark.parametrize("only", [["devices", "nonsense"], ["with_smollm2"]])
def test_a_part_that_is_not_there_is_refused_before_anything_runs(
    only: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        residency.main(["--only", *only])
    assert ended.value.code == 2
    assert f"no such part: {only[-1]}. Valid: devices, two_jobs, first_token_s." in capsys.readouterr().err


def test_a_model_is_named_by_its_whole_path_since_workers_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = residency.pool_file(tmp_path, smollm2=Path("smollm2"))
    assert residency.models_of(pool)["smollm2"] == str(tmp_path / "smollm2")
    assert [m["model_name"] for m in json.loads(pool.read_text())["model_list"]][-1] == "smollm2"


def test_a_first_token_that_fails_is_told_and_not_waited_for_without_an_end() -> None:
    rules = [{"match": "abc", "fail": "no room"}]
    spec = EngineSpec(id="a", backend="scripted", model="none", options={"rules": rules})
    with pytest.raises(SystemExit, match="the first token did not come"):
        residency._first_token_of_engine(ScriptedBackend(), spec)


@pytest.mark.parametrize(
    ("cpu_s", "shared"),
    [
        (180.0, 1.1),  # two cores need 90 s for it, more than 10 s of a load and 70 s of work
        (100.0, 99 / 80),  # 50 s: loads and work take longer
    ],
)
def test_loads_and_work_that_share_cores_are_bounded_by_all_processor_time(
    cpu_s: float, shared: float
) -> None:
    told = residency.over_bounds(
        [Family(20, 30), Family(10, 40)], n_devices=1, n_cores=2, makespan_s=99.0, cpu_s=cpu_s
    )
    assert (told["lower_bound_s"], told["overlapped_bound_s"]) == (pytest.approx(100), pytest.approx(80))
    assert told["over_overlapped_bound"] == pytest.approx(99 / 80)
    assert told["over_shared_bound"] == pytest.approx(shared)
