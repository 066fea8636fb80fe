"""Sets of any form: numbers with their values, texts that are read, graded answers, all of them in one."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from tests.fakes.form_sets import N_OF_FORM, write_form_set
from tests.fakes.replay_sets import write_lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_form_set(tmp_path / "set")


def rewrite(path: Path, line: int, **changes: object) -> None:
    """Another object on a line of a file, from 0."""
    lines = [json.loads(raw) for raw in path.read_text().splitlines()]
    lines[line].update(changes)
    write_lines(path, lines)


def test_a_set_may_mix_forms(folder: Path) -> None:
    replay = read_replay_set(folder)
    assert replay.values[0] == ("1", "0")
    assert replay.right[0] == {1}
    assert replay.values[2 * N_OF_FORM] == ("A", "B", "C", "D")
    assert replay.unread == list(range(N_OF_FORM, 2 * N_OF_FORM))
    assert replay.graded.tolist() == [False] * 3 * N_OF_FORM + [True] * N_OF_FORM
    assert replay.scores is not None
    assert replay.scores[:, -1].tolist() == [0.25, 0.75, 0.5]


def test_values_may_be_packed(tmp_path: Path) -> None:
    plain = read_replay_set(write_form_set(tmp_path / "plain"))
    packed = read_replay_set(write_form_set(tmp_path / "packed", packed=True))
    assert packed.values == plain.values
    assert np.array_equal(packed.pred, plain.pred)


def test_texts_need_not_be_packed(folder: Path) -> None:
    packed = read_replay_set(folder).texts
    with lzma.open(folder / "texts_all.jsonl.xz", "rt") as file:
        (folder / "texts_some.jsonl").write_text(file.read())
    (folder / "texts_all.jsonl.xz").unlink()
    assert read_replay_set(folder).texts == packed


def test_a_response_that_was_not_recorded_is_not_measured(folder: Path) -> None:
    replay = read_replay_set(folder)
    assert np.argwhere(~replay.measured).tolist() == [[2, 0]]
    assert replay.pred[2, 0] == -1


@pytest.mark.parametrize(("right", "found"), [(None, set()), (0, {0}), ([], set()), ([0, 1], {0, 1})])
def test_none_one_or_several_values_are_right(folder: Path, right: object, found: set[int]) -> None:
    rewrite(folder / "values.jsonl", 3, right=right)
    with np.load(folder / "responses.npz") as arrays:
        np.savez(folder / "responses.npz", pred=arrays["pred"], chars=arrays["chars"])
    assert read_replay_set(folder).right[3] == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "n99"}, "values.jsonl: line 2: unknown question 'n99'"),
        ({"id": "n0"}, "line 2: question 'n0' stands on an earlier line"),
        ({"id": "c0"}, "line 2: question 'c0' is a choice: its `values` are letters, A to D"),
        ({"id": "c0", "values": ["A", "B"]}, "line 2: `right` of choice 'c0' is not its answer, A"),
        ({"id": "o0"}, "line 2: question 'o0' is of type 'open', which has no `values`"),
        ({"values": "2"}, "line 2: `values` must be a list of strings"),
        ({"values": [2, 3]}, "line 2: `values` must be a list of strings"),
        ({"values": ["2", ""]}, "line 2: `values` must be a list of strings, none of them empty"),
        ({"values": ["2", "2"]}, "line 2: `values` holds a value twice"),
        ({"right": 2}, "line 2: `right` is no index of 2 values"),
        ({"right": -1}, "line 2: `right` is no index of 2 values"),
        ({"right": True}, "line 2: `right` is no index of 2 values"),
        ({"right": [0, 5]}, "line 2: `right` is no index of 2 values"),
        ({"values": ["2"], "right": 0}, "expert 'adder' chose value 1 of 1 at question 'n1'"),
        ({"right": 0}, "`correct` is not `pred == answer` at 3 places, first at expert 0, question 'n1'"),
    ],
)
def test_bad_values_are_refused(folder: Path, change: dict[str, object], message: str) -> None:
    rewrite(folder / "values.jsonl", 1, **change)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


def test_values_of_a_choice_are_letters_of_its_options(folder: Path) -> None:
    """`c5`, whose answer is B: everybody's index is that of the second value."""
    rewrite(folder / "values.jsonl", 0, id="c5", values=["D", "B"], right=1)
    column = 2 * N_OF_FORM + 5
    with np.load(folder / "responses.npz") as arrays:
        pred, correct = arrays["pred"].copy(), arrays["correct"].copy()
        pred[:, column], correct[:, column] = 1, True
        np.savez(folder / "responses.npz", pred=pred, correct=correct, chars=arrays["chars"])
    replay = read_replay_set(folder)
    assert replay.values[column] == ("D", "B")
    assert replay.right[column] == {1}
    assert replay.unread[0] == 0  # the number that has no values now is read


