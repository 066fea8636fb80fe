from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.assignments import Call, CallRole, Response
from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import UnsupportedError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.recording import RecordedGrader, Recording, spelled_out
from skills.grading.grader import AnswerGrader
from tests.fakes.replay_sets import write_replay_set

TEN = Query(
    id="q",
    question="Which?",
    options=tuple(f"option number {i}" for i in range(10)),
    answer=0,
    answer_type=AnswerType.CHOICE,
)


def recording(tmp_path: Path, **options: bool | int) -> Recording:
    return Recording(read_replay_set(write_replay_set(tmp_path, n=12, **options)), "four")  # type: ignore[arg-type]


def call(expert_id: str, sample_ix: int = 0, role: CallRole = CallRole.EXPERT) -> Call:
    return Call(expert_id=expert_id, role=role, messages=(), sample_ix=sample_ix)


@pytest.mark.parametrize(
    ("value", "n_chars", "text"),
    [
        ("C", 20, "  The answer is (C)."),
        ("C", 17, "              (C)"),
        ("C", 2, " C"),
        ("C", 0, "C"),
        (None, 12, "  No answer."),
        (None, 3, "   "),
    ],
)
def test_an_option_is_spelled_out_in_the_room_there_is(value: str | None, n_chars: int, text: str) -> None:
    assert spelled_out(value, n_chars) == text


@given(st.sampled_from([None, "A", "J"]), st.integers(min_value=1, max_value=60))
def test_a_text_is_as_long_as_the_record_says_and_reads_as_recorded(value: str | None, n_chars: int) -> None:
    text = spelled_out(value, n_chars)
    assert len(text) == n_chars
    response = Response(expert_id="e", role=CallRole.EXPERT, stage=0, text=text)
    assert AnswerGrader().read(TEN, response) == value


def test_a_recorded_text_is_padded_to_its_recorded_length(tmp_path: Path) -> None:
    record = recording(tmp_path)
    response = record.respond(call("adder"), record.queries[0], stage=2)
    assert response.text.strip().startswith("Let me see.\nThe answer is (")
    assert len(response.text) >= 20
    assert (response.stage, response.usage.completion_tokens) == (2, -(-len(response.text) // 4))


def test_every_answer_reads_as_it_was_recorded(tmp_path: Path) -> None:
    record = recording(tmp_path, texts=False)
    grader = AnswerGrader()
    for column, query in enumerate(record.queries):
        for row, expert in enumerate(record.experts):
            response = record.respond(call(expert.id), query, stage=0)
            assert grader.read(query, response) == record.value(row, column)


def test_the_record_wins_over_what_is_left_of_a_text(tmp_path: Path) -> None:
    """The kept text states nothing, or another letter: the letter that was recorded counts."""
    record = recording(tmp_path)
    record._texts = [["They say (D)."] * 12] * 4
    query = record.queries[0]
    grader = RecordedGrader(AnswerGrader(), record)
    response = record.respond(call("adder"), query, stage=0)
    assert grader.read(query, response) == record.value(0, 0)


def test_a_text_that_is_not_recorded_is_read_as_any_other(tmp_path: Path) -> None:
    record = recording(tmp_path)
    grader = RecordedGrader(AnswerGrader(), record)
    response = Response(expert_id="adder", role=CallRole.AGGREGATE, stage=1, text="The answer is (D).")
    assert grader.read(record.queries[0], response) == "D"


def test_outcomes_tell_right_from_wrong_from_silent(tmp_path: Path) -> None:
    record = recording(tmp_path)
    record._pred = [[record.queries[0].answer], [(record.queries[0].answer + 1) % 4], [-1]]  # type: ignore[operator]
    assert [record.outcome(row, 0).outcome for row in range(3)] == [RIGHT, WRONG, ABSTAINED]


def test_further_samples_are_answers_of_their_own(tmp_path: Path) -> None:
    """Sample s of the fake is the first answers shifted by 2(s + 1) questions; samples then repeat."""
    record = recording(tmp_path, samples=2)
    assert record.n_samples == 3
    values = [record.value(0, 6, ix) for ix in range(4)]
    assert values == [record.value(0, 6), record.value(0, 4), record.value(0, 2), record.value(0, 4)]


def test_a_call_that_was_not_recorded_is_refused(tmp_path: Path) -> None:
    record = recording(tmp_path)
    with pytest.raises(UnsupportedError, match="a recorded pool cannot annotate"):
        record.respond(call("adder", role=CallRole.ANNOTATE), record.queries[0], stage=0)


def test_costs_are_per_token(tmp_path: Path) -> None:
    """0.5 USD per million tokens."""
    adder = recording(tmp_path).pool.by_id["adder"]
    assert (adder.input_cost_per_token, adder.output_cost_per_token) == (5e-7, 5e-7)
    assert adder.params_b == 3
