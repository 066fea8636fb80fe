"""What every store of exchanges promises, whatever the database."""

import pytest

from orchestrator.domain.assignments import Job, JobState
from orchestrator.domain.exchanges import Exchange
from orchestrator.domain.queries import Query
from orchestrator.errors import NotFoundError
from orchestrator.store import Database, SqlExchangeStore, SqlJobStore


@pytest.fixture
def exchanges(database: Database) -> SqlExchangeStore:
    return SqlExchangeStore(database)


def exchange(name: str, *, previous: str | None = None, job_id: str = "") -> Exchange:
    return Exchange(
        id=name,
        job_id=job_id or f"job-{name}",
        previous_id=previous,
        created_at=1,
        composition="auto",
        items=({"id": "msg_1", "type": "message", "content": "nul \x00 in it"},),
        request={"model": "auto", "metadata": {"a": "b"}},
    )


def test_an_exchange_is_found_as_it_was_kept(exchanges: SqlExchangeStore) -> None:
    exchanges.keep(exchange("one"))
    assert exchanges.exchange("one") == exchange("one")


@pytest.mark.parametrize("name", ["none", "", "nul\x00", "lone \ud800", "é" * 400])
def test_a_name_that_is_nobodys_is_not_found(exchanges: SqlExchangeStore, name: str) -> None:
    for find in (exchanges.exchange, lambda wanted: exchanges.chain(wanted, most=5)):
        with pytest.raises(NotFoundError):
            find(name)


def test_a_chain_has_the_oldest_first_and_the_last_ones_of_too_many(exchanges: SqlExchangeStore) -> None:
    exchanges.keep(exchange("a"))
    exchanges.keep(exchange("b", previous="a"))
    exchanges.keep(exchange("c", previous="b"))
    exchanges.keep(exchange("other", previous="a"))
    assert [one.id for one in exchanges.chain("c", most=5)] == ["a", "b", "c"]
    assert [one.id for one in exchanges.chain("c", most=2)] == ["b", "c"]


def test_a_chain_begins_after_what_was_forgotten(exchanges: SqlExchangeStore) -> None:
    exchanges.keep(exchange("a"))
    exchanges.keep(exchange("b", previous="a"))
    exchanges.forget("a")
    exchanges.forget("a")
    assert [one.id for one in exchanges.chain("b", most=5)] == ["b"]


def test_exchanges_go_with_their_job_and_only_those(exchanges: SqlExchangeStore, store: SqlJobStore) -> None:
    for name in ("gone", "kept"):
        store.submit(Job(id=name, composition="auto"), [Query(id="q", question="?")])
        exchanges.keep(exchange(f"of-{name}", job_id=name))
    store.cancel("gone")
    assert store.job("gone").state is JobState.CANCELLED
    store.begin_deleting("gone")
    assert exchanges.exchange("of-kept").job_id == "kept"
    with pytest.raises(NotFoundError):
        exchanges.exchange("of-gone")


def test_exchanges_of_a_job_that_never_was_are_dropped(
    exchanges: SqlExchangeStore, store: SqlJobStore
) -> None:
    exchanges.keep(exchange("of-none", job_id="never"))
    store.vacuum()
    with pytest.raises(NotFoundError):
        exchanges.exchange("of-none")
