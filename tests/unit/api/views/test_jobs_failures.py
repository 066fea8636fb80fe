"""Failures of a job by kind: what is counted, and what is said."""

from api.views.jobs_failures import MOST_FAILED, Failures, failure_lines, failures_of, kinds_of
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.ports.jobs import AnsweredQuery


def failed(query: str, code: str | None, error: str = "why") -> AnsweredQuery:
    return AnsweredQuery(Query(id=query, question="Why?"), Answer(text="", error_code=code, error=error))


def refused(_: int) -> list[AnsweredQuery]:
    raise AssertionError("nothing failed, so nothing is read")


def test_kinds_are_counted_and_shown_by_their_first_question() -> None:
    kinds = kinds_of([failed("a", "timeout"), failed("b", "no_answer"), failed("c", "no_answer")])
    assert [(kind.code, kind.n, kind.query) for kind in kinds] == [("no_answer", 2, "b"), ("timeout", 1, "a")]


def test_a_job_without_failures_is_not_read() -> None:
    assert failures_of(refused, n_failed=0) == Failures([])


def test_at_most_a_thousand_are_read() -> None:
    failures = failures_of(lambda limit: [failed("a", "timeout")] * limit, n_failed=5000)
    assert (failures.n_read, failures.partial) == (1000, True)
    assert not failures_of(lambda _: [failed("a", "timeout")], n_failed=1).partial


def test_what_was_read_in_part_is_said_to_be_so() -> None:
    failures = Failures(kinds_of([failed("a", "timeout")]), MOST_FAILED, partial=True)
    assert list(failure_lines(failures, again="muster jobs retry j")) == [
        "1 failed with timeout, such as a: why",
        "These are the kinds of the first 1000 that failed.",
        "Run what failed again: muster jobs retry j",
    ]


def test_without_failures_nothing_is_said() -> None:
    assert list(failure_lines(Failures([]), again="muster jobs retry j")) == []
