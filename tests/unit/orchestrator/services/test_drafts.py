"""Text for a reader who cannot unread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import AnswerChangedError
from orchestrator.ports.dispatch import Piece
from orchestrator.services.drafts import Draft


def piece(at: int, text: str, writer: str = "one") -> Piece:
    return Piece("job", writer, at, text)


def test_pieces_are_given_out_as_they_come_and_the_rest_at_the_end() -> None:
    draft = Draft()
    assert [draft.add([piece(0, "It ")]), draft.add([piece(3, "is"), piece(5, " so")])] == ["It ", "is so"]
    assert draft.finish("It is so.") == "."


def test_a_text_ends_at_a_lost_piece() -> None:
    draft = Draft()
    assert draft.add([piece(0, "ab"), piece(4, "ef")]) == "ab"
    assert draft.add([piece(6, "gh")]) == ""
    assert draft.finish("abcdefgh") == "cdefgh"


def test_a_second_attempt_with_the_same_words_goes_on_without_a_repetition() -> None:
    draft = Draft()
    assert draft.add([piece(0, "one two")]) == "one two"
    assert draft.add([piece(0, "one ", "two"), piece(4, "two", "two")]) == ""
    assert draft.add([piece(7, " three", "two")]) == " three"
    assert draft.finish("one two three") == ""


def test_a_second_attempt_with_other_words_is_not_given_out_and_its_answer_is_refused() -> None:
    draft = Draft()
    assert draft.add([piece(0, "red")]) == "red"
    assert draft.add([piece(0, "blue sky", "two")]) == ""
    assert draft.text == "red"
    with pytest.raises(AnswerChangedError):
        draft.finish("blue sky")


def test_of_two_attempts_heard_at_once_the_newer_counts() -> None:
    draft = Draft()
    assert draft.add([piece(0, "red rose"), piece(0, "blue", "two")]) == "blue"
    assert draft.finish("blue sky") == " sky"


def test_a_reader_of_nothing_gets_whatever_the_answer_is() -> None:
    draft = Draft()
    assert draft.add([piece(2, "tail only")]) == ""
    assert draft.finish("anything") == "anything"


TEXT = st.text(alphabet="ab ", max_size=12)


@given(st.data(), TEXT)
def test_what_is_given_out_is_the_answer_whatever_is_lost_doubled_or_shuffled(
    data: st.DataObject, answer: str
) -> None:
    """All writers write the same text, cut anywhere; each its own way."""
    cuts = st.tuples(st.integers(0, len(answer)), st.integers(0, len(answer)), st.sampled_from("vw"))
    told = [
        piece(min(a, b), answer[min(a, b) : max(a, b)], writer)
        for a, b, writer in data.draw(st.lists(cuts, max_size=20))
    ]
    draft = Draft()
    given_out = "".join(draft.add([one]) for one in told)
    assert answer.startswith(given_out)
    assert given_out + draft.finish(answer) == answer


@given(st.lists(st.tuples(st.integers(0, 6), TEXT, st.sampled_from("uvw")), max_size=20), TEXT)
def test_whoever_writes_whatever_the_text_only_grows_and_ends_as_the_answer_or_not_at_all(
    told: list[tuple[int, str, str]], answer: str
) -> None:
    draft, given_out = Draft(), ""
    for at, text, writer in told:
        given_out += draft.add([piece(at, text, writer)])
        assert draft.text == given_out
    if answer.startswith(given_out):
        assert given_out + draft.finish(answer) == answer
    else:
        with pytest.raises(AnswerChangedError):
            draft.finish(answer)
