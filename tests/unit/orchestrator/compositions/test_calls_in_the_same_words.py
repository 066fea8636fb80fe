"""Experts that are asked in the same words share their messages; calls on the same terms their sampling."""

import pytest

from orchestrator.compositions.calls import Sampled, Worded, expert_call
from orchestrator.domain.assignments import Job
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.prompts import Shot
from tests.fakes.work import make_pool

QUERY = Query(id="q", question="What is 2 + 3?", answer_type=AnswerType.NUMBER)
JOB = Job(id="j", composition="c")
POOL = make_pool("a", "b").by_id
A, B = POOL["a/0"], POOL["b/0"]


def test_experts_of_one_style_share_the_messages_and_have_seeds_of_their_own() -> None:
    worded: Worded = {}
    first, second = (expert_call(expert, QUERY, JOB, worded=worded) for expert in (A, B))
    assert [mine is its for mine, its in zip(first.messages, second.messages, strict=True)] == [True]
    assert first.sampling.seed != second.sampling.seed


@pytest.mark.parametrize("changes", [{"prompt": "plain"}, {"system_prompt": "Be brief."}])
def test_an_expert_of_other_words_has_its_own(changes: dict[str, str]) -> None:
    worded: Worded = {}
    other = B.model_copy(update=changes)
    expert_call(A, QUERY, JOB, worded=worded)
    assert expert_call(other, QUERY, JOB, worded=worded) == expert_call(other, QUERY, JOB)
    assert expert_call(other, QUERY, JOB).messages != expert_call(A, QUERY, JOB).messages


def test_what_is_shown_to_one_expert_is_not_shown_to_another() -> None:
    worded: Worded = {}
    shot = Shot(QUERY.model_copy(update={"question": "What is 1 + 1?"}), "2")
    shown = expert_call(A, QUERY, JOB, shots=(shot,), worded=worded)
    plain = expert_call(B, QUERY, JOB, worded=worded)
    assert len(shown.messages) > len(plain.messages)
    assert plain.messages == expert_call(B, QUERY, JOB).messages


@pytest.mark.parametrize("stream", [False, True])
def test_calls_on_the_same_terms_differ_in_their_seeds_only(*, stream: bool) -> None:
    sampled: Sampled = {}
    other = QUERY.replaced(id="r", question="What is 3 + 4?")
    for expert in (A, B):
        for query in (QUERY, other):
            call = expert_call(expert, query, JOB, stream=stream, sampled=sampled)
            assert call == expert_call(expert, query, JOB, stream=stream)
    seeds = {expert_call(A, query, JOB, sampled=sampled).sampling.seed for query in (QUERY, other)}
    assert len(seeds) == 2


def test_an_expert_that_has_changed_has_a_sampling_of_its_own() -> None:
    sampled: Sampled = {}
    expert_call(A, QUERY, JOB, sampled=sampled)
    warmer = A.model_copy(update={"temperature": 0.9})
    assert expert_call(warmer, QUERY, JOB, sampled=sampled).sampling.temperature == 0.9


def test_a_mixture_is_of_one_call() -> None:
    sampled: Sampled = {}
    first, second = (
        expert_call(A, QUERY, JOB, mixture=mixture, sampled=sampled).sampling.mixture
        for mixture in ((("x", 1.0),), (("y", 1.0),))
    )
    assert (first, second) == ((("x", 1.0),), (("y", 1.0),))
    assert expert_call(A, QUERY, JOB, sampled=sampled).sampling.mixture == ()
