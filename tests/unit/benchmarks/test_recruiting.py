"""The timings of recruiting, on a small recorded pool."""

from pathlib import Path

import pytest

from benchmarks import recruiting
from orchestrator.bootstrap.replay import with_vectors
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.settings.schema import MusterSettings
from tests.fakes.replay_sets import write_replay_set


@pytest.mark.parametrize("texts", [True, False])
def test_every_timing_is_taken_of_what_the_set_can_show(tmp_path: Path, texts: bool) -> None:
    """A verifier is fitted where there are texts to read; few test questions are asked again and again."""
    folder = write_replay_set(tmp_path, n=60, texts=texts)
    replay = recruiting.seed_replay(with_vectors(read_replay_set(folder), MusterSettings()), "four")
    seconds = {**recruiting.fit_seconds(replay), **recruiting.recruiting_seconds(replay, repeat=1)}
    assert {name for name, s in seconds.items() if s is not None and s > 0} == {
        "fit_s",
        "read_s",
        "recruit_s",
        *(["verifier_s"] if texts else []),
    }
