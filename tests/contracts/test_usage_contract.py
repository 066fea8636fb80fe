"""Usage is summed in the transaction that stores what it counts, by day, owner, model and role."""

import time

import pytest
from sqlalchemy import event

from orchestrator.domain.answers import Answer, Usage
from orchestrator.domain.assignments import Ask, Call, CallRole, Done, Job, Response
from orchestrator.domain.metrics import GROUP_SIZE, INFINITE, LOADS, SUM, VALUE, LabelSets, Part, Series
from orchestrator.domain.queries import Message
from orchestrator.domain.usage import ALL_TIME, DAY_S, NO_USAGE, UsageKey, UsageSums
from orchestrator.ports.jobs import Completion
from orchestrator.runtime.metrics import MetricKeeper, Tallies
from orchestrator.store import Database, SqlJobStore, SqlMetricStore, SqlUsageStore
from orchestrator.store.key_tables import key_spending
from tests.fakes.work import make_queries

ENGINE_OF = {"small": "e", "large": "e"}


def today() -> int:
    return int(time.time() // DAY_S)


def asked(store: SqlJobStore, *, n: int = 2, kind: str = "batch", job_id: str = "j") -> None:
    """A job whose questions wait for both experts."""
    store.submit(Job(id=job_id, kind=kind, composition="auto"), make_queries(n))
    call = Call(expert_id="small", role=CallRole.EXPERT, messages=(Message(role="user", content="?"),))
    calls = (call, call.model_copy(update={"expert_id": "large"}))
    steps = [(state, Ask(calls=calls)) for state in store.take_ready(limit=n, for_s=60, job_id=job_id)]
    assert store.advance(steps, ENGINE_OF) == n


def answered(store: SqlJobStore, *, fails: str | None = None) -> list[Completion]:
    """Every call that waits gets 10 tokens' answer to 100 tokens; the `large` one to 120."""
    completions = []
    while claimed := store.claim("e", owner="o", limit=100, lease_s=60).assignments:
        for a in claimed:
            expert_id = a.call.expert_id
            usage = Usage(
                prompt_tokens=100 if expert_id == "small" else 120, completion_tokens=10, cost_usd=0.5
            )
            response = Response(
                expert_id=expert_id, role=CallRole.EXPERT, stage=0, text="A", usage=usage, engine_s=0.25
            )
            if expert_id == fails:
                response = response.model_copy(update={"error_code": "engine_crashed", "usage": Usage()})
            completions.append(Completion(a.id, a.attempt, response))
    store.complete("o", completions)
    return completions


def finished(store: SqlJobStore, *, error_code: str | None = None) -> None:
    done = Done(answer=Answer(text="" if error_code else "A", error_code=error_code))
    store.advance([(state, done) for state in store.take_ready(limit=100, for_s=60)], ENGINE_OF)


def usage(database: Database) -> dict[tuple[str, str], UsageSums]:
    found = SqlUsageStore(database).usage(first_day=today() - 1, last_day=today())
    assert {key.owner for key in found} <= {""}
    return {(key.model, key.role): sums for key, sums in found.items()}


def test_calls_and_questions_are_summed(store: SqlJobStore, database: Database) -> None:
    """Two questions, each asked of both: one expert's words to one question take (100 + 120) / 2 tokens."""
    asked(store)
    answered(store)
    finished(store)
    assert usage(database) == {
        ("small", "expert"): UsageSums(2, 0, 0, 0, 200, 20, 1.0, 0.5),
        ("large", "expert"): UsageSums(2, 0, 0, 0, 240, 20, 1.0, 0.5),
        ("auto", "line"): NO_USAGE._replace(
            n_completed=2, single_prompt_tokens=220, single_completion_tokens=20
        ),
    }


def test_what_failed_is_no_ones_words(store: SqlJobStore, database: Database) -> None:
    asked(store, n=1, kind="ask")
    answered(store, fails="large")
    finished(store, error_code="no_answer")
    found = usage(database)
    assert found["large", "expert"] == NO_USAGE._replace(n_failed=1, engine_s=0.25)
    assert found["auto", "question"] == NO_USAGE._replace(
        n_failed=1, single_prompt_tokens=100, single_completion_tokens=10
    )


def test_a_response_that_comes_twice_counts_once(store: SqlJobStore, database: Database) -> None:
    asked(store)
    completions = answered(store)
    before = usage(database)
    assert store.complete("o", completions) == 0
    assert usage(database) == before


@pytest.mark.parametrize("ending", ["cancelled", "expired"])
def test_questions_that_are_ended_count_as_that(store: SqlJobStore, database: Database, ending: str) -> None:
    if ending == "cancelled":
        asked(store, n=3)
        store.cancel("j")
    else:
        store.submit(Job(id="j", composition="auto", deadline_s=1e-9), make_queries(3))
        while store.sweep(max_attempts=3, for_s=5).n_expired:
            pass
    assert usage(database) == {("auto", "line"): NO_USAGE._replace(**{f"n_{ending}": 3})}


def test_profiles_cost_and_are_no_questions(store: SqlJobStore, database: Database) -> None:
    asked(store, kind="profile")
    answered(store)
    finished(store)
    assert {role for _, role in usage(database)} == {"expert"}


def test_deleting_a_job_takes_no_usage_away(store: SqlJobStore, database: Database) -> None:
    asked(store)
    answered(store)
    finished(store)
    before = usage(database)
    number = store.begin_deleting("j")
    while store.purge(number, limit=100):
        pass
    assert usage(database) == before


def test_sums_of_all_time_are_kept_beside_those_of_days(store: SqlJobStore, database: Database) -> None:
    asked(store)
    answered(store)
    totals = SqlUsageStore(database).totals()
    assert totals[UsageKey(ALL_TIME, "", "small", "expert")].prompt_tokens == 200
    assert {key.day for key in totals} == {ALL_TIME}


def test_usage_of_many_responses_is_one_statement(store: SqlJobStore, database: Database) -> None:
    """As many for 4 responses as for 200."""
    counts = []
    for n in (2, 100):
        asked(store, n=n, job_id=f"j{n}")
        said: list[str] = []
        listener = lambda *args, said=said: said.append(args[2])  # noqa: E731
        event.listen(database._engine, "before_cursor_execute", listener)
        answered(store)
        event.remove(database._engine, "before_cursor_execute", listener)
        finished(store)
        counts.append(sum("usage_count" in statement for statement in said))
    assert counts == [1, 1]


# ── sums of metrics ───────────────────────────────────────────────────────────────────────────────


def tallies() -> Tallies:
    return Tallies(LabelSets(is_model={"e"}.__contains__))


def test_processes_add_to_the_same_sums(database: Database) -> None:
    store = SqlMetricStore(database)
    for _ in range(2):
        own = tallies()
        own.count(LOADS, "e", "cold")
        own.observe(GROUP_SIZE, value=3)
        own.observe(GROUP_SIZE, value=5000)
        MetricKeeper(own, store).keep()
        assert own.sums() == {}
    assert store.metrics() == {
        Part(Series(LOADS.name, ("e", "cold")), VALUE): 2,
        Part(Series(GROUP_SIZE.name), "4"): 2,
        Part(Series(GROUP_SIZE.name), INFINITE): 2,
        Part(Series(GROUP_SIZE.name), SUM): 10006,
    }


def test_what_open_questions_hold_of_budgets_is_summed(database: Database) -> None:
    zero = {f"{a}_{b}": 0 for a in ("used", "held") for b in ("tokens", "usd", "engine_s")}
    rows = [
        {**zero, "key_id": "k1", "period": "2026-11-27", "held_usd": 0.5},
        {**zero, "key_id": "k1", "period": "2026-11-26", "used_usd": 9.0},
        {**zero, "key_id": "k2", "period": "2026-11", "held_usd": 0.25},
    ]
    assert SqlMetricStore(database).reserved_usd() == 0
    database.transact(lambda conn: conn.execute(key_spending.insert(), rows))
    assert SqlMetricStore(database).reserved_usd() == 0.75


def test_what_cannot_be_added_now_is_added_later(database: Database) -> None:
    class Away(SqlMetricStore):
        def add_metrics(self, sums: object) -> None:
            from orchestrator.errors import StoreUnavailableError

            raise StoreUnavailableError("away.")

    own = tallies()
    own.count(LOADS, "e", "cold")
    MetricKeeper(own, Away(database)).keep()
    MetricKeeper(own, SqlMetricStore(database)).keep()
    assert list(SqlMetricStore(database).metrics().values()) == [1]