def test_values_must_say_which_is_right(folder: Path) -> None:
    lines = [json.loads(raw) for raw in (folder / "values.jsonl").read_text().splitlines()]
    del lines[4]["right"]
    write_lines(folder / "values.jsonl", lines)
    with pytest.raises(InputError, match="line 5: has no `right`"):
        read_replay_set(folder)


def test_what_has_no_values_is_read_where_there_are_texts(folder: Path) -> None:
    (folder / "values.jsonl").unlink()
    assert read_replay_set(folder).unread == list(range(2 * N_OF_FORM))
    (folder / "texts_all.jsonl.xz").unlink()
    with pytest.raises(InputError, match=r"24 questions have neither an index into values.jsonl nor a text"):
        read_replay_set(folder)


def test_texts_alone_are_a_set(tmp_path: Path) -> None:
    replay = read_replay_set(write_form_set(tmp_path, forms=("number", "text"), responses=False))
    assert replay.unread == list(range(2 * N_OF_FORM))
    assert np.argwhere(~replay.measured).tolist() == [[2, 0]]
    assert replay.chars[0, 1] == len("The answer is 2.")


def test_a_set_with_choices_needs_its_responses(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("choice",), responses=False)
    with pytest.raises(InputError, match=r"cannot read .*responses.npz"):
        read_replay_set(folder)


def test_choices_may_be_read_off_their_texts(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("choice",), responses=False)
    np.savez(folder / "responses.npz", chars=np.full((3, N_OF_FORM), 50))
    replay = read_replay_set(folder)
    assert replay.unread == list(range(N_OF_FORM))
    assert (replay.chars == 50).all()


def test_lengths_have_a_file_of_their_own_where_nothing_else_was_recorded(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / "chars.npy", np.full((3, N_OF_FORM), 70, dtype=np.int32))
    np.save(folder / "reference_chars.npy", np.arange(N_OF_FORM))
    replay = read_replay_set(folder)
    assert (replay.chars == 70).all()
    assert replay.reference_chars is not None
    assert replay.reference_chars.tolist() == list(range(N_OF_FORM))


def scores(*, at: tuple[int, int] = (0, 0), value: float = 0.5) -> np.ndarray:
    matrix = np.full((3, N_OF_FORM), 0.5, dtype=np.float32)
    matrix[at] = value
    return matrix


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("scores.npy", scores(at=(1, 2), value=1.5), "expert 'poet' has 1.5 at question 'o2'"),
        ("scores.npy", scores(at=(1, 2), value=-0.1), "expert 'poet' has -0.1 at question 'o2'"),
        ("scores.npy", scores(at=(1, 2), value=np.inf), "expert 'poet' has inf at question 'o2'"),
        ("scores.npy", scores().astype(np.int64), "scores.npy holds int64, not floats"),
        ("scores.npy", scores().T, r"scores.npy has the shape \[12, 3\], not \[3, 12\]"),
        ("chars.npy", scores(), "chars.npy holds float32, not integers"),
        ("chars.npy", np.full((3, N_OF_FORM), -2), "chars.npy: it holds negative lengths"),
        ("reference_chars.npy", np.zeros(3, dtype=np.int32), r"reference_chars.npy has the shape \[3\]"),
    ],
)
def test_bad_arrays_of_open_sets_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / name, array)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


def test_open_questions_need_scores(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    (folder / "scores.npy").unlink()
    with pytest.raises(InputError, match=r"there is no .*scores.npy, and question 'o0' is open"):
        read_replay_set(folder)


def test_an_open_response_without_a_score_is_not_measured(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / "scores.npy", scores(at=(1, 2), value=np.nan))
    assert np.argwhere(~read_replay_set(folder).measured).tolist() == [[1, 2]]


def test_a_question_of_which_nothing_is_known_is_named(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    empty = scores()
    empty[:, 4] = np.nan
    np.save(folder / "scores.npy", empty)
    with pytest.raises(InputError, match="1 questions have no score, first 'o4'"):
        read_replay_set(folder)


def test_pickled_arrays_of_one_are_refused(tmp_path: Path) -> None:
    folder = write_form_set(tmp_path, forms=("open",), responses=False)
    np.save(folder / "scores.npy", np.array([[None] * N_OF_FORM] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"scores.npy is not an .npy file of numbers"):
        read_replay_set(folder)
