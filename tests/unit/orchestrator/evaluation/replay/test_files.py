"""Reading a replay set: what is taken, and how what is wrong is said."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InputError, UnknownNameError
from orchestrator.evaluation.replay.files import distinct_options, read_replay_set
from tests.fakes.replay_sets import question, write_lines, write_replay_set, write_responses


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_replay_set(tmp_path / "set", n=12)


def test_a_whole_set_is_read(folder: Path) -> None:
    replay = read_replay_set(folder)
    assert [e.id for e in replay.experts] == ["adder", "poet", "steady", "mute"]
    assert replay.pred.shape == replay.chars.shape == (4, 12)
    assert replay.embeddings is not None
    assert np.linalg.norm(replay.embeddings, axis=1) == pytest.approx(np.ones(12), abs=1e-6)
    assert sorted(replay.splits["seed1"]) == ["few", "many", "test"]
    assert set(replay.texts) == {0, 1, 2, 3}


def test_optional_files_may_be_missing(tmp_path: Path) -> None:
    replay = read_replay_set(write_replay_set(tmp_path, n=4, splits=False, embeddings=False, texts=False))
    assert (replay.splits, replay.embeddings, replay.texts) == ({}, None, {})


def test_pools_are_named_by_their_experts(folder: Path) -> None:
    replay = read_replay_set(folder)
    assert (replay.rows("pair"), replay.rows("all")) == ([0, 1], [0, 1, 2, 3])
    assert replay.largest_pool == "four"
    with pytest.raises(UnknownNameError, match=r"unknown pool 'pear'.*Did you mean 'pair'"):
        replay.rows("pear")


def test_nothing_is_written_into_the_folder(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    read_replay_set(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_repeated_and_blank_options_keep_their_indices() -> None:
    assert distinct_options(["x", "x", " ", "x", ""]) == ["x", "x (2)", "(blank)", "x (3)", "(blank) (2)"]


@given(st.lists(st.text(max_size=3), min_size=2, max_size=10))
def test_mended_options_are_distinct_and_as_many(options: list[str]) -> None:
    mended = distinct_options(options)
    assert len(set(mended)) == len(mended) == len(options)


def test_a_question_with_repeated_options_is_replayed(folder: Path) -> None:
    """Option 3 is right and repeats option 0: the index must not move."""
    lines = [question(i) for i in range(12)]
    lines[5]["options"] = ["same", "b", "c", "same"]
    write_lines(folder / "questions.jsonl", lines)
    replay = read_replay_set(folder)
    assert replay.queries[5].options == ("same", "b", "c", "same (2)")
    assert (replay.queries[5].answer, replay.mended) == (3, 1)


@pytest.mark.parametrize("name", ["questions.jsonl", "experts.json", "responses.npz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"cannot read .*{name}: No such file.*docs/replay.md"):
        read_replay_set(folder)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no replay set at"):
        read_replay_set(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, "line 3: has no reference answer"),
        ({"answer": 9}, "line 3: answer of a choice is an option index 0..3"),
        ({"id": "q0"}, "line 3: id 'q0' stands on line 1 already"),
        ({"id": None}, "line 3: has no id"),
        ({"options": ["one"]}, "line 3: a choice needs 2 to 26 options"),
        ({"colour": "red"}, "line 3: colour: unknown field"),
    ],
)
def test_a_bad_question_is_named_by_its_line(folder: Path, change: dict[str, object], message: str) -> None:
    lines = [question(i) for i in range(12)]
    lines[2].update(change)
    write_lines(folder / "questions.jsonl", lines)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


def test_broken_json_is_named_by_its_line(folder: Path) -> None:
    path = folder / "questions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:-5], *lines[2:]]))
    with pytest.raises(InputError, match="line 2: is not JSON"):
        read_replay_set(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{]", "experts.json is not JSON: line 1"),
        ("[]", "lists no expert"),
        ('[{"id": "a"}, {"id": "a"}]', "lists 'a' twice"),
        ('[{"id": "a", "size": 3}]', "0.size: Extra inputs"),
    ],
)
def test_a_bad_expert_list_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "experts.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


def test_shapes_must_fit_experts_and_questions(folder: Path) -> None:
    lines = [question(i) for i in range(11)]
    write_responses(folder, lines, np.zeros((4, 11), dtype=np.int8))
    with pytest.raises(InputError, match=r"`pred` has the shape \[4, 11\], not \[4, 12\]"):
        read_replay_set(folder)


def test_mixed_up_columns_are_found_by_correct(folder: Path) -> None:
    pred = read_replay_set(folder).pred
    lines = [question(i) for i in range(12)]
    np.savez(
        folder / "responses.npz",
        pred=np.roll(pred, 1, axis=1),
        correct=pred == np.array([q["answer"] for q in lines]),
        chars=np.zeros_like(pred, dtype=np.int32),
    )
    with pytest.raises(InputError, match=r"`correct` is not `pred == answer` at \d+ places"):
        read_replay_set(folder)


def test_an_index_beyond_the_options_is_refused(folder: Path) -> None:
    pred = read_replay_set(folder).pred.copy()
    pred[1, 3] = 4
    write_responses(folder, [question(i) for i in range(12)], pred)
    with pytest.raises(InputError, match="expert 'poet' chose option 4 of 4 at question 'q3'"):
        read_replay_set(folder)


def test_floats_are_no_indices(folder: Path) -> None:
    pred = read_replay_set(folder).pred.astype(np.float32)
    write_responses(folder, [question(i) for i in range(12)], pred)
    with pytest.raises(InputError, match="`pred` holds float32, not integers"):
        read_replay_set(folder)


def test_pickled_arrays_are_refused(folder: Path) -> None:
    objects = np.array([[None] * 12] * 4, dtype=object)
    np.savez(folder / "responses.npz", allow_pickle=True, pred=objects, correct=objects, chars=objects)
    with pytest.raises(InputError, match=r"not an .npz file of plain arrays"):
        read_replay_set(folder)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"seed0": {"few": ["q1"], "test": ["q99"]}}, "seed0.test: unknown question 'q99'"),
        ({"seed0": {"few": ["q1"], "test": ["q1"]}}, "'few' and 'test' share questions"),
        ({"seed0": {"test": ["q1"]}}, "give a 'test' list and a profile list"),
        ({"seed0": {"few": ["q1", "q1"], "test": ["q2"]}}, "seed0.few lists a question twice"),
        ({"seed0": {"few": [], "test": ["q2"]}}, "seed0.few is not a list of question ids"),
    ],
)
def test_bad_splits_are_refused(folder: Path, splits: object, message: str) -> None:
    (folder / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((12, 3)), "zero or not finite"),
        (np.ones((11, 3)), r"not floats with 12 rows"),
        (np.full((12, 3), np.nan), "zero or not finite"),
    ],
)
def test_bad_embeddings_are_refused(folder: Path, matrix: np.ndarray, message: str) -> None:
    np.save(folder / "embeddings.npy", matrix)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"experts": ["nobody"]}], "expert 'nobody' is not in experts.json"),
        ([{"names": ["adder"]}], "line 1 must name its `experts`"),
        ([{"experts": ["adder"]}, {"id": "q77", "texts": ["a"]}], "line 2: unknown question 'q77'"),
        ([{"experts": ["adder"]}, {"id": "q1", "texts": []}], "line 2: `texts` must hold 1 strings"),
    ],
)
def test_bad_texts_are_refused(folder: Path, lines: list[object], message: str) -> None:
    with lzma.open(folder / "texts_four.jsonl.xz", "wt") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
    with pytest.raises(InputError, match=message):
        read_replay_set(folder)


def test_a_cut_off_text_file_is_refused(folder: Path) -> None:
    path = folder / "texts_four.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read after line"):
        read_replay_set(folder)
