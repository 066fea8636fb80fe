"""Compositions that are answered from calls which others made."""

from collections.abc import Sequence

import pytest

from orchestrator.domain.assignments import Call, CallRole, Response, Sampling
from orchestrator.domain.queries import Message, Query
from orchestrator.errors import UnsupportedError
from orchestrator.evaluation.recall import CallsOfJob, Recall, derived
from orchestrator.ports.jobs import AnsweredCall
from tests.fakes.work import TextMajority, make_call, make_queries, make_response

[QUERY] = make_queries(1)
CALL = make_call("a/0", QUERY)


def made(call: Call = CALL, response: Response | None = None) -> Recall:
    return Recall([(QUERY, [AnsweredCall(call, response or make_response(call.expert_id))])])


def job(queries: Sequence[Query], texts: dict[str, str]) -> CallsOfJob:
    """A job that asked every expert of `texts`, who said that."""
    for query in queries:
        yield (
            query,
            tuple(
                AnsweredCall(make_call(expert_id, query), make_response(expert_id, text=text))
                for expert_id, text in texts.items()
            ),
        )


def test_an_equal_call_has_the_response_that_was_got() -> None:
    response = made(CALL, make_response("a/0", text="42")).respond(CALL, QUERY, stage=1)
    assert (response.text, response.stage) == ("42", 1)


@pytest.mark.parametrize(
    "change",
    [
        {"expert_id": "b/0"},
        {"role": CallRole.AGGREGATE},
        {"messages": (Message(role="user", content="something else"),)},
        {"sampling": Sampling(max_tokens=9)},
        {"sampling": Sampling(max_tokens=8, temperature=0.7)},
        {"sampling": Sampling(max_tokens=8, seed=1)},
    ],
)
def test_any_difference_makes_it_another_call(change: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="was not asked this"):
        made().respond(CALL.model_copy(update=change), QUERY, stage=0)


@pytest.mark.parametrize(("code", "is_known"), [("context_exceeded", True), ("engine_crashed", False)])
def test_a_failure_is_repeated_only_if_it_is_the_experts_own(code: str, is_known: bool) -> None:
    failed = make_response("a/0").model_copy(update={"error_code": code, "error": "no"})
    known = derived(TextMajority(["a/0"]), [QUERY], [iter([(QUERY, (AnsweredCall(CALL, failed),))])])
    assert (known is not None) is is_known


def test_a_vote_over_known_responses_is_counted_from_several_jobs() -> None:
    """Two of three say yes; over more queries than are played at once."""
    queries = make_queries(1001)
    jobs = [job(queries, {"a/0": "yes", "b/0": "no"}), job(queries, {"c/0": "yes"})]
    played = derived(TextMajority(["a/0", "b/0", "c/0"]), queries, jobs)
    assert played is not None
    assert {(p.answer.text, p.n_experts) for p in played} == {("yes", 3)}
    assert len(played) == 1001


def test_one_unknown_call_is_enough_to_be_run() -> None:
    queries = make_queries(3)
    assert derived(TextMajority(["a/0", "b/0"]), queries, [job(queries, {"a/0": "yes"})]) is None
    assert derived(TextMajority(["a/0"]), queries, [job(queries[:2], {"a/0": "yes"})]) is None
