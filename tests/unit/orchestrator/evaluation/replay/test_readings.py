from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import Response
from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.readings import grouped, read_responses, with_readings
from orchestrator.ports.skills import Grade
from skills.grading.grader import AnswerGrader
from tests.fakes.form_sets import N_OF_FORM, write_form_set

SUM = Query(id="q", question="What is a half of 3?", answer="1.5", answer_type=AnswerType.NUMBER)
GRADER = AnswerGrader()


def test_texts_that_say_the_same_are_one_group() -> None:
    """Two ways to write 1.5, one wrong answer, one without any, one that is missing."""
    texts = ["The answer is 2.", "The answer is 1.5.", "I ponder.", None, "The answer is 1.50."]
    assert read_responses(SUM, texts, GRADER) == (("2", "1.5"), (0, 1, -1, -1, 1), {1})


def test_a_group_is_named_by_its_first_value() -> None:
    assert grouped(SUM, ["1.50", None, "1.5", "2"], GRADER) == (("1.50", "2"), [0, -1, 0, 1])


class PassesTests:
    """Programs are right if they say so, and equal only to themselves."""

    def read(self, query: Query, response: Response) -> str | None:
        return response.text or None

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        return a == b

    def grade(self, query: Query, response: Response) -> Grade:
        value = self.read(query, response)
        return Grade(ABSTAINED if value is None else RIGHT if "good" in value else WRONG, value)


def test_several_groups_may_be_right() -> None:
    texts = ["good way", "bad way", "another good way", "", "good way"]
    values, group, right = read_responses(SUM, texts, PassesTests())
    assert values == ("good way", "bad way", "another good way")
    assert (group, right) == ((0, 1, 2, -1, 0), {0, 2})


def test_what_is_not_recorded_is_read(tmp_path: Path) -> None:
    replay = with_readings(read_replay_set(write_form_set(tmp_path)), "three", GRADER)
    assert replay.unread == []
    column = N_OF_FORM  # the first flag is red, and `adder` says green
    assert replay.values[column] == ("green", "red")
    assert replay.pred[:, column].tolist() == [0, 1, 1]
    assert replay.right[column] == {1}
    assert replay.values[0] == ("1", "0")  # as recorded


def test_texts_and_record_give_the_same_where_they_say_the_same(tmp_path: Path) -> None:
    recorded = read_replay_set(write_form_set(tmp_path))
    anew = with_readings(recorded, "three", GRADER, anew=True)
    of_record, of_texts = (
        [
            [
                values is not None and pred >= 0 and pred in right
                for pred, values, right in zip(row, replay.values, replay.right, strict=True)
            ]
            for row in replay.pred.tolist()
        ]
        for replay in (with_readings(recorded, "three", GRADER), anew)
    )
    assert of_record == of_texts
    assert np.array_equal(recorded.measured, anew.measured)


def test_a_missing_text_is_not_measured(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("number",), responses=False)
    replay = with_readings(read_replay_set(folder), "three", GRADER)
    assert np.argwhere(~replay.measured).tolist() == [[2, 0]]
    assert replay.pred[2, 0] == -1


def test_an_expert_without_texts_cannot_be_read(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path)
    (folder / "texts_all.jsonl.xz").rename(folder / "texts_of_nobody.xz")
    (folder / "questions.jsonl").write_text(
        "".join(
            line
            for line in (folder / "questions.jsonl").read_text().splitlines(keepends=True)
            if '"answer_type": "text"' not in line
        )
    )
    keep = np.r_[0:N_OF_FORM, 2 * N_OF_FORM : 4 * N_OF_FORM]
    with np.load(folder / "responses.npz") as arrays:
        np.savez(folder / "responses.npz", **{name: arrays[name][:, keep] for name in arrays.files})
    np.save(folder / "scores.npy", np.load(folder / "scores.npy")[:, keep])
    np.save(folder / "embeddings.npy", np.load(folder / "embeddings.npy")[keep])
    (folder / "splits.json").unlink()
    replay = read_replay_set(folder)
    assert with_readings(replay, "three", GRADER) is replay
    with pytest.raises(InputError, match="no texts of expert 'adder' were recorded"):
        with_readings(replay, "three", GRADER, anew=True)


@given(st.permutations(["3", "'3'", "3 or '3'", "4", "3"]))
def test_groups_are_the_same_for_every_order_of_responses(values: list[str]) -> None:
    """A bare 3 in a string of JSON is either; it stands with the text here, which comes first when sorted."""
    query = Query(id="q", question="?", answer="3", answer_type="literal")
    _, group = grouped(query, values, GRADER)
    together = {frozenset(v for v, g in zip(values, group, strict=True) if g == number) for number in group}
    assert together == {frozenset({"3"}), frozenset({"'3'", "3 or '3'"}), frozenset({"4"})}
    assert group[0] == 0
