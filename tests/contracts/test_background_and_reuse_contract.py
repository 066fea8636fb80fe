"""What every store promises of work in the background, and of questions that were answered before."""

import pytest

from orchestrator.domain.answers import Answer, Usage
from orchestrator.domain.assignments import (
    BACKGROUND,
    BATCH,
    INTERACTIVE,
    Ask,
    Call,
    CallRole,
    Done,
    Job,
    JobState,
)
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.terms import Terms
from orchestrator.store import SqlJobStore

ANSWER = Answer(text="so", usage_by_role={"expert": Usage(prompt_tokens=3, completion_tokens=1)}, n_calls=1)


def submit(store: SqlJobStore, job_id: str, *texts: str, terms: Terms | None = None, **job: object) -> None:
    queries = [Query(id=f"{job_id}-{n}", question=text, terms=terms) for n, text in enumerate(texts)]
    store.submit(Job(id=job_id, composition="any", **job), queries)  # type: ignore[arg-type]


def route(store: SqlJobStore) -> list[str]:
    """Every ready query asks expert `a` on its engine; the jobs in the order in which they were stepped."""
    jobs: list[str] = []
    call = Call(expert_id="a", role=CallRole.EXPERT, messages=(Message(role="user", content="?"),))
    while states := store.take_ready(limit=9, for_s=60):
        jobs += [state.job_id for state in states]
        store.advance([(state, Ask(calls=(call,))) for state in states], {"a": "engine"})
    return jobs


def answer(store: SqlJobStore, job_id: str, answer: Answer = ANSWER) -> None:
    states = store.take_ready(limit=99, for_s=60, job_id=job_id)
    store.advance([(state, Done(answer=answer)) for state in states], {})


def claimed(store: SqlJobStore) -> list[str]:
    return [a.job_id for a in store.claim("engine", owner="me", limit=9, lease_s=9).assignments]


def test_background_work_is_stepped_and_claimed_when_nothing_else_waits(store: SqlJobStore) -> None:
    submit(store, "background", "1", "2", priority=BACKGROUND)
    submit(store, "batch", "1", priority=BATCH)
    submit(store, "question", "1", priority=INTERACTIVE)
    assert route(store) == ["question", "batch", "background", "background"]
    assert [item.top_priority for item in store.backlog(owner="x")] == [INTERACTIVE]
    assert [claimed(store) for _ in range(4)] == [["question"], ["batch"], ["background"] * 2, []]


def test_background_work_alone_is_told_as_such_and_given_up_like_any(store: SqlJobStore) -> None:
    submit(store, "background", "1", priority=BACKGROUND)
    route(store)
    assert [item.top_priority for item in store.backlog(owner="x")] == [BACKGROUND]
    assert store.claim("engine", owner="me", limit=9, lease_s=9, min_priority=BATCH).assignments == ()
    n = store.give_up("engine", code="down", error="away", min_priority=BACKGROUND, waited_s=0, limit=9)
    assert n == 1


def test_a_line_that_was_answered_is_not_asked_again(store: SqlJobStore) -> None:
    submit(store, "first", "Why?", "How?", knowledge="k")
    answer(store, "first")
    submit(store, "second", "How?", "Who?", "Why?", "Why?", knowledge="k", reuses=True)
    progress = store.job("second")
    assert (progress.total, progress.completed, progress.waiting) == (4, 3, 1)
    told = {item.query.id: item.answer for item in store.answers("second")}
    assert set(told) == {"second-0", "second-2", "second-3"}
    assert {one.text for one in told.values()} == {"so"}
    assert all("reused" in one.notes[-1] and one.n_calls == 0 for one in told.values())
    assert all(one.usage.prompt_tokens == 0 for one in told.values())
    answer(store, "second")
    assert store.job("second").state is JobState.DONE


def test_a_job_of_known_lines_ends_as_it_is_submitted_and_is_reused_itself(store: SqlJobStore) -> None:
    submit(store, "first", "Why?", knowledge="k")
    answer(store, "first")
    for name in ("second", "third"):
        submit(store, name, "Why?", knowledge="k", reuses=True)
        assert store.job(name).state is JobState.DONE
    [third] = store.answers("third")
    assert [note.startswith("reused") for note in third.answer.notes] == [True]


@pytest.mark.parametrize(
    "other",
    [
        {"owner": "somebody"},
        {"config_hash": "other"},
        {"knowledge": "other"},
        {"knowledge": ""},
        {"seed": 1},
        {"temperature": 1.0},
        {"experts": ("a",)},
        {"allowed": ("a",)},
        {"terms": Terms(max_tokens=5)},
        {"terms": Terms(composition="another")},
    ],
    ids=str,
)
def test_what_differs_in_anything_that_answers_depend_on_is_asked(
    store: SqlJobStore, other: dict[str, object]
) -> None:
    submit(store, "first", "Why?", knowledge="k")
    answer(store, "first")
    submit(store, "second", "Why?", **{"knowledge": "k", "reuses": True, **other})  # type: ignore[arg-type]
    assert store.job("second").waiting == 1


@pytest.mark.parametrize(
    "before",
    [Answer(text="", error_code="backend_error", error="away"), ANSWER.replaced(degraded=True)],
    ids=["failed", "degraded"],
)
def test_failures_and_answers_that_had_to_do_without_somebody_are_not_reused(
    store: SqlJobStore, before: Answer
) -> None:
    submit(store, "first", "Why?", knowledge="k")
    answer(store, "first", before)
    submit(store, "second", "Why?", knowledge="k", reuses=True)
    assert store.job("second").waiting == 1


def test_what_was_deleted_is_not_reused(store: SqlJobStore) -> None:
    submit(store, "first", "Why?", knowledge="k")
    answer(store, "first")
    store.begin_deleting("first")
    submit(store, "second", "Why?", knowledge="k", reuses=True)
    assert store.job("second").waiting == 1


def test_the_terms_of_a_line_are_what_counts_wherever_they_were_said(store: SqlJobStore) -> None:
    submit(store, "first", "Why?", knowledge="k", temperature=1.0)
    answer(store, "first")
    submit(store, "second", "Why?", terms=Terms(temperature=1.0), knowledge="k", reuses=True)
    assert store.job("second").state is JobState.DONE
