"""Keys on the books, the same on every database."""

import pytest
import sqlalchemy as sa

from orchestrator.domain.keys import ApiKey, KeyBudget, KeyTerms, Period, Scope, digest_of, draw_secret
from orchestrator.errors import NotFoundError, StoreError
from orchestrator.store import Database, SqlKeyStore
from orchestrator.store.key_tables import api_key

TERMS = KeyTerms(
    name="Zoë's",
    scopes=(Scope.ASK, Scope.BATCH),
    experts=("a/b",),
    expires_at=9e9,
    requests_per_minute=5,
    tokens_per_minute=6,
    budget=KeyBudget(per=Period.DAY, tokens=7, usd=0.1, engine_s=2.5),
)


@pytest.fixture
def keys(database: Database) -> SqlKeyStore:
    return SqlKeyStore(database)


def make_key(key_id: str, *, created_at: float = 1.0) -> ApiKey:
    return ApiKey(id=key_id, shown="sk-muster-abcd…", terms=TERMS, created_at=created_at)


def test_a_key_is_found_by_the_hash_of_its_secret(keys: SqlKeyStore) -> None:
    assert not keys.has_any()
    secret = draw_secret()
    keys.add(make_key("one"), digest_of(secret))
    assert keys.has_any()
    assert keys.find(digest_of(secret)) == make_key("one")
    assert keys.find(digest_of(draw_secret())) is None


@pytest.mark.parametrize("digest", ["", "' OR 1=1 --", "%", digest_of("x").upper()])
def test_nothing_else_is_a_hash(keys: SqlKeyStore, digest: str) -> None:
    keys.add(make_key("one"), digest_of("x"))
    assert keys.find(digest) is None


def test_a_revoked_key_stays_revoked_since_it_was(keys: SqlKeyStore) -> None:
    keys.add(make_key("one"), digest_of("x"))
    assert keys.revoke("one", now_s=5.0).revoked_at == 5.0
    assert keys.revoke("one", now_s=6.0).revoked_at == 5.0
    found = keys.find(digest_of("x"))
    assert found is not None
    assert (found.revoked_at, found.is_valid(1.0), keys.has_any()) == (5.0, False, True)


@pytest.mark.parametrize("key_id", ["two", "", "\x00", "\ud800", "x" * 10_000])
def test_no_such_key_cannot_be_revoked(keys: SqlKeyStore, key_id: str) -> None:
    keys.add(make_key("one"), digest_of("x"))
    with pytest.raises(NotFoundError):
        keys.revoke(key_id, now_s=5.0)


def test_keys_are_listed_the_newest_first(keys: SqlKeyStore) -> None:
    for n, key_id in enumerate(("old", "new")):
        keys.add(make_key(key_id, created_at=float(n)), digest_of(key_id))
    assert [key.id for key in keys.listed()] == ["new", "old"]


def test_two_keys_have_no_secret_in_common(keys: SqlKeyStore) -> None:
    keys.add(make_key("one"), digest_of("x"))
    with pytest.raises(StoreError):
        keys.add(make_key("two"), digest_of("x"))


def test_no_secret_is_in_the_database(keys: SqlKeyStore, database: Database) -> None:
    secret = draw_secret()
    keys.add(make_key("one"), digest_of(secret))
    [row] = database.fetch(lambda conn: conn.execute(sa.select(api_key)).all())
    assert not any(secret in str(value) or secret[10:] in str(value) for value in row)
