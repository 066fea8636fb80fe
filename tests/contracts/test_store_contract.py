"""What every job store promises, whatever the database and however many processes share it."""

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.domain.answers import Answer, Decision, Recruit
from orchestrator.domain.assignments import (
    BATCH,
    INTERACTIVE,
    Ask,
    Assignment,
    Done,
    Job,
    JobState,
    QueryState,
)
from orchestrator.domain.devices import LIVE_S, DeviceReport, DeviceState, Rate
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError, NotFoundError, StoreError
from orchestrator.store import Database, SqlJobStore
from orchestrator.store.tables import device, job, query
from tests.fakes.work import answered, make_call, make_queries, make_response
from tests.harness.waiting import wait_for

ENGINE_OF = {"a/0": "a", "a/1": "a", "b/0": "b"}
PAIR = ("a/0", "b/0")


def submit(
    store: SqlJobStore, n: int = 3, *, job_id: str = "job", priority: int = BATCH, prefix: str = "q"
) -> int:
    return store.submit(Job(id=job_id, composition="any", priority=priority), make_queries(n, prefix=prefix))


def ask(state: QueryState, experts: Sequence[str] = PAIR, **options: object) -> Ask:
    return Ask(calls=tuple(make_call(e, state.query) for e in experts), **options)


def route(store: SqlJobStore, experts: Sequence[str] = PAIR) -> int:
    """One step of every query; `ready` gives those of one priority at a time."""
    n = 0
    while steps := [(state, ask(state, experts)) for state in store.ready(limit=10_000)]:
        n += store.advance(steps, ENGINE_OF)
    return n


def claim(store: SqlJobStore, engine: str = "a", *, owner: str = "me", limit: int = 100, lease_s: float = 60):
    return store.claim(engine, owner=owner, limit=limit, lease_s=lease_s).assignments


def complete(store: SqlJobStore, assignments: Sequence[Assignment], *, owner: str = "me") -> int:
    return store.complete(owner, answered([(a.id, a.attempt) for a in assignments]))


def finish(store: SqlJobStore, *, answer: Answer | None = None) -> int:
    done = Done(answer=answer or Answer(text="yes"))
    return store.advance([(state, done) for state in store.ready(limit=10_000)], ENGINE_OF)


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_comes_back_as_it_was_submitted(store: SqlJobStore) -> None:
    job = Job(id="job", composition="auto", priority=3, seed=7, experts=("x",), label="ünï\x00code")
    assert store.submit(job, iter(make_queries(3))) == 3
    progress = store.job("job")
    assert progress.job == job
    assert (progress.state, progress.total, progress.waiting) == (JobState.RUNNING, 3, 3)


def test_submitting_the_same_job_again_changes_nothing(store: SqlJobStore) -> None:
    submit(store)
    assert submit(store) == 3
    assert store.job("job").total == len(store.ready(limit=10)) == 3


def test_an_id_with_other_content_is_refused_and_the_old_job_stands(store: SqlJobStore) -> None:
    submit(store, 3)
    with pytest.raises(StoreError, match="other content"):
        submit(store, 4)
    assert store.job("job").total == 3


def test_a_submission_that_breaks_off_leaves_nothing(store: SqlJobStore) -> None:
    def broken() -> Sequence[Query]:
        yield from make_queries(1500)
        raise ValueError("line 1501 is not JSON")

    with pytest.raises(ValueError, match="1501"):
        store.submit(Job(id="job", composition="any"), broken())
    with pytest.raises(NotFoundError):
        store.job("job")


def test_a_job_without_queries_is_done(store: SqlJobStore) -> None:
    assert submit(store, 0) == 0
    assert store.job("job").state is JobState.DONE


def test_running_jobs_are_listed_first_then_the_newest(store: SqlJobStore) -> None:
    for job_id, n in [("old", 1), ("done1", 0), ("done2", 0), ("new", 1)]:
        submit(store, n, job_id=job_id)
    assert [p.job.id for p in store.jobs()] == ["new", "old", "done2", "done1"]
    assert [p.job.id for p in store.jobs(limit=3)] == ["new", "old", "done2"]


@pytest.mark.parametrize(
    ("owner", "listed"),
    [("one", ["new1", "done1"]), ("two", ["new2"]), ("", ["nobody's"]), ("three", []), ("one'--", [])],
)
def test_a_list_of_an_owner_is_of_nobody_elses_jobs(
    store: SqlJobStore, owner: str, listed: list[str]
) -> None:
    for job_id, of, n in [("done1", "one", 0), ("new2", "two", 1), ("nobody's", "", 1), ("new1", "one", 1)]:
        store.submit(Job(id=job_id, composition="any", owner=of), make_queries(n))
    assert [p.job.id for p in store.jobs(owner=owner)] == listed
    assert len(store.jobs()) == 4


