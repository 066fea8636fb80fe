"""Experts that are asked in the same words share their messages."""

import pytest

from orchestrator.compositions.calls import Worded, expert_call
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
