"""Questions that one loop carries, the same on every database: what it begins and settles is on the books as
if it had been claimed, completed and stepped one after the other."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

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
from orchestrator.domain.keys import ApiKey, KeyBudget, KeyTerms, Period, digest_of
from orchestrator.domain.spending import QUOTA, Costs, ExpertCost
from orchestrator.ports.jobs import Completion, Lessee
from orchestrator.ports.questions import Begun, Carried, Settled
from orchestrator.store import Database, SqlJobStore, SqlKeyStore
from orchestrator.store.tables import assignment, engine_work, share
from tests.contracts.test_books_contract import by_rows, counted, shares, shares_by_rows
from tests.contracts.test_store_contract import ENGINE_OF, ask, claim, complete, finish
from tests.fakes.work import make_call, make_queries, make_response

PAIR = ("a/0", "b/0")
ROOMY = {"a": 100, "b": 100}
DONE = Done(answer=Answer(text="yes"))


def lessee(room: Mapping[str, int] = ROOMY, *, owner: str = "me", lease_s: float = 60) -> Lessee:
    return Lessee(owner, lease_s, room)


def submit(store: SqlJobStore, n: int = 1, *, job_id: str = "job", priority: int = INTERACTIVE) -> None:
    store.submit(Job(id=job_id, composition="any", priority=priority), make_queries(n, prefix=f"{job_id}-"))


def begin(store: SqlJobStore, *experts: str, **to: object) -> Begun:
    steps = [(state, ask(state, experts or PAIR)) for state in store.ready(limit=100)]
    return store.begin(steps, ENGINE_OF, lessee(**to))


def completions(assignments: Sequence[Assignment]) -> list[Completion]:
    return [Completion(a.id, a.attempt, make_response(a.call.expert_id)) for a in assignments]


def stepped(store: SqlJobStore, assignments: Sequence[Assignment], step: Ask | Done = DONE) -> Carried:
    """A step of the one query of these, as a loop has it in mind."""
    (query_id,) = {a.query_id for a in assignments}
    responses = tuple(make_response(a.call.expert_id) for a in assignments)
    query = make_queries(1, prefix=f"{assignments[0].job_id}-")[0]
    state = QueryState(id=query_id, job_id=assignments[0].job_id, query=query, stage=1, responses=responses)
    return Carried(state, step, frozenset(a.id for a in assignments))


def settle(store: SqlJobStore, assignments: Sequence[Assignment], **to: object) -> Settled:
    carried = [stepped(store, assignments)]
    return store.settle(completions(assignments), carried, ENGINE_OF, lessee(**to))


def assert_counters_are_right(database: Database) -> None:
    assert counted(database) == by_rows(database)
    assert shares(database) == shares_by_rows(database)


def test_calls_of_a_question_are_leased_as_they_are_put_on_the_books(
    store: SqlJobStore, database: Database
) -> None:
    submit(store)
    begun = begin(store)
    assert begun.n_steps == 1
    assert [(a.call.expert_id, a.engine_id, a.attempt, a.stage) for a in begun.assignments] == [
        ("a/0", "a", 1, 0),
        ("b/0", "b", 1, 0),
    ]
    assert store.held("me") == {a.id for a in begun.assignments}
    assert claim(store, "a", owner="other") == claim(store, "b", owner="other") == ()
    assert counted(database)["a", INTERACTIVE][:3] == (0, 0, 1)
    assert_counters_are_right(database)


def test_what_was_begun_reads_as_what_a_claim_would_have_given(store: SqlJobStore) -> None:
    submit(store)
    (begun, _) = begin(store).assignments
    store.release("me", [begun.id], refund_attempt=True)
    assert claim(store, "a") == (begun,)


def test_calls_of_an_engine_without_room_wait(store: SqlJobStore, database: Database) -> None:
    submit(store, 3)
    begun = begin(store, room={"a": 2})
    assert [a.engine_id for a in begun.assignments] == ["a", "a"]
    assert (len(claim(store, "a")), len(claim(store, "b"))) == (1, 3)
    assert_counters_are_right(database)


def test_lines_of_a_batch_are_not_begun(store: SqlJobStore) -> None:
    submit(store, 3, priority=BATCH)
    assert begin(store) == Begun(3)
    assert len(claim(store, "a")) == 3


def test_who_waits_for_an_engine_already_comes_first(store: SqlJobStore) -> None:
    submit(store, job_id="first")
    begin(store, "a/0", room={})
    submit(store, job_id="second")
    begun = begin(store, "a/0", "b/0")
    assert [a.engine_id for a in begun.assignments] == ["b"]
    assert [a.job_id for a in claim(store, "a", limit=1)] == ["first"]


def test_a_batch_that_waits_for_an_engine_does_not_hold_up_a_question(store: SqlJobStore) -> None:
    submit(store, job_id="lines", priority=BATCH)
    begin(store, "a/0")
    submit(store)
    assert len(begin(store, "a/0").assignments) == 1


def test_what_was_begun_and_given_back_waits_for_anybody(store: SqlJobStore, database: Database) -> None:
    submit(store)
    begin(store)
    store.release_owner("me", refund_attempt=False)
    assert_counters_are_right(database)
    assert [a.attempt for a in claim(store, "a", owner="other")] == [2]


def test_a_dead_loops_questions_are_taken_over(store: SqlJobStore) -> None:
    submit(store)
    begin(store, lease_s=-1.0)
    store.sweep(max_attempts=3)
    taken = [*claim(store, "a", owner="other"), *claim(store, "b", owner="other")]
    assert complete(store, taken, owner="other") == 2
    assert finish(store) == 1
    assert store.job("job").state is JobState.DONE


def test_responses_and_the_step_that_they_allow_are_stored_together(
    store: SqlJobStore, database: Database
) -> None:
    submit(store)
    begun = begin(store).assignments
    settled = settle(store, begun)
    assert settled == Settled(frozenset(a.id for a in begun), 1)
    progress = store.job("job")
    assert (progress.state, progress.completed, progress.n_responses) == (JobState.DONE, 1, 2)
    assert [answer.text for _, answer in store.answers("job")] == ["yes"]
    assert_counters_are_right(database)
    with database.read() as conn:
        assert conn.execute(select(share)).all() == []


def test_a_step_is_not_stored_without_the_responses_that_it_was_computed_from(store: SqlJobStore) -> None:
    """The lease of one call is lost to another loop, which answers first: the step goes by what that said."""
    submit(store)
    mine = begin(store).assignments
    store.release("me", [mine[0].id], refund_attempt=False)
    others = claim(store, "a", owner="other")
    complete(store, others, owner="other")
    settled = settle(store, mine)
    assert (settled.accepted, settled.n_steps) == ({mine[1].id}, 0)
    assert store.job("job").n_regenerated == 1
    assert [state.stage for state in store.ready(limit=10)] == [1]


def test_a_question_that_was_cancelled_meanwhile_stays_cancelled(
    store: SqlJobStore, database: Database
) -> None:
    submit(store)
    begun = begin(store).assignments
    store.cancel("job")
    assert settle(store, begun) == Settled(frozenset())
    assert store.job("job").state is JobState.CANCELLED
    assert_counters_are_right(database)


def test_a_question_that_was_deleted_meanwhile_is_gone(store: SqlJobStore) -> None:
    submit(store)
    begun = begin(store).assignments
    store.cancel("job")
    store.purge(store.begin_deleting("job"), limit=100)
    assert settle(store, begun) == Settled(frozenset())


def test_told_again_nothing_changes(store: SqlJobStore) -> None:
    """As after a COMMIT whose reply was lost."""
    submit(store)
    begun = begin(store).assignments
    settle(store, begun)
    assert settle(store, begun) == Settled(frozenset())
    progress = store.job("job")
    assert (progress.completed, progress.n_responses, progress.n_regenerated) == (1, 2, 2)


def test_a_later_stage_is_begun_with_the_responses_of_the_one_before(
    store: SqlJobStore, database: Database
) -> None:
    submit(store)
    begun = begin(store).assignments
    decision = Decision(router="any", recruits=(Recruit(expert_id="b/0", weight=1, score=1, accuracy=1),))
    query = make_queries(1, prefix="job-")[0]
    again = Ask(calls=(make_call("b/0", query),), decision=decision)
    settled = store.settle(completions(begun), [stepped(store, begun, again)], ENGINE_OF, lessee())
    assert [(a.engine_id, a.stage, a.attempt) for a in settled.assignments] == [("b", 1, 1)]
    complete(store, settled.assignments)
    (state,) = store.ready(limit=10)
    assert (state.stage, state.decision, len(state.responses)) == (2, decision, 3)
    assert_counters_are_right(database)


def test_a_question_of_a_key_without_room_in_its_budget_begins_nothing(database: Database) -> None:
    costs = {"a/0": ExpertCost(max_tokens=8, engine_id="a"), "b/0": ExpertCost(max_tokens=8, engine_id="b")}
    store = SqlJobStore(database, costs=Costs(lambda: costs))
    terms = KeyTerms(budget=KeyBudget(per=Period.TOTAL, tokens=1))
    SqlKeyStore(database).add(ApiKey(id="one", shown="", terms=terms, created_at=1.0), digest_of("one"))
    store.submit(Job(id="job", composition="any", owner="one", priority=INTERACTIVE), make_queries(1))
    assert begin(store) == Begun(1)
    assert [answer.error_code for _, answer in store.answers("job")] == [QUOTA]


def test_while_the_database_is_of_another_revision_nothing_is_begun(store: SqlJobStore) -> None:
    submit(store)
    states = store.ready(limit=10)
    store._revision._found = "another"
    assert store.begin([(state, ask(state)) for state in states], ENGINE_OF, lessee()).assignments == ()


@pytest.fixture
def emptied(store: SqlJobStore, database: Database) -> Callable[[], None]:
    """Ends whatever earlier examples left."""

    def empty() -> None:
        for progress in store.jobs():
            store.cancel(progress.job.id)
        with database.write() as conn:
            conn.execute(update(engine_work).values(n_waiting=0, waiting_tokens=0))
            conn.execute(update(assignment).where(assignment.c.state == "waiting").values(state="cancelled"))

    return empty


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rooms=st.lists(
        st.fixed_dictionaries({"a": st.integers(0, 2), "b": st.integers(0, 2)}), min_size=1, max_size=5
    ),
    ends=st.lists(st.sampled_from(["settle", "release", "cancel"]), min_size=1, max_size=5),
)
def test_counters_are_right_whatever_is_begun_and_however_it_ends(
    store: SqlJobStore,
    database: Database,
    emptied: Callable[[], None],
    rooms: list[dict[str, int]],
    ends: list[str],
) -> None:
    emptied()
    n = len(store.jobs())
    for ix, room in enumerate(rooms):
        job_id = f"job{n + ix}"
        submit(store, job_id=job_id)
        begun = begin(store, room=room).assignments
        end = ends[ix % len(ends)]
        if end == "settle" and len(begun) == 2:
            assert settle(store, begun).n_steps == 1
        elif end == "release":
            store.release("me", [a.id for a in begun], refund_attempt=True)
        elif end == "cancel":
            store.cancel(job_id)
        assert_counters_are_right(database)
