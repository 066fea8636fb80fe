"""Sets of any form through the production compositions."""

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.bootstrap.replay import ReplayPlan, ReplayResult, SeedReplay, run_replay
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Call, CallRole
from orchestrator.domain.cards import ABSTAINED, GRADED, RIGHT, UNKNOWN, WRONG
from orchestrator.errors import InputError, UnsupportedError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.readings import with_readings
from orchestrator.evaluation.replay.recording import RecordedGrader, Recording
from orchestrator.evaluation.replay.rows import choose, row_table
from skills.grading.grader import AnswerGrader
from tests.fakes.form_sets import N_OF_FORM, write_form_set

EXACT = ("number", "text", "choice")


def plan(*rows: str, votes: bool = True, from_texts: bool = False) -> ReplayPlan:
    chosen = choose(row_table({}), rows or None, votes=votes)
    return ReplayPlan("three", "profile", (0,), chosen, from_texts=from_texts)


def replayed(folder: Path, the_plan: ReplayPlan) -> ReplayResult:
    return run_replay(read_replay_set(folder), the_plan, workers=1)


def recording(folder: Path) -> Recording:
    return Recording(with_readings(read_replay_set(folder), "three", AnswerGrader()), "three")


def call(expert_id: str) -> Call:
    return Call(expert_id=expert_id, role=CallRole.EXPERT, messages=())


def test_every_row_replays_questions_of_several_forms(tmp_path: Path) -> None:
    """Of 18 test questions `poet` has those 12 that are no numbers, `adder` the others."""
    report = replayed(write_form_set(tmp_path, forms=EXACT), plan()).report
    assert report.row("best_single").accuracy == pytest.approx(100 * 2 / 3, abs=0.01)
    assert report.row("oracle").accuracy == 100
    assert report.domains["number"]["best_single"] == 0
    assert report.left_out == ()


def test_answers_are_read_off_the_texts_if_that_is_asked(tmp_path: Path) -> None:
    """The record says that nobody was right of numbers; the texts know better."""
    folder = write_form_set(tmp_path, forms=("number",))
    values = (folder / "values.jsonl").read_text().replace('"right": 1', '"right": null')
    (folder / "values.jsonl").write_text(values)
    with np.load(folder / "responses.npz") as arrays:
        np.savez(folder / "responses.npz", pred=arrays["pred"], chars=arrays["chars"])
    assert replayed(folder, plan("oracle")).report.row("oracle").accuracy == 0
    assert replayed(folder, plan("oracle", from_texts=True)).report.row("oracle").accuracy == 100