def test_the_same_id_of_another_owner_is_another_job(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any", owner="one"), [])
    with pytest.raises(StoreError, match="other content"):
        store.submit(Job(id="job", composition="any", owner="two"), [])
    assert store.job("job").job.owner == "one"


def test_names_that_no_database_takes_are_refused(store: SqlJobStore) -> None:
    with pytest.raises(StoreError, match="cannot be stored"):
        store.submit(Job(id="a\x00b", composition="any"), [])
    with pytest.raises(StoreError):
        store.submit(Job(id="job", composition="\ud800"), [])
    assert store.jobs() == []


def test_many_jobs_are_looked_at_at_once(store: SqlJobStore) -> None:
    for job_id, n in [("runs", 2), ("ended", 0)]:
        submit(store, n, job_id=job_id)
    wanted = ["ended", "runs", "nobody", "a\x00b", "\ud800", *(f"n{n}" for n in range(1200))]
    assert store.states_of(wanted) == {"runs": JobState.RUNNING, "ended": JobState.DONE}
    assert store.progress_of(wanted) == {name: store.job(name) for name in ("runs", "ended")}
    assert store.states_of([]) == store.progress_of([]) == {}


@pytest.mark.parametrize("name", ["a\x00b", "\x00", "\ud800", "x" * 100_000, "a\nb", "\u202e"])
@pytest.mark.parametrize("method", ["job", "answer", "answers", "responses", "calls", "cancel"])
def test_a_job_of_any_name_that_is_not_there_is_not_found(store: SqlJobStore, method: str, name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        getattr(store, method)(name)
    assert len(str(caught.value).encode()) < 3_000


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
def test_a_query_of_any_name_that_is_not_there_is_not_found(store: SqlJobStore, name: str) -> None:
    submit(store, 1)
    with pytest.raises(NotFoundError):
        store.query_record("job", name)


@pytest.mark.parametrize("method", ["job", "answer", "answers", "responses", "calls"])
def test_an_unknown_job_is_reported_at_once(store: SqlJobStore, method: str) -> None:
    with pytest.raises(NotFoundError, match="'nobody'"):
        getattr(store, method)("nobody")


# ── one query ─────────────────────────────────────────────────────────────────────────────────────


def test_a_query_is_found_by_its_id_with_what_is_known_of_it(store: SqlJobStore) -> None:
    submit(store, 2)
    route(store)
    asked = store.query_record("job", "q1")
    assert (asked.answer, asked.responses) == (None, ())
    for engine in "ab":
        complete(store, claim(store, engine))
    finish(store)
    record = store.query_record("job", "q1")
    assert (record.query.id, record.answer) == ("q1", Answer(text="yes"))
    assert len(record.responses) == 2


def test_the_only_query_needs_no_name_one_of_several_does(store: SqlJobStore) -> None:
    submit(store, 1, job_id="one")
    submit(store, 2, job_id="two")
    assert store.query_record("one", None).query.id == "q0"
    with pytest.raises(InputError, match="several queries"):
        store.query_record("two", None)


def test_a_query_that_is_not_there_is_not_found(store: SqlJobStore) -> None:
    submit(store, 1)
    with pytest.raises(NotFoundError, match="no query 'q9'"):
        store.query_record("job", "q9")
    with pytest.raises(NotFoundError, match="'nobody'"):
        store.query_record("nobody", None)


# ── steps ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_query_is_ready_until_it_is_asked_and_again_when_all_responses_are_in(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store)
    assert store.ready(limit=10) == []
    complete(store, claim(store, "a"))
    assert store.ready(limit=10) == []
    complete(store, claim(store, "b"))
    (state,) = store.ready(limit=10)
    assert (state.stage, len(state.responses)) == (1, 2)


def test_responses_come_in_call_order_whatever_the_order_of_completion(store: SqlJobStore) -> None:
    submit(store, 1)
    (state,) = store.ready(limit=1)
    calls = [make_call(e, state.query, sample_ix=ix) for e, ix in [("b/0", 0), ("a/0", 1), ("a/0", 0)]]
    store.advance([(state, Ask(calls=tuple(calls)))], ENGINE_OF)
    for engine in "ab":
        for a in reversed(claim(store, engine)):
            completion = make_response(a.call.expert_id, sample_ix=a.call.sample_ix)
            store.complete("me", [answered([(a.id, a.attempt)])[0]._replace(response=completion)])
    (state,) = store.ready(limit=1)
    assert [(r.expert_id, r.sample_ix) for r in state.responses] == [("b/0", 0), ("a/0", 1), ("a/0", 0)]


def test_calls_come_back_as_they_were_asked_once_their_responses_are_in(
    store: SqlJobStore,
) -> None:
    submit(store, 2)
    first, second = store.ready(limit=2)
    wanted = [make_call(e, first.query, sample_ix=ix) for e, ix in [("b/0", 0), ("a/0", 1), ("a/0", 0)]]
    store.advance([(first, Ask(calls=tuple(wanted))), (second, ask(second))], ENGINE_OF)
    complete(store, claim(store, "a"))
    found = {query.id: calls for query, calls in store.calls("job")}
    assert list(found) == ["q0", "q1"]
    assert [one.call for one in found["q0"]] == wanted[1:]
    assert [one.response.expert_id for one in found["q0"]] == ["a/0", "a/0"]
    assert [one.call for one in found["q1"]] == [make_call("a/0", second.query)]


def test_a_step_is_applied_only_from_the_stage_it_was_computed_for(store: SqlJobStore) -> None:
    submit(store, 1)
    states = store.ready(limit=1)
    assert route(store) == 1
    assert store.advance([(states[0], Done(answer=Answer(text="too early")))], ENGINE_OF) == 0
    for engine in "ab":
        complete(store, claim(store, engine))
    assert store.advance([(states[0], ask(states[0]))], ENGINE_OF) == 0
    assert finish(store) == 1
    assert store.advance([(states[0], Done(answer=Answer(text="again")))], ENGINE_OF) == 0
    assert store.answer("job") == Answer(text="yes")


def test_ready_gives_the_highest_priority_alone_in_submission_order(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch", prefix="b")
    submit(store, 2, job_id="ask", priority=INTERACTIVE, prefix="i")
    assert [s.query.id for s in store.ready(limit=3)] == ["i0", "i1"]
    store.cancel("ask")
    assert [s.query.id for s in store.ready(limit=3)] == ["b0", "b1"]
    assert [s.query.id for s in store.ready(limit=9, job_id="batch")] == ["b0", "b1"]


def test_a_decision_is_kept_with_the_query_and_given_back_with_the_answer(store: SqlJobStore) -> None:
    submit(store, 2)
    decision = Decision(router="all", recruits=(Recruit(expert_id="a/0", weight=1, score=2, accuracy=0.5),))
    steps = [(state, ask(state, ["a/0"], decision=decision)) for state in store.ready(limit=2)]
    store.advance(steps, ENGINE_OF)
    complete(store, claim(store))
    first, second = store.ready(limit=2)
    assert first.decision == decision
    assert store.query_record("job", "q0").decision == decision
    own = decision.model_copy(update={"seed": 9})
    answers = [Answer(text="1", decision=decision), Answer(text="2", decision=own)]
    store.advance([(s, Done(answer=a)) for s, a in zip([first, second], answers, strict=True)], ENGINE_OF)
    assert [answer for _, answer in store.answers("job")] == answers


def test_a_call_twice_in_one_step_is_refused_as_a_whole(store: SqlJobStore) -> None:
    submit(store, 1)
    with pytest.raises(StoreError):
        route(store, ["a/0", "a/0"])
    assert len(store.ready(limit=1)) == 1


def test_a_call_to_an_expert_without_engine_is_refused(store: SqlJobStore) -> None:
    submit(store, 1)
    with pytest.raises(StoreError, match="'gone'"):
        route(store, ["gone"])


def test_a_job_is_done_with_its_last_answer_and_failed_answers_count_as_failed(store: SqlJobStore) -> None:
    submit(store, 2)
    first, second = store.ready(limit=2)
    store.advance([(first, Done(answer=Answer(text="ok")))], ENGINE_OF)
    assert store.job("job").state is JobState.RUNNING
    failed = Answer(text="", error_code="no_answer", error="nobody knew")
    store.advance([(second, Done(answer=failed))], ENGINE_OF)
    progress = store.job("job")
    assert (progress.state, progress.completed, progress.failed) == (JobState.DONE, 1, 1)


def test_answers_stream_in_submission_order_over_many_pages(store: SqlJobStore) -> None:
    submit(store, 1203)
    finish(store)
    assert [query.id for query, _ in store.answers("job")] == [f"q{i}" for i in range(1203)]


def test_text_with_nul_survives(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    (a,) = claim(store)
    store.complete("me", answered([(a.id, a.attempt)], text="a\x00b"))
    assert store.ready(limit=1)[0].responses[0].text == "a\x00b"


# ── exclusive steps ───────────────────────────────────────────────────────────────────────────────


def test_it_is_routing_until_every_query_had_its_first_step(store: SqlJobStore) -> None:
    assert not store.is_routing()
    submit(store, 2)
    first, second = store.take_ready(limit=2, for_s=60)
    store.advance([(first, ask(first, ["a/0"]))], ENGINE_OF)
    assert store.is_routing()
    store.advance([(second, ask(second, ["a/0"]))], ENGINE_OF)
    assert not store.is_routing()
    complete(store, claim(store))
    assert not store.is_routing()


def test_what_was_taken_is_given_to_nobody_else_until_it_advances(store: SqlJobStore) -> None:
    submit(store, 3)
    mine = store.take_ready(limit=2, for_s=60)
    assert [s.query.id for s in mine] == ["q0", "q1"]
    assert [s.query.id for s in store.take_ready(limit=9, for_s=60)] == ["q2"]
    assert store.take_ready(limit=9, for_s=60) == []
    store.advance([(mine[0], ask(mine[0], ["a/0"]))], ENGINE_OF)
    complete(store, claim(store))
    (again,) = store.take_ready(limit=9, for_s=60)
    assert (again.id, again.stage, len(again.responses)) == (mine[0].id, 1, 1)


def test_a_mark_that_ran_out_is_ignored(store: SqlJobStore, database: Database) -> None:
    submit(store, 2)
    late = store.take_ready(limit=2, for_s=60)
    with database.write() as conn:
        conn.execute(update(query).values(stepped_until=query.c.stepped_until - 61))
    again = store.take_ready(limit=2, for_s=60)
    assert again == late
    assert store.advance([(s, ask(s)) for s in again], ENGINE_OF) == 2
    assert store.advance([(s, ask(s)) for s in late], ENGINE_OF) == 0


def test_taking_follows_priority_and_job_and_marks_nothing_for_no_time(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch", prefix="b")
    submit(store, 2, job_id="ask", priority=INTERACTIVE, prefix="i")
    for _ in range(2):
        assert [s.query.id for s in store.take_ready(limit=1, for_s=0)] == ["i0"]
    assert [s.query.id for s in store.take_ready(limit=1, for_s=60, job_id="batch")] == ["b0"]
    assert [s.query.id for s in store.take_ready(limit=1, for_s=60)] == ["i0"]


def test_a_question_is_not_taken_together_with_a_batch(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch", prefix="b")
    for for_s in (0, 60):
        assert store.take_ready(limit=3, for_s=for_s, min_priority=INTERACTIVE) == []
    submit(store, 2, job_id="ask", priority=INTERACTIVE, prefix="i")
    assert [s.query.id for s in store.take_ready(limit=1, for_s=60, min_priority=INTERACTIVE)] == ["i0"]
    assert [s.query.id for s in store.take_ready(limit=3, for_s=60)] == ["i1"]
    assert store.take_ready(limit=3, for_s=60, min_priority=INTERACTIVE) == []
    assert [s.query.id for s in store.take_ready(limit=3, for_s=60)] == ["b0", "b1"]


# ── leases ────────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_takes_one_engine_in_order_and_counts_the_attempt(store: SqlJobStore) -> None:
    submit(store, 3)
    route(store)
    claimed = claim(store, "a", limit=2)
    assert [(a.query_id, a.attempt, a.engine_id) for a in claimed] == [(1, 1, "a"), (2, 1, "a")]
    assert claimed[0].call.messages[0].content == "question q0"
    assert [a.query_id for a in claim(store, "a")] == [3]
    assert claim(store, "a") == ()


def test_interactive_work_is_claimed_first_and_alone_when_asked_for(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch")
    submit(store, 1, job_id="ask", priority=INTERACTIVE)
    route(store)
    assert [a.job_id for a in claim(store, limit=1)] == ["ask"]
    assert store.claim("a", owner="me", limit=9, lease_s=9, min_priority=INTERACTIVE).assignments == ()
    assert [a.job_id for a in claim(store)] == ["batch", "batch"]


def test_an_expired_lease_goes_back_and_its_late_response_is_ignored(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store)
    late = claim(store, owner="zombie", lease_s=-1)
    assert store.sweep(max_attempts=3) == (1, 0, 0)
    assert complete(store, late, owner="zombie") == 0
    again = claim(store, owner="me")
    assert again[0].attempt == 2
    assert complete(store, late, owner="zombie") == 0
    assert complete(store, again) == 1
    assert store.job("job").n_regenerated == 0
    assert complete(store, late, owner="zombie") == 0
    assert store.job("job").n_regenerated == 1


def test_a_lease_past_its_time_still_counts_until_somebody_takes_it(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store)
    assert complete(store, claim(store, lease_s=-1)) == 1


def test_renewed_leases_do_not_expire(store: SqlJobStore) -> None:
    submit(store, 2)
    route(store)
    claim(store, lease_s=-1)
    assert store.renew("me", lease_s=60) == 2
    assert store.renew("somebody else", lease_s=60) == 0
    assert store.sweep(max_attempts=3) == (0, 0, 0)


def test_a_released_assignment_is_waiting_again_with_or_without_its_attempt(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store)
    for refund, attempt in [(True, 1), (False, 1), (True, 2), (False, 2), (True, 3)]:
        (a,) = claim(store)
        assert a.attempt == attempt
        store.release("somebody else", [a.id], refund_attempt=refund)
        assert claim(store) == ()
        store.release("me", [a.id], refund_attempt=refund)


def test_everything_of_a_dead_owner_goes_back_at_once(store: SqlJobStore) -> None:
    submit(store, 3)
    route(store)
    claim(store, "a", owner="dead")
    claim(store, "b", owner="alive")
    assert store.lease_owners() == ["alive", "dead"]
    assert store.release_owner("dead", refund_attempt=False) == 3
    assert store.lease_owners() == ["alive"]


def test_what_came_back_is_claimed_last_in_shards_that_shrink_to_one(store: SqlJobStore) -> None:
    """Of 20 and shards of 16: 16, the untouched 4, then ten times 16 >> 3 = 2, then one by one."""
    submit(store, 20)
    route(store)
    sizes = []
    for _ in range(13):
        claimed = claim(store, limit=16)
        sizes.append((len(claimed), claimed[0].attempt))
        store.release("me", [a.id for a in claimed], refund_attempt=False)
    assert sizes == [(16, 1), (4, 1), *[(2, 2)] * 10, (1, 3)]


def test_of_two_priorities_the_higher_goes_first_however_often_it_came_back(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch")
    submit(store, 2, job_id="question", priority=INTERACTIVE)
    route(store)
    for _ in range(3):
        claimed = claim(store)
        assert {a.job_id for a in claimed} == {"question"}
        store.release("me", [a.id for a in claimed], refund_attempt=False)


def test_after_the_last_attempt_the_assignment_fails_and_the_query_goes_on(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    for attempt in (1, 2, 3):
        assert claim(store, lease_s=-1)[0].attempt == attempt
        swept = store.sweep(max_attempts=3)
    assert swept == (0, 1, 0)
    (state,) = store.ready(limit=1)
    assert [(r.error_code, r.failed) for r in state.responses] == [("poison", True)]
    assert store.job("job").n_responses == 1


def test_what_the_dead_held_without_attempts_left_is_poison_too(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    claim(store)
    assert store.bury("me", max_attempts=1) == (0, 1, 0)
    assert store.lease_owners() == []


def test_who_died_in_company_is_no_poison_until_it_was_alone(store: SqlJobStore) -> None:
    """Two are claimed together, then one by one; each is alone at its third death."""
    submit(store, 2)
    route(store, ["a/0"])
    seen = []
    for _ in range(5):
        n = len(claim(store, owner="dead", limit=16))
        seen.append((n, *store.bury("dead", max_attempts=2)[:2]))
    assert seen == [(2, 2, 0), (2, 2, 0), (1, 0, 1), (1, 0, 1), (0, 0, 0)]


def test_of_an_owner_with_work_of_two_engines_nobody_knows_which_one_killed_it(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, PAIR)
    for _ in range(4):
        assert [len(claim(store, engine, owner="dead")) for engine in "ab"] == [1, 1]
        assert store.bury("dead", max_attempts=1) == (2, 0, 0)


def test_work_that_cannot_have_killed_its_worker_gets_its_attempt_back(store: SqlJobStore) -> None:
    """`b` runs elsewhere: the prompt of `a`, alone on the device, is the poison."""
    submit(store, 1)
    route(store, PAIR)
    for engine in "ab":
        claim(store, engine, owner="dead", lease_s=-1)
    assert store.sweep(max_attempts=1, harmless={"b"}) == (1, 1, 0)
    assert claim(store, "b")[0].attempt == 1


def test_waiting_work_is_given_up_by_priority_and_by_its_time_on_the_books(store: SqlJobStore) -> None:
    submit(store, 2, job_id="batch")
    submit(store, 1, job_id="question", priority=INTERACTIVE)
    route(store, PAIR)
    why = {"code": "engine_load_failed", "error": "no room.", "limit": 9}
    assert store.give_up("a", **why, min_priority=INTERACTIVE, waited_s=60) == 0
    assert store.give_up("a", **why, min_priority=INTERACTIVE, waited_s=0) == 1
    assert store.give_up("a", **why, min_priority=BATCH, waited_s=60) == 0
    assert [len(claim(store, engine)) for engine in "ab"] == [2, 1]
    assert store.give_up("a", **why, min_priority=BATCH, waited_s=0) == 0, "somebody has it"
    [(_, (given_up,))] = store.responses("question")
    assert (given_up.error_code, given_up.error) == ("engine_load_failed", "no room.")


def taken(store: SqlJobStore, **wanted: Any) -> list[QueryState]:
    """Ready queries, as soon as there are any: what was taken for 0 s is free a millisecond later."""
    return wait_for("queries are ready", lambda: store.take_ready(limit=9, **wanted), within_s=30)


def test_a_step_is_tried_again_when_its_time_has_come_and_counts_its_failures(
    store: SqlJobStore, database: Database
) -> None:
    submit(store, 3)
    first, second, third = store.take_ready(limit=3, for_s=60)
    assert store.postpone([first, second], for_s=30, counted=True) == 2
    assert store.postpone([third], for_s=0, counted=False) == 1
    for for_s in (0, 60):
        assert [(s.id, s.attempt) for s in taken(store, for_s=for_s)] == [(third.id, 0)]
    with database.write() as conn:
        conn.execute(update(query).values(stepped_until=query.c.stepped_until - 61))
    assert [s.attempt for s in store.take_ready(limit=9, for_s=60)] == [1, 1, 0]
    store.advance([(first, ask(first))], ENGINE_OF)
    assert store.postpone([first], for_s=0, counted=True) == 0, "it has moved on"


def test_jobs_can_be_left_to_others(store: SqlJobStore) -> None:
    submit(store, 1, job_id="known")
    submit(store, 1, job_id="unknown", priority=INTERACTIVE)
    for for_s in (0, 60):
        assert [s.job_id for s in taken(store, for_s=for_s, without={"unknown"})] == ["known"]


def test_a_response_given_twice_in_one_write_is_stored_once(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    claimed = claim(store)
    assert complete(store, [*claimed, *claimed]) == 1
    progress = store.job("job")
    assert (progress.n_responses, progress.n_regenerated) == (1, 1)


# ── cancelling ────────────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_job_ends_at_once_and_its_counts_add_up(store: SqlJobStore) -> None:
    submit(store, 5)
    first = store.ready(limit=1)
    store.advance([(first[0], Done(answer=Answer(text="kept")))], ENGINE_OF)
    route(store)
    leased = claim(store, limit=2)
    for _ in range(2):
        store.cancel("job")
    progress = store.job("job")
    assert (progress.state, progress.completed, progress.failed) == (JobState.CANCELLED, 1, 4)
    assert [a.error_code for _, a in store.answers("job")] == [None] + ["cancelled"] * 4
    assert complete(store, leased) == 0
    assert (claim(store), store.ready(limit=9), store.backlog(owner="me")) == ((), [], [])


def test_a_job_that_is_done_cannot_be_cancelled(store: SqlJobStore) -> None:
    submit(store, 1)
    finish(store)
    store.cancel("job")
    assert store.job("job").state is JobState.DONE


# ── deadlines ─────────────────────────────────────────────────────────────────────────────────────


def test_a_job_past_its_deadline_expires_and_keeps_what_is_finished(
    store: SqlJobStore, database: Database
) -> None:
    store.submit(Job(id="job", composition="any", deadline_s=60), make_queries(3))
    submit(store, 1, job_id="other")
    first = store.ready(limit=1)
    store.advance([(first[0], Done(answer=Answer(text="kept")))], ENGINE_OF)
    route(store)
    leased = claim(store, limit=1)
    assert store.sweep(max_attempts=3).n_expired == 0
    with database.write() as conn:
        conn.execute(update(job).values(deadline_at=job.c.deadline_at - 61))
    assert [store.sweep(max_attempts=3).n_expired for _ in range(2)] == [1, 0]
    progress = store.job("job")
    assert (progress.state, progress.completed, progress.failed) == (JobState.EXPIRED, 1, 2)
    assert [a.error_code for _, a in store.answers("job")] == [None, "batch_expired", "batch_expired"]
    assert complete(store, leased) == 0
    assert store.job("other").state is JobState.RUNNING


def test_a_job_tells_its_times(store: SqlJobStore) -> None:
    store.submit(Job(id="job", composition="any", deadline_s=60), make_queries(1))
    running = store.job("job")
    assert running.deadline_at is not None
    assert running.deadline_at - running.created_at == pytest.approx(60, abs=1)
    assert running.finished_at is None
    finish(store)
    finished_at = store.job("job").finished_at
    assert finished_at is not None
    assert finished_at >= running.created_at
    submit(store, 1, job_id="patient")
    assert store.job("patient").deadline_at is None


# ── the outbox ────────────────────────────────────────────────────────────────────────────────────


def test_a_submitted_job_is_in_the_outbox_until_it_is_rung(store: SqlJobStore) -> None:
    for job_id in ("first", "second", "first"):
        submit(store, 1, job_id=job_id)
    bells = store.outbox(10)
    assert [bell.job_id for bell in bells] == ["first", "second"]
    assert store.outbox(1) == bells[:1]
    for _ in range(2):
        store.rung([bells[0].id])
    assert store.outbox(10) == bells[1:]


def test_a_submission_that_is_refused_rings_no_bell(store: SqlJobStore) -> None:
    submit(store, 1)
    with pytest.raises(StoreError):
        submit(store, 2)
    assert [bell.job_id for bell in store.outbox(10)] == ["job"]


# ── backlog and loads ─────────────────────────────────────────────────────────────────────────────


def test_the_backlog_sums_waiting_work_per_engine(store: SqlJobStore) -> None:
    """A prompt of 11 characters is estimated at 2 tokens, plus 8 of output."""
    submit(store, 3)
    submit(store, 1, job_id="ask", priority=INTERACTIVE, prefix="i")
    route(store)
    claim(store, "a", owner="other", limit=1)
    claim(store, "b", owner="me", limit=1)
    a, b = store.backlog(owner="me")
    assert (a.engine_id, a.n_waiting, a.est_tokens, a.top_priority) == ("a", 3, 30, BATCH)
    assert (a.n_leased, a.leased_tokens, b.n_leased) == (1, 10, 1)
    assert 0 <= a.oldest_wait_s < 60


def test_the_backlog_shows_engines_of_which_everything_is_leased(store: SqlJobStore) -> None:
    submit(store, 2)
    route(store, ["a/0"])
    claim(store)
    (a,) = store.backlog(owner="me")
    assert (a.engine_id, a.n_waiting, a.est_tokens, a.n_leased) == ("a", 0, 0, 2)


def test_loads_count_for_the_jobs_whose_engines_they_are(store: SqlJobStore) -> None:
    store.record_load(engine_id="a", device="cpu", owner="me", seconds=1.5)
    submit(store, 1, job_id="first")
    route(store, ["a/0"])
    store.record_load(engine_id="a", device="cpu", owner="me", seconds=1.5)
    store.record_load(engine_id="b", device="cpu", owner="me", seconds=1.5)
    assert (store.loads(), store.loads(job_id="first"), store.job("first").n_loads) == (3, 1, 1)


def test_the_loads_of_a_job_tell_when_the_engine_came_and_left(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    for engine_id in "ba":
        store.record_load(engine_id=engine_id, device="cpu", owner="me", seconds=1.5)
    (load,) = store.engine_loads(job_id="job")
    assert (load.engine_id, load.device, load.owner, load.seconds) == ("a", "cpu", "me", 1.5)
    assert load.left_at is None
    for _ in range(2):
        store.record_leave("me")
        store.record_leave("nobody")
    (left,) = store.engine_loads(job_id="job")
    assert left.left_at is not None
    assert left.left_at >= left.started_at + left.seconds


# ── devices ───────────────────────────────────────────────────────────────────────────────────────


def report(store: SqlJobStore, owner: str, engine_id: str | None = None, state: DeviceState = "idle") -> None:
    store.report_device(
        DeviceReport(owner=owner, device="cpu", engine_id=engine_id, state=state, host="here")
    )


def test_a_device_is_known_by_its_last_report_until_it_is_forgotten(store: SqlJobStore) -> None:
    report(store, "me")
    report(store, "other", "a", "loading")
    report(store, "me", "b", "resident")
    me, other = store.devices(30)
    assert (me.owner, me.device, me.engine_id, me.state, me.host) == ("me", "cpu", "b", "resident", "here")
    assert 0 <= me.seen_s < 30
    assert (other.owner, other.state) == ("other", "loading")
    store.forget_device("me")
    assert [d.owner for d in store.devices(30)] == ["other"]
    assert store.devices(-1) == []


def test_the_backlog_counts_other_devices_that_have_the_engine_or_load_it(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store)
    report(store, "me", "a", "resident")
    report(store, "x", "a", "resident")
    report(store, "y", "a", "loading")
    report(store, "z")
    a, b = store.backlog(owner="me")
    assert (a.n_devices_elsewhere, b.n_devices_elsewhere) == (2, 0)


def test_the_backlog_tells_for_how_long_other_devices_have_loaded_an_engine(
    store: SqlJobStore, database: Database
) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    report(store, "x", "a", "loading")
    report(store, "y", "a", "resident")
    with database.write() as conn:
        conn.execute(update(device).values(since=device.c.since - 10))
    report(store, "x", "a", "loading")  # still: a sign of life does not start the load again
    [item] = store.backlog(owner="me")
    assert (item.n_devices_elsewhere, len(item.loading_s)) == (2, 1)
    assert item.loading_s[0] >= 10
    assert store.devices(30)[0].state_s >= 10
    report(store, "x", "a", "resident")
    assert store.backlog(owner="me")[0].loading_s == ()
    assert store.devices(30)[0].state_s < 10


def test_the_backlog_tells_since_when_no_device_serves_an_engine(store: SqlJobStore) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    assert store.backlog(owner="me")[0].unserved_s == math.inf
    store.record_load(engine_id="a", device="cpu", owner="me", seconds=1.0)
    assert store.backlog(owner="me")[0].unserved_s == math.inf
    store.record_leave("me")
    assert 0 <= store.backlog(owner="me")[0].unserved_s < 60


def test_devices_not_heard_of_do_not_count(store: SqlJobStore, database: Database) -> None:
    submit(store, 1)
    route(store, ["a/0"])
    report(store, "gone", "a", "resident")
    with database.write() as conn:
        conn.execute(update(device).values(seen_at=device.c.seen_at - LIVE_S - 1))
    assert store.backlog(owner="me")[0].n_devices_elsewhere == 0
    assert [d.owner for d in store.devices(60)] == ["gone"]
    with database.write() as conn:
        conn.execute(update(device).values(seen_at=device.c.seen_at - 3600))
    store.sweep(max_attempts=3)
    assert store.devices(1e9) == []


def test_a_touched_device_lives_on_as_it_was_and_a_forgotten_one_stays_forgotten(
    store: SqlJobStore, database: Database
) -> None:
    for owner in ("touched", "silent"):
        report(store, owner, "a", "loading")
    with database.write() as conn:
        conn.execute(update(device).values(seen_at=device.c.seen_at - 60, since=device.c.since - 60))
    store.touch_devices(["touched", "forgotten"])
    [left] = store.devices(30)
    assert (left.owner, left.engine_id, left.state) == ("touched", "a", "loading")
    assert left.state_s >= 60, "it loads since then"


def test_a_failed_load_is_told_apart_from_what_devices_hold(store: SqlJobStore, database: Database) -> None:
    submit(store, 1)
    route(store)
    report(store, "x")
    report(store, "x+failed a", "a", "down")
    assert [d.owner for d in store.devices(30)] == ["x"]
    assert [(d.owner, d.engine_id) for d in store.faults(30)] == [("x+failed a", "a")]
    assert [item.n_devices_elsewhere for item in store.backlog(owner="me")] == [0, 0]
    report(store, "me")
    assert store.announce("me", "a", n_elsewhere=0)
    with database.write() as conn:
        conn.execute(update(device).values(seen_at=device.c.seen_at - 31))
    assert store.faults(30) == []


def test_an_engine_is_announced_unless_more_devices_took_it_meanwhile(store: SqlJobStore) -> None:
    for owner in ("ann", "bob"):
        report(store, owner)
    assert store.announce("ann", "a", n_elsewhere=0)
    assert not store.announce("bob", "a", n_elsewhere=0)
    assert [(d.engine_id, d.state) for d in store.devices(30)] == [("a", "loading"), (None, "idle")]
    assert store.announce("bob", "a", n_elsewhere=1)
    with pytest.raises(NotFoundError, match="'nobody'"):
        store.announce("nobody", "b", n_elsewhere=0)


def test_rates_move_halfway_to_each_new_measurement(store: SqlJobStore) -> None:
    """4, then 8: 6; then 0: 3. What was not measured stays."""
    store.record_rate("a", "cpu", load_s=4.0)
    assert store.rates() == {("a", "cpu"): Rate(4.0, None)}
    store.record_rate("a", "cpu", load_s=8.0, tokens_per_s=100.0)
    store.record_rate("a", "cuda:0", tokens_per_s=7.0)
    store.record_rate("a", "cpu", load_s=0.0)
    assert store.rates() == {("a", "cpu"): Rate(3.0, 100.0), ("a", "cuda:0"): Rate(None, 7.0)}


# ── many at once ──────────────────────────────────────────────────────────────────────────────────


def in_threads(n: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(ix: int) -> None:
        try:
            work(ix)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(ix,)) for ix in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_concurrent_claims_are_disjoint_and_take_everything(store: SqlJobStore) -> None:
    submit(store, 120)
    route(store)
    taken: list[list[int]] = [[] for _ in range(4)]

    def work(ix: int) -> None:
        while claimed := claim(store, owner=f"owner{ix}", limit=7):
            taken[ix] += [a.id for a in claimed]

    in_threads(4, work)
    ids = [i for part in taken for i in part]
    assert len(ids) == len(set(ids)) == 120


def test_of_devices_that_announce_an_engine_at_once_only_one_gets_it(store: SqlJobStore) -> None:
    won: list[str] = []

    def work(ix: int) -> None:
        owner = f"owner{ix}"
        report(store, owner)
        if store.announce(owner, "a", n_elsewhere=0):
            won.append(owner)

    in_threads(4, work)
    assert len(won) == 1


def test_steps_taken_at_once_are_disjoint_and_complete(store: SqlJobStore) -> None:
    submit(store, 120)
    taken: list[list[int]] = [[] for _ in range(4)]

    def work(ix: int) -> None:
        while states := store.take_ready(limit=7, for_s=60):
            taken[ix] += [state.id for state in states]

    in_threads(4, work)
    ids = [i for part in taken for i in part]
    assert len(ids) == len(set(ids)) == 120


def test_concurrent_submissions_of_one_job_store_it_once(store: SqlJobStore) -> None:
    in_threads(4, lambda _ix: submit(store, 50))
    assert store.job("job").total == len(store.ready(limit=1000)) == 50


def test_workers_that_race_for_every_step_answer_each_query_once(store: SqlJobStore) -> None:
    submit(store, 40)

    def work(ix: int) -> None:
        rng, owner = random.Random(ix), f"owner{ix}"
        while store.job("job").state is JobState.RUNNING:
            states = store.ready(limit=rng.randint(1, 9))
            steps = [(s, ask(s) if s.stage == 0 else Done(answer=Answer(text="yes"))) for s in states]
            store.advance(steps, ENGINE_OF)
            claimed = claim(store, rng.choice("ab"), owner=owner, limit=rng.randint(1, 9))
            complete(store, rng.sample(claimed, len(claimed)), owner=owner)

    in_threads(3, work)
    progress = store.job("job")
    assert (progress.completed, progress.n_assignments, progress.n_responses) == (40, 80, 80)
    assert progress.n_regenerated == 0


def test_cancelling_amid_the_work_leaves_one_end_state(store: SqlJobStore) -> None:
    submit(store, 60)
    half = threading.Event()

    def work(ix: int) -> None:
        if ix == 0:
            half.wait(timeout=60)
            store.cancel("job")
            return
        while store.job("job").state is JobState.RUNNING:
            route_some = store.ready(limit=5)
            steps = [(s, ask(s) if s.stage == 0 else Done(answer=Answer(text="yes"))) for s in route_some]
            store.advance(steps, ENGINE_OF)
            for engine in "ab":
                complete(store, claim(store, engine, owner=f"o{ix}", limit=4), owner=f"o{ix}")
            if store.job("job").completed >= 10:
                half.set()

    in_threads(3, work)
    progress = store.job("job")
    assert progress.state in (JobState.CANCELLED, JobState.DONE)
    assert progress.completed + progress.failed == len(list(store.answers("job"))) == 60
    assert progress.waiting == 0
    assert store.backlog(owner="me") == []


class Chaos:
    """Random operations by three owners against a model of who holds what."""

    def __init__(self, store: SqlJobStore, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.held: dict[int, tuple[str, int]] = {}
        self.accepted: Counter[int] = Counter()
        self.seen: list[tuple[str, Assignment]] = []
        self.n_jobs = 0

    def step(self) -> None:
        operations = [
            *(self.submit, self.route, self.claim, self.claim, self.complete, self.complete, self.complete),
            *(self.release, self.expire, self.cancel),
        ]
        self.rng.choices(operations, weights=[1, 6, 6, 6, 6, 6, 6, 3, 3, 0.3])[0]()
        for progress in self.store.jobs(limit=1000):
            assert progress.completed + progress.failed + progress.waiting == progress.total
            assert progress.n_responses <= progress.n_assignments

    def submit(self) -> None:
        self.n_jobs += 1
        priority = self.rng.choice([BATCH, INTERACTIVE])
        submit(self.store, self.rng.randint(0, 6), job_id=f"job{self.n_jobs}", priority=priority)

    def route(self) -> None:
        states = self.store.ready(limit=self.rng.randint(1, 8))
        done = Done(answer=Answer(text="yes"))
        steps = [(s, ask(s) if s.stage < 1 else done) for s in states]
        assert self.store.advance(steps, ENGINE_OF) == len(states)
        assert self.store.advance(steps, ENGINE_OF) == 0

    def claim(self, *, lease_s: float = 60) -> None:
        owner = self.rng.choice(["ann", "bob", "cid"])
        for a in claim(
            self.store, self.rng.choice("ab"), owner=owner, limit=self.rng.randint(1, 5), lease_s=lease_s
        ):
            assert a.id not in self.held
            self.held[a.id] = (owner, a.attempt)
            self.seen.append((owner, a))

    def complete(self) -> None:
        if not self.seen:
            return
        owner, a = self.rng.choice(self.seen)
        current = self.held.get(a.id) == (owner, a.attempt)
        n = complete(self.store, [a], owner=owner)
        assert n == current
        if current:
            del self.held[a.id]
            self.accepted[a.id] += 1

    def release(self) -> None:
        owner = self.rng.choice(["ann", "bob", "cid"])
        mine = [i for i, (holder, _) in self.held.items() if holder == owner]
        # With a refund the fence (owner, attempt) could come back, and with it a write that is not late.
        self.store.release(owner, mine, refund_attempt=False)
        for i in mine:
            del self.held[i]

    def expire(self) -> None:
        before = set(self.held)
        self.claim(lease_s=-1)
        self.store.sweep(max_attempts=1000)
        for i in set(self.held) - before:
            del self.held[i]

    def cancel(self) -> None:
        running = [p.job.id for p in self.store.jobs() if p.state is JobState.RUNNING]
        if running:
            job_id = self.rng.choice(running)
            self.store.cancel(job_id)
            gone = {a.id for _, a in self.seen if a.job_id == job_id}
            self.held = {i: holder for i, holder in self.held.items() if i not in gone}

    def drain(self) -> None:
        for owner in ("ann", "bob", "cid"):
            self.store.release_owner(owner, refund_attempt=False)
        self.held.clear()
        while any(p.state is JobState.RUNNING for p in self.store.jobs(limit=1000)):
            self.route_all()

    def route_all(self) -> None:
        self.route()
        for engine in "ab":
            while claimed := claim(self.store, engine, owner="last"):
                assert complete(self.store, claimed, owner="last") == len(claimed)
                self.accepted.update(a.id for a in claimed)


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_lose_nothing_and_complete_nothing_twice(store: SqlJobStore, seed: int) -> None:
    chaos = Chaos(store, seed)
    for _ in range(150):
        chaos.step()
    chaos.drain()
    assert set(chaos.accepted.values()) <= {1}
    progress = store.jobs(limit=1000)
    assert sum(chaos.accepted.values()) == sum(p.n_responses for p in progress) > 0
    for p in progress:
        assert p.completed + p.failed == p.total == len(list(store.answers(p.job.id)))
        if p.state is JobState.DONE:
            assert p.n_responses == p.n_assignments == 2 * p.total


# ── stages ────────────────────────────────────────────────────────────────────────────────────────


def test_calls_of_a_question_are_told_as_they_stand(store: SqlJobStore) -> None:
    submit(store, 2, job_id="first")
    route(store)
    submit(store, 1, job_id="mine", priority=INTERACTIVE)
    assert store.call_progress("mine") == []
    route(store)
    submit(store, 1, job_id="last")
    route(store)

    assert [(c.expert_id, c.state, c.ahead) for c in store.call_progress("mine")] == [
        ("a/0", "waiting", 0),
        ("b/0", "waiting", 0),
    ]
    assert [c.ahead for c in store.call_progress("last")] == [3, 3]
    complete(store, claim(store, "a", limit=1))
    claim(store, "b", limit=1)
    assert [c.state for c in store.call_progress("mine")] == ["done", "running"]
    store.report_device(DeviceReport(owner="w", device="cpu", engine_id="a", state="loading"))
    assert [c.loading for c in store.call_progress("last")] == [True, False]
    with pytest.raises(NotFoundError):
        store.call_progress("nobody")
