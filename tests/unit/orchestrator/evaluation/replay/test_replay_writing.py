"""Profiles of any form, written as replay sets and read again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.bootstrap.replay import ReplayPlan, SeedReplay, run_replay
from orchestrator.domain.cards import Profile
from orchestrator.domain.experts import Pool
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.readings import with_readings
from orchestrator.evaluation.replay.rows import choose, row_table
from orchestrator.evaluation.replay.writing import write_replay_set
from skills.grading.grader import AnswerGrader
from tests.fakes.form_sets import FORMS, write_form_set

GRADER = AnswerGrader()
PLAN = ReplayPlan("all", "profile", (0,), choose(row_table({}), ["best_single", "static_top_3", "oracle"]))


class Measured:
    """A profile of three experts on six questions of each form, as measuring gives it."""

    def __init__(self, folder: Path, forms: tuple[str, ...] = FORMS) -> None:
        replay = with_readings(read_replay_set(write_form_set(folder, forms=forms)), "three", GRADER)
        seed = SeedReplay(replay, PLAN._replace(pool="three"), 0)
        assert seed.knowledge.profile is not None
        self.profile: Profile = seed.knowledge.profile
        self.pool: Pool = seed.recording.pool


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return Measured(tmp_path_factory.mktemp("measured"))


def test_what_is_written_reads_as_it_was_measured(measured: Measured, tmp_path: Path) -> None:
    profile = measured.profile
    assert write_replay_set(tmp_path / "set", profile, measured.pool, GRADER) == (24, 0)
    replay = read_replay_set(tmp_path / "set")
    again = SeedReplay(replay, PLAN, 0)
    assert [q.content_hash for q in replay.queries] == list(profile.query_hashes)
    assert profile.transcript is not None
    for row, expert in enumerate(again.recording.experts):
        assert expert.id == profile.expert_ids[row]
        grades = [again.recording.outcome(row, column) for column in range(24)]
        outcomes = [-2 if grade is None else grade.outcome for grade in grades]
        assert outcomes == profile.outcomes[row].tolist()
        assert [None if g is None else g.value for g in grades] == list(profile.transcript.values[row])
        kept = [text for text, grade in zip(profile.transcript.texts[row], grades, strict=True) if grade]
        said = [again.recording.text(row, c) for c, grade in enumerate(grades) if grade]
        assert said == kept
    assert replay.scores is not None
    assert profile.scores is not None
    assert np.array_equal(replay.scores, profile.scores, equal_nan=True)
    assert np.argwhere(~replay.measured).tolist() == np.argwhere(profile.outcomes == -2).tolist() == [[2, 0]]


def test_what_is_written_can_be_replayed(measured: Measured, tmp_path: Path) -> None:
    write_replay_set(tmp_path / "set", measured.profile, measured.pool, GRADER)
    report = run_replay(read_replay_set(tmp_path / "set"), PLAN, workers=1).report
    assert report.n_profile + report.n_test == 24
    assert report.row("oracle").accuracy > report.row("best_single").accuracy


def test_answers_that_say_the_same_are_one_value(tmp_path: Path) -> None:
    """`6` and `6.0`, which only a grader can tell to be equal."""
    measured = Measured(tmp_path / "forms", ("number",))
    transcript = measured.profile.transcript
    assert transcript is not None
    column = next(c for c, q in enumerate(transcript.queries) if q.answer == "4")
    values = [list(of_expert) for of_expert in transcript.values]
    values[0][column], values[1][column], values[2][column] = "6", "6.0", None
    said = replace(transcript, values=tuple(tuple(of_expert) for of_expert in values))
    profile = replace(measured.profile, transcript=said)
    for grader, expected in [(GRADER, ["6"]), (None, ["6", "6.0"])]:
        folder = tmp_path / str(len(expected))
        write_replay_set(folder, profile, measured.pool, grader)
        lines = [json.loads(line) for line in (folder / "values.jsonl").read_text().splitlines()]
        assert next(line["values"] for line in lines if line["id"] == "n2") == expected


def test_a_set_of_choices_is_written_as_it_always_was(tmp_path: Path) -> None:
    measured = Measured(tmp_path / "forms", ("choice",))
    write_replay_set(tmp_path / "set", measured.profile, measured.pool, GRADER)
    assert {path.name for path in (tmp_path / "set").iterdir()} == {
        "questions.jsonl",
        "experts.json",
        "responses.npz",
        "embeddings.npy",
        "texts_all.jsonl.xz",
    }
    with np.load(tmp_path / "set" / "responses.npz") as arrays:
        assert sorted(arrays.files) == ["chars", "correct", "pred"]
        assert arrays["pred"].dtype == np.int8


def test_open_questions_that_nobody_scored_are_left_out(tmp_path: Path) -> None:
    measured = Measured(tmp_path / "forms", ("choice", "open"))
    unscored = replace(measured.profile, scores=None)
    assert write_replay_set(tmp_path / "set", unscored, measured.pool, GRADER) == (6, 6)
    alone = Measured(tmp_path / "open", ("open",))
    with pytest.raises(InputError, match="no profile question can be replayed"):
        write_replay_set(tmp_path / "none", replace(alone.profile, scores=None), alone.pool, GRADER)


def test_how_answers_are_compared_is_kept(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path / "forms", forms=("number",))
    lines = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    for line in lines:
        line["comparison"] = {"tolerance": 0.01}
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    seed = SeedReplay(read_replay_set(folder), PLAN._replace(pool="three"), 0)
    assert seed.knowledge.profile is not None
    write_replay_set(tmp_path / "set", seed.knowledge.profile, seed.recording.pool, GRADER)
    written = read_replay_set(tmp_path / "set").queries
    assert {query.comparison.tolerance for query in written} == {0.01}
