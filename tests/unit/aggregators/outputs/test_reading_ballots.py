from collections.abc import Sequence

from aggregators.outputs.reading import Reader
from aggregators.outputs.verifying.model import StatedAnswer
from aggregators.outputs.votes import Ballot
from orchestrator.domain.queries import AnswerType, Query
from tests.fakes.ballots import says, state


def ballot(expert_id: str, text: str, *, value: str = "A", accuracy: float = 0.5) -> Ballot:
    return Ballot(says(expert_id, value, text=text), value, accuracy, 1.0, 0)


class Lengths:
    """Evidence that is the length of the text; knows what was read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, query: Query, stated: Sequence[StatedAnswer]) -> list[float]:
        self.read += [said.text for said in stated]
        return [float(len(said.text)) for said in stated]


QUERY = state({"a": 0.5}).query


def test_a_response_is_read_once() -> None:
    lengths = Lengths()
    reader = Reader(lengths)
    first, second = ballot("a", "one"), ballot("b", "three")
    assert reader(QUERY, [first]) == [3.0]
    assert reader(QUERY, [second, first, second]) == [5.0, 3.0, 5.0]
    assert lengths.read == ["one", "three"]


def test_what_a_text_is_read_for_tells_responses_apart() -> None:
    lengths = Lengths()
    reader = Reader(lengths)
    same = [ballot("a", "x"), ballot("b", "x"), ballot("a", "x", value="B"), ballot("a", "x", accuracy=0.6)]
    assert reader(QUERY, same) == [1.0] * 4
    assert len(lengths.read) == 4


def test_the_same_words_to_another_question_are_read_anew() -> None:
    lengths = Lengths()
    reader = Reader(lengths)
    reader(QUERY, [ballot("a", "x")])
    reader(Query(id="2", question="And now?", answer_type=AnswerType.TEXT), [ballot("a", "x")])
    assert len(lengths.read) == 2


def test_texts_that_no_encoding_holds_are_read() -> None:
    assert Reader(Lengths())(QUERY, [ballot("a", "\ud800")]) == [1.0]
