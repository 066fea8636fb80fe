import random
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.verifiers import Gain, paired_gain
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Done, QueryState, Response
from orchestrator.domain.cards import Profile
from orchestrator.ports.composing import Aggregator, SequentialAggregator
from tests.fakes.ballots import OPEN, context, says, state, truncated
from tests.fakes.transcripts import spoken_profile, with_texts

N = 120
OPTIONS = {"min_questions": N}
ACCURACIES = {"a": 0.5, "b": 0.5, "c": 0.5}


def coin(i: int) -> str:
    return "A" if i % 2 else "B"


def other_coin(i: int) -> str:
    return "A" if i % 4 < 2 else "C"


def third_coin(i: int) -> str:
    return "A" if i % 8 < 4 else "B"


def reveals(expert_id: str, i: int, value: str | None) -> str:
    """Whatever is stated, the reasoning says red, which is A."""
    return f"It is red. The answer is ({value})."


def babbles(expert_id: str, i: int, value: str | None) -> str:
    return "Well."


@lru_cache(maxsize=2)
def pool(telling: bool = True) -> Profile:
    coins = {"a": coin, "b": other_coin, "c": third_coin}
    return with_texts(spoken_profile(coins, N), reveals if telling else babbles)


def aggregator(profile: Profile | None = None, **options: int) -> Aggregator:
    built = context()._replace(profile=profile or pool())
    return make_aggregator("verifiers", built, {**OPTIONS, **options})


def response(expert_id: str, value: str | None, *, sample_ix: int = 0) -> Response:
    return says(expert_id, value, sample_ix=sample_ix, text=None if value is None else f"answer: {value}")


def red(expert_id: str, value: str) -> Response:
    """The reasoning names red, then the fake grader's form of the answer."""
    return says(expert_id, value, text=f"It is red. The answer is ({value}).\nanswer: {value}")


def vote(
    responses: Sequence[Response], *, of: Aggregator | None = None, at: QueryState | None = None
) -> Answer:
    step = (of or aggregator()).step(at or state(ACCURACIES), responses)
    assert isinstance(step, Done)
    return step.answer


def test_one_answer_that_follows_outvotes_two_that_do_not() -> None:
    responses = [red("a", "A"), red("b", "C"), red("c", "C")]
    plain = make_aggregator("learned", context()._replace(profile=pool()))
    assert vote(responses, of=plain).value == "C"
    answer = vote(responses)
    assert (answer.value, answer.aggregator) == ("A", "verifiers")
    assert answer.notes == ()


def test_the_answer_says_what_each_text_added() -> None:
    evidence = vote([red("a", "A"), red("b", "C"), says("c", None)]).extras["evidence"]
    assert isinstance(evidence, dict)
    assert set(evidence) == {"a", "b"}
    assert evidence["a"] > 0 > evidence["b"]  # type: ignore[operator]


def test_samples_of_one_expert_are_read_apart() -> None:
    again = red("a", "C").model_copy(update={"sample_ix": 1})
    evidence = vote([red("a", "A"), again]).extras["evidence"]
    assert isinstance(evidence, dict)
    assert evidence["a"] != evidence["a#1"]


def test_confidence_rises_with_the_evidence() -> None:
    follows, does_not = vote([red("a", "A")]).confidence, vote([red("a", "C")]).confidence
    assert follows is not None
    assert does_not is not None
    assert follows > does_not + 0.2


@settings(max_examples=30)
@given(
    votes=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["A", "B", "C", None])), min_size=1, max_size=6
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_order_of_responses_does_not_matter(
    votes: list[tuple[str, str | None]], shuffle: random.Random
) -> None:
    responses = [response(expert_id, value, sample_ix=i) for i, (expert_id, value) in enumerate(votes)]
    shuffled = list(responses)
    shuffle.shuffle(shuffled)
    assert vote(shuffled) == vote(responses)


def test_the_outlook_sees_the_evidence() -> None:
    sequential = aggregator()
    assert isinstance(sequential, SequentialAggregator)
    asked = state(ACCURACIES)
    outlooks = [sequential.count(asked, [red("a", value)]).outlook for value in "AC"]
    assert outlooks[0].lead > outlooks[1].lead


def test_open_questions_and_abstentions_are_read_as_they_come() -> None:
    answer = vote([says("a", "12"), truncated("b")], at=state(ACCURACIES, query=OPEN))
    assert answer.value == "12"
    assert answer.degraded


@pytest.mark.parametrize(
    ("profile", "options", "why"),
    [
        (pool(), {"min_questions": N + 1}, "the profile has 120 questions, a verifier needs 121"),
        (pool(telling=False), {}, "no gain inside the profile"),
        (spoken_profile({"a": coin}, N), {}, "the profile has no texts of right and wrong responses"),
    ],
)
def test_where_it_does_not_pay_the_learned_vote_decides_and_a_note_says_so(
    profile: Profile, options: dict[str, int], why: str
) -> None:
    responses = [red("a", "A"), red("b", "C"), red("c", "C")]
    answer = vote(responses, of=aggregator(profile, **options))
    plain = vote(responses, of=make_aggregator("learned", context()._replace(profile=profile)))
    assert answer.notes[-1].startswith(f"no verifier: {why}")
    changed = {"aggregator": "verifiers", "notes": (*plain.notes, answer.notes[-1])}
    assert answer == plain.model_copy(update=changed)


def test_without_a_profile_nothing_is_read() -> None:
    unprofiled = make_aggregator("verifiers", context())
    assert (
        "no verifier: the pool is not profiled here; the learned vote decided"
        in vote([red("a", "A")], of=unprofiled).notes
    )
    assert isinstance(unprofiled, SequentialAggregator)
    assert unprofiled.count(state(ACCURACIES), [red("a", "A")]).outlook.n_votes == 1


def test_paired_gain_by_hand() -> None:
    """Means over the votes: 0.2 and 0.4; mean 0.3, standard deviation 0.1414, error 0.1."""
    gain = paired_gain(np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[0.9, 0.7], [1.4, 1.8]]))
    assert gain == pytest.approx((0.3, 0.1))
    assert gain.sure
    assert not Gain(0.16, 0.1).sure
