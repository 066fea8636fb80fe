from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InputError, UnknownNameError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.splits import profile_names, seeded_split, split
from tests.fakes.replay_sets import write_replay_set


def test_recorded_splits_are_taken(tmp_path: Path) -> None:
    replay = read_replay_set(write_replay_set(tmp_path, n=12))
    assert profile_names(replay) == ("few", "many")
    assert [len(columns) for columns in split(replay, seed=1, profile="few")] == [3, 6]


def test_an_unknown_seed_or_profile_is_refused(tmp_path: Path) -> None:
    replay = read_replay_set(write_replay_set(tmp_path, n=12))
    with pytest.raises(InputError, match=r"no split 'seed7'. It has: seed0, seed1"):
        split(replay, seed=7, profile="few")
    with pytest.raises(UnknownNameError, match="Valid: few, many"):
        split(replay, seed=0, profile="test")


def test_without_splits_three_in_ten_of_each_domain_are_profiled_on(tmp_path: Path) -> None:
    """20 questions, 10 of each domain: 3 of each to profile on, 14 to test on."""
    replay = read_replay_set(write_replay_set(tmp_path, n=20, splits=False))
    profile, test = split(replay, seed=3, profile=profile_names(replay)[-1])
    domains = [replay.queries[c].domain for c in profile]
    assert (domains.count("sums"), domains.count("verse"), len(test)) == (3, 3, 14)
    assert sorted([*profile, *test]) == list(range(20))


def test_seeded_splits_repeat_and_differ_by_seed(tmp_path: Path) -> None:
    queries = read_replay_set(write_replay_set(tmp_path, n=40, splits=False)).queries
    first, again, other = (seeded_split(queries, seed=s).profile for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_set_without_splits_has_one_profile(tmp_path: Path) -> None:
    replay = read_replay_set(write_replay_set(tmp_path, n=20, splits=False))
    with pytest.raises(UnknownNameError, match="unknown profile 'many'"):
        split(replay, seed=0, profile="many")
