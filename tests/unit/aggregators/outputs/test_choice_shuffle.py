from collections.abc import Callable

import numpy as np

from aggregators.outputs import make_aggregator
from aggregators.outputs.choice_shuffle import nearest_solved
from orchestrator.compositions.voting import AggregatorContext
from orchestrator.domain.assignments import Call, CallRole
from orchestrator.domain.cards import Profile, Transcript
from orchestrator.domain.queries import LETTERS, AnswerType, Query
from tests.fakes.ballots import FOUR, OPEN, Talk, context, expert, says, state
from tests.fakes.decks import profile

POOL = context([expert("a"), expert("b")])


class Plane:
    """An embedder of two dimensions: every text lies on the first axis."""

    name = "plane"

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[1.0, 0.0]] * len(texts), dtype=np.float32)


def solved(*, texts: bool = True) -> Profile:
    """Three questions, ever further away; `a` is right on the first and the last."""
    queries = tuple(
        Query(id=str(i), question=f"Which {i}?", options=("x", "y"), answer=1, answer_type=AnswerType.CHOICE)
        for i in range(3)
    )
    known = profile({"a": [1, 0, 1], "b": [0, 0, 0]}, [[1.0, 0.0], [0.9, 0.1], [0.8, 0.2]])
    words = (("first, hence B", "wrong", "last, hence B"), ("", "", ""))
    transcript = Transcript(
        queries, ((None,) * 3,) * 2, np.zeros((2, 3), dtype=np.int32), words if texts else ()
    )
    return Profile(**{**known.__dict__, "transcript": transcript})


def with_profile() -> AggregatorContext:
    return POOL._replace(profile=solved(), embedder=Plane)


def says_option(wanted: str) -> Callable[[Call], str]:
    def reply(call: Call) -> str:
        """The letter under which the wanted option is shown."""
        lines = call.messages[-1].content.splitlines()
        return "answer: " + next(line[0] for line in lines if line.endswith(f") {wanted}"))

    return reply


def test_the_best_recruit_is_asked_five_permutations_and_votes_are_mapped_back() -> None:
    """blue is option C."""
    aggregator = make_aggregator("choice_shuffle", POOL)
    said = Talk(aggregator, state({"a": 0.8}), [says("a", "A")], says_option("blue"))
    [calls] = said.asked
    assert {(call.expert_id, call.role) for call in calls} == {("a", CallRole.SAMPLE)}
    assert len({call.messages for call in calls}) == 5
    assert [vote.value for vote in said.answer.votes] == ["A"] + ["C"] * 5
    assert (said.answer.value, said.answer.text) == ("C", "The answer is (C).")
    assert said.answer.answered_by is None


def test_an_answer_that_was_given_before_is_quoted() -> None:
    aggregator = make_aggregator("choice_shuffle", POOL)
    said = Talk(aggregator, state({"a": 0.8}), [says("a", "C")], says_option("blue"))
    assert (said.answer.text, said.answer.answered_by) == ("answer: C", "a")


def test_whoever_always_takes_the_first_place_spreads_its_votes() -> None:
    """A bias for a place is none for an option: over all 23 other orders of four options each is shown first
    equally often, but for the first, which its own order has."""
    aggregator = make_aggregator("choice_shuffle", POOL, {"permutations": 23})
    said = Talk(aggregator, state({"a": 0.8}), [says("a", "A")], lambda _: "answer: A")
    counts = [sum(vote.value == letter for vote in said.answer.votes) for letter in LETTERS[:4]]
    assert counts == [6, 6, 6, 6]


def test_nearest_questions_that_the_expert_solved_are_shown_in_its_words_nearest_last() -> None:
    aggregator = make_aggregator("choice_shuffle", with_profile(), {"shots": 2, "permutations": 1})
    said = Talk(aggregator, state({"a": 0.8}), [says("a", "A")], lambda _: "answer: A")
    messages = said.asked[0][0].messages
    assert [m.role for m in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [m.content for m in messages if m.role == "assistant"] == ["last, hence B", "first, hence B"]


def test_an_expert_that_solved_nothing_gets_no_shots() -> None:
    aggregator = make_aggregator("choice_shuffle", with_profile(), {"permutations": 1})
    said = Talk(aggregator, state({"b": 0.8}), [says("b", "A")], lambda _: "answer: A")
    assert len(said.asked[0][0].messages) == 1


def test_without_texts_the_bare_answer_is_shown() -> None:
    shots = nearest_solved(solved(texts=False), "a", FOUR, np.array([1.0, 0.0]), n=5, max_chars=99)
    assert [shot.reply for shot in shots] == ["The answer is (B)."] * 2


def test_a_question_is_never_its_own_shot() -> None:
    known = solved()
    assert known.transcript is not None
    shots = nearest_solved(known, "a", known.transcript.queries[0], np.array([1.0, 0.0]), n=5, max_chars=99)
    assert [shot.query.id for shot in shots] == ["2"]


def test_a_question_without_options_is_left_to_the_vote() -> None:
    said = Talk(make_aggregator("choice_shuffle", POOL), state({"a": 0.8}, query=OPEN), [says("a", "7")], str)
    assert said.asked == []
    assert "no options to permute" in said.answer.notes[-1]
