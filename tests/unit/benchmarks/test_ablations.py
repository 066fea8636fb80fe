"""The ablation driver on a small recorded pool."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import ablations
from benchmarks.ablations import Variant, least_alike, run, spec, with_nested_profiles, with_sub_pools
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.settings.schema import CompositionSettings
from tests.fakes.replay_sets import write_replay_set


@pytest.fixture
def replay(tmp_path: Path) -> ReplaySet:
    return read_replay_set(write_replay_set(tmp_path, n=40))


def test_profiles_of_all_sizes_are_nested(replay: ReplaySet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded: `few` 10, `many` 20 questions; a set of 15 holds the few, and lies within the many."""
    monkeypatch.setattr(ablations, "SIZES", (5, 15, 20, 99))
    sets = with_nested_profiles(replay, [1]).splits["seed1"]
    assert sorted(sets) == ["few", "first15", "first20", "first5", "many", "test"]
    few, many, first5, first15 = (set(sets[n].tolist()) for n in ("few", "many", "first5", "first15"))
    assert first5 < few < first15 < many == set(sets["first20"].tolist())
    assert not many & set(sets["test"].tolist())


def test_the_least_alike_err_on_different_questions() -> None:
    """0 is the strongest; 1 errs with it, 2 errs where it does not."""
    right = np.array([[1, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0]], dtype=bool)
    assert least_alike(right, 2) == [0, 2]
    assert least_alike(right, 9) == [0, 2, 1]


def test_sub_pools_are_pools_of_the_set(replay: ReplaySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablations, "SUB_POOL", 2)
    divided = with_sub_pools(replay, "four")
    assert [len(divided.rows(name)) for name in ("strongest", "least_alike", "by_chance", "four")] == [
        2,
        2,
        2,
        4,
    ]


def test_each_variant_is_run_as_it_says(replay: ReplaySet) -> None:
    variants = [
        Variant("k", "one", spec("top_k", k=1)),
        Variant("k", "two", spec("top_k", k=2)),
        Variant("pool", "pair", CompositionSettings(router="all", aggregator="majority"), pool="pair"),
        Variant("skills", "labels", spec("symbolic"), labels=True, profile="few"),
    ]
    rows = run(replay, variants, pool="four", profile="many", seeds=[0], workers=1)
    assert [rows[v.row].calls for v in variants] == [1, 2, 2, 3]


def test_variants_have_names_of_their_own() -> None:
    rows = [variant.row for variant in ablations.VARIANTS]
    assert len(set(rows)) == len(rows)