def test_open_questions_score_what_they_were_graded(tmp_path: Path) -> None:
    """`poet` is graded .75 throughout, the others less."""
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    best, oracle = replayed(folder, plan("best_single", "oracle", votes=False)).trials
    assert oracle.score.tolist() == [0.75] * (N_OF_FORM // 2)
    assert set(best.score.tolist()) <= {0.25, 0.5, 0.75}


def test_rows_that_need_votes_are_left_out_of_open_sets_and_said() -> None:
    rows = choose(row_table({}), None, votes=False)
    assert {"auto", "best_single", "oracle"} <= set(rows.names)
    assert {"majority_all", "static_top_3"} <= set(rows.left_out)
    assert not set(rows.names) & set(rows.left_out)
    with pytest.raises(InputError, match="row 'majority_all' votes, and every question of this set is open"):
        choose(row_table({}), ["auto", "majority_all"], votes=False)


def test_the_profile_holds_outcomes_and_scores(tmp_path: Path) -> None:
    replay = with_readings(read_replay_set(write_form_set(tmp_path)), "three", AnswerGrader())
    profile = SeedReplay(replay, plan(), 0).knowledge.profile
    assert profile is not None
    assert profile.outcomes[:, 0].tolist() == [RIGHT, WRONG, UNKNOWN]
    assert profile.outcomes[:, -1].tolist() == [GRADED] * 3
    assert profile.scores is not None
    assert profile.scores[:, -1].tolist() == [0.25, 0.75, 0.5]
    assert np.isnan(profile.scores[:, 0]).all()


def test_a_response_that_was_not_recorded_comes_from_an_expert_that_could_not_be_asked(
    tmp_path: Path,
) -> None:
    record = recording(write_form_set(tmp_path))
    response = record.respond(call("late"), record.queries[0], stage=0)
    assert response.error_code == "not_recorded"
    assert not response.is_experts_own
    assert record.outcome(2, 0) is None
    assert record.score(2, 0) == 0


def test_where_nobody_was_recorded_there_is_no_answer(tmp_path: Path) -> None:
    """A pool of one, which has not been asked `n0`: 5 of the other 5 test questions are wrong, too."""
    folder = write_form_set(tmp_path, forms=("number",))
    experts = json.loads((folder / "experts.json").read_text())
    experts[2]["pools"] = ["alone"]
    (folder / "experts.json").write_text(json.dumps(experts))
    split = json.loads((folder / "splits.json").read_text())["seed0"]
    swapped = {"profile": split["test"], "test": split["profile"]}
    (folder / "splits.json").write_text(json.dumps({"seed0": swapped}))
    (trial,) = replayed(folder, plan("best_single")._replace(pool="alone")).trials
    assert trial.score.tolist() == [0] * (N_OF_FORM // 2)


def test_recorded_values_are_equal_only_to_themselves(tmp_path: Path) -> None:
    record = recording(write_form_set(tmp_path))
    grader = RecordedGrader(AnswerGrader(), record)
    query = record.queries[3]
    assert record.are_values(query, "6", "7")
    assert not grader.equivalent(query, "6", "7")
    assert grader.equivalent(query, "6", "6.0")  # not of the record: as any other answer
    response = record.respond(call("adder"), query, stage=0)
    assert (grader.read(query, response), grader.grade(query, response).outcome) == ("6", RIGHT)


def test_a_value_without_a_text_is_stated(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("number",))
    (folder / "texts_all.jsonl.xz").unlink()
    assert recording(folder).text(0, 3) == "The answer is 6.".rjust(40)


def test_open_answers_have_their_words_and_an_empty_one_is_an_abstention(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / "chars.npy", np.full((3, N_OF_FORM), 30))
    record = recording(folder)
    assert record.text(1, 2) == "poet writes about 2.".rjust(30)
    assert record.value(1, 2) == "poet writes about 2."
    record._texts[1] = [""] * N_OF_FORM
    outcome = record.outcome(1, 2)
    assert outcome is not None
    assert outcome.outcome == ABSTAINED


def test_scores_without_texts_can_be_replayed(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    (folder / "texts_all.jsonl.xz").unlink()
    result = replayed(folder, plan("best_single", votes=False))
    assert result.report.row("best_single").calls == 1


def test_a_composed_open_answer_has_no_score(tmp_path: Path) -> None:
    record = recording(write_form_set(tmp_path, forms=("open",), responses=False))
    query = record.queries[1]
    assert record.score_of(query, Answer(text="as poet", answered_by="poet")) == 0.75
    assert record.score_of(query, Answer(text="", error_code="no_answer")) == 0
    with pytest.raises(UnsupportedError, match="'o1' was composed: nobody has graded it"):
        record.score_of(query, Answer(text="of all"))


def test_gains_at_equal_lengths_need_lengths_of_what_answers_were_compared_with(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / "chars.npy", np.full((3, N_OF_FORM), 30))
    names = ("best_single", "ranker_3", "oracle")
    chosen = choose(row_table({}, votes=False), names, votes=False)
    without = replayed(folder, plan(votes=False)._replace(rows=chosen)).report
    assert not without.is_length_controlled
    assert without.row("ranker_3").gain == pytest.approx(0, abs=1e-6)
    np.save(folder / "reference_chars.npy", np.full(N_OF_FORM, 40))
    report = replayed(folder, plan(votes=False)._replace(rows=chosen)).report
    assert report.is_length_controlled
    assert report.row("best_single").lc_gain is None
    assert report.row("ranker_3").lc_gain == pytest.approx(0, abs=1e-6)
    assert report.row("ranker_3").same_length_gain == pytest.approx(0, abs=1e-6)
    assert report.row("oracle").lc_gain is None


def test_a_gain_is_over_the_best_single_expert_with_its_paired_interval(tmp_path: Path) -> None:
    report = replayed(write_form_set(tmp_path, forms=EXACT), plan("best_single", "oracle")).report
    row = report.row("oracle")
    assert row.gain == pytest.approx(100 / 3, abs=0.01)
    assert row.gain_ci95 is not None
    assert row.gain_ci95[0] < row.gain < row.gain_ci95[1]
    assert report.row("best_single").gain is None
