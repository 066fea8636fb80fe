"""What every store of keyed requests promises, whatever the database."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.domain.assignments import Job
from orchestrator.domain.keyed import Reply, RequestKey
from orchestrator.domain.queries import Query
from orchestrator.store import Database, SqlJobStore, SqlKeyedRequestStore

KEY = RequestKey(owner="", path="/v1/chat/completions", key_hash="ab" * 32)
REPLY = Reply(status=200, headers={"content-type": "application/json"}, body='{"text": "\\u0000"}')


@pytest.fixture
def keyed(database: Database) -> SqlKeyedRequestStore:
    return SqlKeyedRequestStore(database)


def begun(keyed: SqlKeyedRequestStore, key: RequestKey = KEY, *, unique: str = "1") -> str:
    return keyed.begin(key, unique=unique, fingerprint="f").unique


def test_the_first_request_under_a_key_is_the_one_that_is_known(keyed: SqlKeyedRequestStore) -> None:
    first = keyed.begin(KEY, unique="1", fingerprint="f")
    assert (first.unique, first.fingerprint, first.reply) == ("1", "f", None)
    assert first.created_at > 1.7e9
    assert keyed.begin(KEY, unique="2", fingerprint="g") == first


def test_keys_of_others_and_of_other_paths_are_other_keys(keyed: SqlKeyedRequestStore) -> None:
    others = [KEY._replace(owner="k1"), KEY._replace(path="/v1/files"), KEY._replace(key_hash="00")]
    assert begun(keyed) == "1"
    assert [begun(keyed, key, unique=key.owner + key.path) for key in others] == [
        key.owner + key.path for key in others
    ]


def test_the_first_reply_is_the_one_that_is_kept(keyed: SqlKeyedRequestStore) -> None:
    begun(keyed)
    assert keyed.finish(KEY, unique="1", reply=REPLY) == REPLY
    assert keyed.finish(KEY, unique="1", reply=Reply(status=500)) == REPLY
    assert keyed.begin(KEY, unique="2", fingerprint="f").reply == REPLY


def test_a_reply_to_a_request_that_is_gone_is_not_kept(keyed: SqlKeyedRequestStore) -> None:
    begun(keyed)
    assert keyed.finish(KEY, unique="another", reply=REPLY) == REPLY
    assert keyed.begin(KEY, unique="2", fingerprint="f").reply is None


def test_a_key_is_freed_unless_its_request_was_answered(keyed: SqlKeyedRequestStore) -> None:
    begun(keyed)
    keyed.abandon(KEY, unique="another")
    assert begun(keyed, unique="2") == "1"
    keyed.abandon(KEY, unique="1")
    assert begun(keyed, unique="2") == "2"
    keyed.finish(KEY, unique="2", reply=REPLY)
    keyed.abandon(KEY, unique="2")
    assert begun(keyed, unique="3") == "2"


def test_old_requests_are_dropped_some_at_a_time(keyed: SqlKeyedRequestStore) -> None:
    for n in range(3):
        begun(keyed, KEY._replace(key_hash=str(n)))
    assert keyed.drop_old(3600, limit=9) == 0
    assert [keyed.drop_old(-60, limit=2) for _ in range(3)] == [2, 1, 0]


def test_of_many_that_begin_at_once_all_are_given_the_same(keyed: SqlKeyedRequestStore) -> None:
    for n in range(5):
        key = KEY._replace(key_hash=str(n))
        with ThreadPoolExecutor(8) as threads:
            given = set(threads.map(lambda m, key=key: begun(keyed, key, unique=str(m)), range(8)))
        assert len(given) == 1


def test_whoever_begins_while_others_free_the_key_is_given_a_request(keyed: SqlKeyedRequestStore) -> None:
    def begin_and_abandon(n: int) -> str:
        unique = begun(keyed, unique=str(n))
        keyed.abandon(KEY, unique=unique)
        return unique

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(begin_and_abandon, range(40)))


def test_with_a_deleted_job_the_reply_goes_that_told_its_answer(
    keyed: SqlKeyedRequestStore, store: SqlJobStore
) -> None:
    unique = uuid.uuid4().hex
    begun(keyed, unique=unique)
    store.submit(Job(id=f"ask-{unique}", composition="c"), [Query(id="q", question="?")])
    keyed.finish(KEY, unique=unique, reply=REPLY)
    store.cancel(f"ask-{unique}")
    store.begin_deleting(f"ask-{unique}")
    assert begun(keyed, unique="2") == "2"


@pytest.mark.parametrize("resource_id", ["resp_", "file-", "batch_", ""])
def test_things_of_every_kind_are_forgotten_by_their_ids(
    keyed: SqlKeyedRequestStore, resource_id: str
) -> None:
    unique = uuid.uuid4().hex
    begun(keyed, unique=unique)
    keyed.forget(resource_id + uuid.uuid4().hex)
    assert begun(keyed, unique="2") == unique
    keyed.forget(resource_id + unique)
    assert begun(keyed, unique="2") == "2"
