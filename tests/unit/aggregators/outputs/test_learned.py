import random
from collections.abc import Sequence
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregators.outputs import make_aggregator
from aggregators.outputs.learned import NOT_LEARNT, LearnedVote
from aggregators.outputs.vote_fit import LEAST_QUESTIONS, fit_votes
from aggregators.outputs.vote_lesson import LEAST_FOR_SIGNS
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import Done, Response
from orchestrator.domain.cards import Profile
from orchestrator.ports.composing import SequentialAggregator
from tests.fakes.ballots import OPEN, context, fails, says, state
from tests.fakes.transcripts import spoken_profile, with_texts

N = 120


def master(i: int) -> str:
    return "A" if i % 10 else "B"


def parrot(i: int) -> str:
    """Right every third time; otherwise the parrots are wrong together."""
    return "A" if i % 3 == 0 else "BCD"[i % 7 % 3]


def mute(i: int) -> str | None:
    return None if i % 2 else "A"


@lru_cache(maxsize=1)
def pool() -> Profile:
    return spoken_profile({"a": master, "b": parrot, "c": parrot, "d": mute}, N)


ACCURACIES = {"a": 0.9, "b": 0.33, "c": 0.33, "d": 0.5}


def vote(responses: Sequence[Response], *, profile: Profile | None = None) -> Answer:
    aggregator = make_aggregator("learned", context()._replace(profile=profile or pool()))
    step = aggregator.step(state(ACCURACIES), responses)
    assert isinstance(step, Done)
    return step.answer


def test_one_reliable_expert_outvotes_two_that_err_together() -> None:
    answer = vote([says("a", "A"), says("b", "B"), says("c", "B")])
    assert answer.value == "A"
    weights = {v.expert_id: v.weight for v in answer.votes}
    assert weights["a"] > weights["b"] + weights["c"]


def test_confidence_is_near_the_accuracy_in_the_profile() -> None:
    """The master is right on 90 %."""
    confidence = vote([says("a", "A")]).confidence
    assert confidence == pytest.approx(0.9, abs=0.08)


def test_dissent_of_a_good_expert_lowers_the_confidence() -> None:
    """The mute one is always right when it speaks."""
    agreed, split = vote([says("a", "A"), says("d", "A")]), vote([says("a", "A"), says("d", "B")])
    assert agreed.confidence is not None
    assert split.confidence is not None
    assert split.confidence < agreed.confidence - 0.1


def test_an_expert_that_was_not_in_the_profile_has_a_vote() -> None:
    answer = vote([says("stranger", "C")])
    assert answer.value == "C"
    assert answer.votes[0].weight != 0


@settings(max_examples=30)
@given(
    votes=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["A", "B", "C", None])), min_size=1, max_size=6
    ),
    shuffle=st.randoms(use_true_random=False),
)
def test_order_of_responses_does_not_matter(
    votes: list[tuple[str, str | None]], shuffle: random.Random
) -> None:
    responses = [says(expert_id, value, sample_ix=i) for i, (expert_id, value) in enumerate(votes)]
    shuffled = list(responses)
    shuffle.shuffle(shuffled)
    assert vote(shuffled) == vote(responses)


@pytest.mark.parametrize("missing", ["profile", "transcript", "questions", "right answers"])
def test_where_nothing_can_be_learnt_accuracies_weigh_and_a_note_says_so(missing: str) -> None:
    few = spoken_profile({"a": master}, LEAST_QUESTIONS - 1)
    wrong = spoken_profile({"a": lambda i: "B"}, N)
    silent = Profile(**{**vars(pool()), "transcript": None})
    profile = {"profile": None, "transcript": silent, "questions": few, "right answers": wrong}[missing]
    aggregator = make_aggregator("learned", context()._replace(profile=profile))
    step = aggregator.step(state(ACCURACIES), [says("a", "A"), says("b", "B")])
    assert isinstance(step, Done)
    assert step.answer.value == "A"
    assert step.answer.aggregator == "learned"
    assert NOT_LEARNT in step.answer.notes


@lru_cache(maxsize=1)
def read_pool() -> Profile:
    """Whatever is stated, the reasoning says red, which is A, and right."""
    coins = {"a": lambda i: "AB"[i % 2], "b": lambda i: "AC"[i // 2 % 2], "c": lambda i: "AB"[i // 4 % 2]}
    return with_texts(
        spoken_profile(coins, LEAST_FOR_SIGNS),
        lambda expert_id, i, value: f"It is red. The answer is ({value}).",
    )


def red(expert_id: str, value: str) -> Response:
    return says(expert_id, value, text=f"It is red. The answer is ({value}).\nanswer: {value}")


def test_a_text_counts_for_the_answer_that_it_arrives_at_and_the_answer_says_how_much() -> None:
    answer = vote([red("a", "A"), red("b", "C")], profile=read_pool())
    assert answer.value == "A"
    evidence = answer.extras["evidence"]
    assert isinstance(evidence, dict)
    assert evidence["a"] > 0 > evidence["b"]  # type: ignore[operator]


def test_a_stranger_s_text_is_read_too() -> None:
    follows, does_not = (vote([red("stranger", v)], profile=read_pool()).confidence for v in "AC")
    assert follows is not None
    assert does_not is not None
    assert follows > does_not


def test_open_questions_are_learnt_too() -> None:
    """Nobody but the master is ever right: what only the other says is hardly right."""
    profile = spoken_profile(
        {"a": lambda i: "A" if i % 5 else f"x{i}", "b": lambda i: f"y{i}"}, N, is_open=True
    )
    model = fit_votes(profile)
    assert model is not None
    aggregator = LearnedVote(context().grader, model)
    asked = state({"a": 0.8, "b": 0.02}, query=OPEN)
    right = aggregator.step(asked, [says("a", "12"), says("b", "13")]).answer
    assert right.value == "12"
    assert right.confidence == pytest.approx(0.8, abs=0.1)
    assert aggregator.count(asked, [says("b", "13")]).outlook.confidence == pytest.approx(0, abs=0.15)


def test_the_outlook_counts_what_stands_and_what_may_come() -> None:
    aggregator = make_aggregator("learned", context()._replace(profile=pool()))
    assert isinstance(aggregator, SequentialAggregator)
    asked = state(ACCURACIES)
    assert asked.decision is not None
    recruits = asked.decision.recruits
    decision = asked.decision.model_copy(update={"recruits": recruits[:2], "reserves": recruits[2:]})
    waiting = asked.model_copy(update={"decision": decision})
    outlook = aggregator.count(waiting, [says("a", "A"), says("b", "A"), fails("z")]).outlook
    assert (outlook.n_votes, outlook.n_agree, len(outlook.next_weights)) == (2, 2, 2)
    assert outlook.lead > 0
    nothing = aggregator.count(waiting, [fails("a")]).outlook
    assert (nothing.n_votes, nothing.confidence) == (0, None)
