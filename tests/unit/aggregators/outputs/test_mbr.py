import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.mbr import chosen_number, mean_similarity, most_typical, overlap
from orchestrator.domain.assignments import Call, CallRole
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.errors import ConfigError
from tests.fakes.ballots import FOUR, Talk, context, expert, says, state

PROSE = Query(id="q", question="Why?", answer_type=AnswerType.TEXT)
ACCURACIES = {"a": 0.8, "b": 0.6, "c": 0.6}
THREE = [says("a", "tea"), says("b", "the sun sets"), says("c", "sun sets")]


class Bags:
    """An embedder that counts letters."""

    name = "bags"

    def encode(self, texts: list[str]) -> np.ndarray:
        counts = np.array([[t.count(ch) for ch in "abcdefghijklmnopqrstuvwxyz:"] for t in texts], dtype=float)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_mean_similarity_by_hand() -> None:
    """Weights 1, 2, 1: first (2·.5 + 0) / 3, second (.5 + .8) / 2, third (0 + 2·.8) / 3."""
    similarity = [[1, 0.5, 0], [0.5, 1, 0.8], [0, 0.8, 1]]
    assert mean_similarity(similarity, [1, 2, 1]) == pytest.approx([1 / 3, 0.65, 1.6 / 3])
    assert mean_similarity([[1]], [1]) == [0]
    assert mean_similarity(similarity, [0, 0, 0]) == mean_similarity(similarity, [1, 1, 1])


def test_a_response_whose_others_have_no_weight_is_compared_with_all_of_them_alike() -> None:
    """Second: (.5 + .8) / 2; the others have it as their only witness. A lone response with a weight and one
    without: each is as like the other."""
    similarity = [[1, 0.5, 0], [0.5, 1, 0.8], [0, 0.8, 1]]
    assert mean_similarity(similarity, [0, 1, 0]) == pytest.approx([0.5, 0.65, 0.8])
    assert mean_similarity([[1, 0.4], [0.4, 1]], [1, 0]) == pytest.approx([0.4, 0.4])
    assert mean_similarity([[1, 0.4], [0.4, 1]], [0, 0]) == pytest.approx([0.4, 0.4])


@given(st.floats(-1, 1), st.lists(st.floats(0.02, 1), min_size=3, max_size=3), st.integers(0, 2))
def test_of_two_equal_responses_and_one_other_one_of_the_two_is_chosen(
    likeness: float, weights: list[float], other: int
) -> None:
    similarity = np.ones((3, 3))
    similarity[other, :] = similarity[:, other] = likeness
    texts = ["same"] * 3
    texts[other] = "other"
    assert most_typical(similarity, weights, texts) != other


@given(st.permutations(range(4)), st.integers(0, 999))
def test_the_order_of_responses_does_not_matter(order: list[int], seed: int) -> None:
    s = np.random.default_rng(seed).random((4, 4))
    s, weights, texts = (s + s.T) / 2, [0.5, 0.6, 0.7, 0.8], ["a", "b", "c", "d"]
    scores = mean_similarity(s, weights)
    assume(len(set(scores)) == 4)
    shuffled = most_typical(s[np.ix_(order, order)], [weights[i] for i in order], [texts[i] for i in order])
    assert order[shuffled] == most_typical(s, weights, texts)


def test_words_can_be_compared_although_there_is_an_embedder() -> None:
    pool = context()._replace(embedder=Bags)  # type: ignore[arg-type]
    for query in (PROSE, PROSE.model_copy(update={"answer_type": AnswerType.OPEN})):
        by_words = make_aggregator("mbr", pool, {"compare": "words"})
        answer = Talk(by_words, state(ACCURACIES, query=query), THREE, lambda _: None).answer
        assert answer.extras["mbr"]["by"] == "words in common"  # type: ignore[index,call-overload]


def test_words_in_common_are_counted_where_there_is_no_embedder() -> None:
    assert overlap("the sun sets", "Sun sets") == pytest.approx(2 / 3)
    assert overlap("!", "!") == 1
    assert overlap("!", "?") == 0


@pytest.mark.parametrize("embedder", [None, Bags])
def test_the_most_typical_text_is_taken_without_a_call(embedder: type[Bags] | None) -> None:
    aggregator = make_aggregator("mbr", context()._replace(embedder=embedder))
    talk = Talk(aggregator, state(ACCURACIES, query=PROSE), THREE, lambda _: "")
    assert talk.asked == []
    assert talk.answer.value in ("the sun sets", "sun sets")
    told = talk.answer.extras["mbr"]
    assert isinstance(told, dict)
    assert told["by"] == ("bags" if embedder else "words in common")


def test_answers_that_can_be_compared_are_alike_if_they_are_equivalent() -> None:
    """.6 + .6 witnesses for B against none for A."""
    responses = [says("a", "A"), says("b", "B"), says("c", "b")]
    talk = Talk(make_aggregator("mbr", context()), state(ACCURACIES, query=FOUR), responses, lambda _: "")
    assert talk.answer.value == "B"


def test_samples_are_hedged_by_a_greedy_one() -> None:
    aggregator = make_aggregator("mbr", context(), {"samples": 3})
    talk = Talk(aggregator, state(ACCURACIES, query=PROSE), THREE, lambda _: "answer: sun sets")
    [calls] = talk.asked
    assert [call.sampling.temperature for call in calls] == [0.7, 0.7, 0.0]
    assert {(call.expert_id, call.role) for call in calls} == {("a", CallRole.SAMPLE)}
    assert talk.answer.value == "sun sets"
    unhedged = make_aggregator("mbr", context(), {"samples": 2, "hedged": False})
    talk = Talk(unhedged, state(ACCURACIES, query=PROSE), THREE, lambda _: "answer: x")
    assert [call.sampling.temperature for call in talk.asked[0]] == [0.7, 0.7]


def number_of(call: Call, words: str) -> int:
    content = call.messages[-1].content
    return next(i for i in (1, 2, 3) if f"[candidate {i} " in content and words in part(content, i))


def part(content: str, i: int) -> str:
    return content.split(f"[candidate {i} ")[1].split("[end of")[0]


def test_in_one_pass_a_member_picks_by_its_checklist() -> None:
    aggregator = make_aggregator("mbr", context(), {"one_pass": True})
    talk = Talk(
        aggregator,
        state(ACCURACIES, query=PROSE),
        THREE,
        lambda call: f"- short\nChoice: {number_of(call, 'tea')}",
    )
    assert [(call.expert_id, call.role) for call in talk.asked[0]] == [("scribe", CallRole.JUDGE)]
    assert talk.answer.value == "tea"
    assert not talk.answer.degraded


def test_a_pick_that_cannot_be_read_leaves_it_to_similarity() -> None:
    aggregator = make_aggregator("mbr", context(), {"one_pass": True})
    answer = Talk(aggregator, state(ACCURACIES, query=PROSE), THREE, lambda _: "Choice: 9").answer
    assert answer.value in ("the sun sets", "sun sets")
    assert answer.degraded
    assert answer.notes == ("the checklist made no readable choice: the most typical response was taken",)


def test_choices_are_read_within_range() -> None:
    assert chosen_number("Choice: 3\nChoice: 2", 3) == 1
    assert chosen_number("Choice: 4", 3) is None
    assert chosen_number("Choice: 0", 3) is None
    assert chosen_number("2", 3) is None


def test_one_pass_needs_a_member_that_may_pick() -> None:
    pool = context([expert("a")])
    assert make_aggregator("mbr", pool)
    with pytest.raises(ConfigError, match="aggregator 'mbr' needs a member"):
        make_aggregator("mbr", pool, {"one_pass": True})
