"""Budgets of keys, the same on every database: held before anybody is asked, settled when all is said.

A question here is 11 bytes, its prompt 11 + 64 tokens at most, and each answer 8: a call may take 83 tokens.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import func, select

from orchestrator.domain.answers import Answer, Decision, Recruit, Usage
from orchestrator.domain.assignments import INTERACTIVE, Ask, Done, Job, JobState, QueryState
from orchestrator.domain.keys import ApiKey, KeyBudget, KeyTerms, Period, digest_of
from orchestrator.domain.spending import QUOTA, Costs, ExpertCost, Spend
from orchestrator.errors import StoreUnavailableError
from orchestrator.ports.jobs import Completion
from orchestrator.store import Database, SqlJobStore, SqlKeyStore
from orchestrator.store.key_tables import key_spending, query_spending
from tests.fakes.work import make_call, make_queries, make_response

ENGINE_OF = {"a/0": "a", "b/0": "b", "w": "w"}
COSTS = {
    "a/0": ExpertCost(input_usd=1.0, output_usd=2.0, max_tokens=8, engine_id="a"),
    "b/0": ExpertCost(max_tokens=8, engine_id="b"),
    "w": ExpertCost(max_tokens=100, engine_id="w"),
}
CALL = 83
USED = 30
"""Tokens that each call took in the end."""


@pytest.fixture
def store(database: Database) -> SqlJobStore:
    return SqlJobStore(database, costs=Costs(lambda: COSTS))


def make_key(database: Database, key_id: str = "one", **budget: object) -> None:
    terms = KeyTerms(budget=KeyBudget(per=Period.TOTAL, **budget) if budget else None)
    key = ApiKey(id=key_id, shown="", terms=terms, created_at=1.0)
    SqlKeyStore(database).add(key, digest_of(key_id))


def submit(store: SqlJobStore, n: int = 1, *, job_id: str = "job", owner: str = "one") -> None:
    job = Job(id=job_id, composition="any", owner=owner, priority=INTERACTIVE)
    store.submit(job, make_queries(n))


def ask(store: SqlJobStore, *experts: str, decision: Decision | None = None) -> None:
    calls = experts or ("a/0",)
    store.advance(
        [
            (state, Ask(calls=tuple(make_call(e, state.query) for e in calls), decision=decision))
            for state in store.ready(limit=1000)
        ],
        ENGINE_OF,
    )


def respond(store: SqlJobStore, *engines: str) -> None:
    usage = Usage(prompt_tokens=USED - 8, completion_tokens=8, cost_usd=0.25)
    for engine in engines or ("a",):
        claimed = store.claim(engine, owner="me", limit=1000, lease_s=60).assignments
        said = make_response(f"{engine}/0").model_copy(update={"usage": usage})
        store.complete("me", [Completion(a.id, a.attempt, said) for a in claimed])


def finish(store: SqlJobStore) -> None:
    done = [(state, Done(answer=Answer(text="yes"))) for state in store.ready(limit=1000)]
    store.advance(done, ENGINE_OF)


def spending(database: Database, key_id: str = "one") -> tuple[int, int]:
    """Tokens used, and held."""
    s = key_spending.c
    wanted = select(func.sum(s.used_tokens), func.sum(s.held_tokens)).where(s.key_id == key_id)
    used, held = database.fetch(lambda conn: conn.execute(wanted).one())
    return int(used or 0), int(held or 0)


def codes(store: SqlJobStore, job_id: str = "job") -> list[str | None]:
    return [answer.error_code for _, answer in store.answers(job_id)]


def test_what_a_question_may_take_is_held_before_anybody_is_asked(
    store: SqlJobStore, database: Database
) -> None:
    make_key(database, tokens=1000)
    submit(store)
    ask(store, "a/0", "b/0")
    assert spending(database) == (0, 2 * CALL)


def test_at_the_end_what_was_used_is_paid_and_nothing_is_held(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=1000)
    submit(store, 3)
    ask(store, "a/0", "b/0")
    respond(store, "a", "b")
    finish(store)
    assert spending(database) == (3 * 2 * USED, 0)
    assert codes(store) == [None, None, None]


def test_a_question_without_room_ends_with_the_reason_and_asks_nobody(
    store: SqlJobStore, database: Database
) -> None:
    make_key(database, tokens=CALL - 1)
    submit(store)
    ask(store)
    [(_, answer)] = store.answers("job")
    assert answer.error_code == QUOTA
    assert "83 of 82 tokens that are left (82 in all)" in (answer.error or "")
    assert store.job("job").n_assignments == 0
    assert spending(database) == (0, 0)


def test_lines_of_a_batch_are_asked_as_far_as_there_is_room(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=3 * CALL + 1)
    submit(store, 5)
    ask(store)
    respond(store)
    finish(store)
    assert sorted(codes(store), key=str) == [None, None, None, QUOTA, QUOTA]
    assert spending(database) == (3 * USED, 0)
    assert (store.job("job").completed, store.job("job").failed) == (3, 2)


def test_what_was_not_used_is_there_for_the_next_and_a_retry_has_its_turn(
    store: SqlJobStore, database: Database
) -> None:
    make_key(database, tokens=CALL + USED)
    submit(store, 2)
    ask(store)
    respond(store)
    finish(store)
    assert sorted(codes(store), key=str) == [None, QUOTA]
    store.retry("job", failed_only=True, deadline_s=None)
    ask(store)
    respond(store)
    finish(store)
    assert codes(store) == [None, None]
    assert spending(database) == (2 * USED, 0)


@pytest.mark.parametrize("n_answered", [0, 1])
def test_a_cancelled_question_pays_what_it_used(
    store: SqlJobStore, database: Database, n_answered: int
) -> None:
    make_key(database, tokens=1000)
    submit(store)
    ask(store, "a/0", "b/0")
    if n_answered:
        respond(store, "a")
    store.cancel("job")
    assert store.job("job").state is JobState.CANCELLED
    assert spending(database) == (n_answered * USED, 0)


def test_what_goes_on_after_a_cancellation_is_not_paid_twice(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=1000)
    submit(store)
    ask(store, "a/0", "b/0")
    respond(store, "a")
    store.cancel("job")
    store.retry("job", failed_only=True, deadline_s=None)
    respond(store, "b")
    finish(store)
    assert codes(store) == [None]
    assert spending(database) == (2 * USED, 0)


def test_a_job_past_its_deadline_holds_nothing(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=1000)
    store.submit(Job(id="job", composition="any", owner="one", deadline_s=1e-6), make_queries(2))
    ask(store)
    store.sweep(max_attempts=3)
    assert store.job("job").state is JobState.EXPIRED
    assert spending(database) == (0, 0)


def test_a_deleted_job_leaves_what_was_paid(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=1000)
    submit(store)
    ask(store)
    respond(store)
    finish(store)
    number = store.begin_deleting("job")
    while store.purge(number, limit=10):
        pass
    assert spending(database) == (USED, 0)
    assert database.fetch(lambda conn: conn.execute(select(query_spending)).all()) == []


def test_reserves_and_a_writer_are_held_from_the_beginning(database: Database) -> None:
    """Prompt 75 and 8 of each recruit and reserve; the writer reads 75 and what both said, and writes 100."""
    store = SqlJobStore(database, costs=Costs(lambda: COSTS, lambda _job: ("w",)))
    make_key(database, tokens=1000)
    submit(store)
    recruit = Recruit(expert_id="a/0", weight=1, score=1, accuracy=0.5)
    reserve = Recruit(expert_id="b/0", weight=1, score=1, accuracy=0.5)
    ask(store, decision=Decision(router="all", recruits=(recruit,), reserves=(reserve,)))
    assert spending(database) == (0, 2 * CALL + (75 + 2 * 8) + 100)


def test_a_further_stage_is_held_if_the_first_did_not_foresee_it(
    store: SqlJobStore, database: Database
) -> None:
    make_key(database, tokens=USED + 2 * CALL)
    submit(store)
    ask(store)
    respond(store)
    ask(store, "b/0", "w")
    assert spending(database) == (0, USED + 2 * CALL)


def test_a_further_stage_without_room_ends_the_question_and_what_it_used_is_paid(
    store: SqlJobStore, database: Database
) -> None:
    make_key(database, tokens=USED + 2 * CALL - 1)
    submit(store)
    ask(store)
    respond(store)
    ask(store, "b/0", "w")
    assert codes(store) == [QUOTA]
    assert spending(database) == (USED, 0)


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        ({"usd": 75 * 1.0 + 8 * 2.0}, True),
        ({"usd": 75 * 1.0 + 8 * 2.0 - 0.01}, False),
        ({"engine_s": CALL / 50}, True),
        ({"engine_s": CALL / 50 - 0.01}, False),
        ({"tokens": 1000, "usd": 0.01}, False),
    ],
)
def test_usd_and_engine_seconds_are_held_too(
    store: SqlJobStore, database: Database, budget: dict[str, float], fits: bool
) -> None:
    """The engine does 50 tokens a second on its slowest device."""
    store.record_rate("a", "cpu", tokens_per_s=50.0)
    store.record_rate("a", "cuda:0", tokens_per_s=5000.0)
    make_key(database, **budget)
    submit(store)
    ask(store)
    assert (store.job("job").n_assignments == 1) is fits


@pytest.mark.parametrize("owner", ["", "free"])
def test_nothing_is_counted_where_there_is_no_budget(
    store: SqlJobStore, database: Database, owner: str
) -> None:
    make_key(database, "free")
    submit(store, owner=owner)
    ask(store)
    respond(store)
    finish(store)
    assert codes(store) == [None]
    assert database.fetch(lambda conn: conn.execute(select(key_spending)).all()) == []


def test_an_account_says_what_was_used_and_what_is_held(store: SqlJobStore, database: Database) -> None:
    make_key(database, tokens=1000)
    make_key(database, "idle", tokens=1000)
    make_key(database, "free")
    submit(store, 2)
    ask(store)
    respond(store)
    finish(store)
    submit(store, job_id="more")
    ask(store)
    keys = SqlKeyStore(database)
    accounts = keys.accounts(keys.listed(), now_s=2.0)
    assert accounts.keys() == {"one"}
    assert (accounts["one"].used.tokens, accounts["one"].held.tokens) == (2 * USED, CALL)
    assert accounts["one"].used.usd == pytest.approx(0.5)


def test_one_key_takes_nothing_of_anothers_budget(store: SqlJobStore, database: Database) -> None:
    for key_id in ("one", "two"):
        make_key(database, key_id, tokens=CALL)
        submit(store, 2, job_id=key_id, owner=key_id)
    ask(store)
    assert [spending(database, key_id) for key_id in ("one", "two")] == [(0, CALL), (0, CALL)]


@pytest.mark.parametrize("n_room", [0, 7])
def test_two_hundred_at_once_never_overrun_a_budget(
    store: SqlJobStore, database: Database, n_room: int
) -> None:
    """Each in a thread of its own begins together with the others; as many are asked as there is room for."""
    n = 200
    make_key(database, tokens=n_room * CALL + CALL // 2)
    for i in range(n):
        submit(store, job_id=f"job{i}")
    states = store.ready(limit=n)
    assert len(states) == n
    start = threading.Barrier(n)

    def begin(state: QueryState) -> None:
        start.wait()
        while True:  # a process has ten connections, and who waits for one for too long is told so
            with suppress(StoreUnavailableError):
                store.advance([(state, Ask(calls=(make_call("a/0", state.query),)))], ENGINE_OF)
                return

    with ThreadPoolExecutor(n) as pool:
        list(pool.map(begin, states))
    assert spending(database) == (0, n_room * CALL)
    asked = [store.job(f"job{i}").n_assignments for i in range(n)]
    assert sum(asked) == n_room
    assert sum(codes(store, f"job{i}") == [QUOTA] for i in range(n)) == n - n_room


def test_what_is_held_is_never_more_than_the_budget_while_many_come_and_go(
    store: SqlJobStore, database: Database
) -> None:
    """Questions begin and end in 8 threads; at the end all that was used is paid, and no more than fits."""
    limit = 5 * CALL
    make_key(database, tokens=limit)
    for i in range(64):
        submit(store, job_id=f"job{i}")
    states = store.ready(limit=64)
    seen: list[int] = []

    def run(mine: Sequence[QueryState]) -> None:
        for state in mine:
            store.advance([(state, Ask(calls=(make_call("b/0", state.query),)))], ENGINE_OF)
            seen.append(sum(spending(database)))
            respond(store, "b")
            store.advance(
                [(s, Done(answer=Answer(text="x"))) for s in store.ready(limit=3) if s.stage], ENGINE_OF
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, [states[i::8] for i in range(8)]))
    respond(store, "b")
    while any(state.stage for state in store.ready(limit=64)):
        finish(store)
    used, held = spending(database)
    n_asked = sum(store.job(f"job{i}").n_assignments for i in range(64))
    assert (used, held) == (n_asked * USED, 0)
    assert max(seen) <= limit
    assert n_asked >= 5


def test_parts_of_spending_are_never_negative() -> None:
    assert Spend(5, 1.0, 2.0).beyond(Spend(7, 0.5, 3.0)) == Spend(0, 0.5, 0.0)
