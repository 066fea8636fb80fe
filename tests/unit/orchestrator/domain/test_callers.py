"""Who calls, and what is theirs."""

import pytest

from orchestrator.domain.keys import KEYLESS, NOBODY, Caller, Scope, require_own
from orchestrator.errors import NotFoundError

ONE = Caller(key_id="one", scopes=frozenset({Scope.ASK}))
ADMIN = Caller(key_id="root", scopes=frozenset({Scope.ADMIN}))


@pytest.mark.parametrize("owner", ["two", NOBODY, "ONE", "one "])
def test_what_is_another_s_is_not_there(owner: str) -> None:
    with pytest.raises(NotFoundError, match=r"no job 'j'\."):
        require_own(owner, ONE, kind="job", name="j")


@pytest.mark.parametrize(
    ("caller", "owner"), [(ONE, "one"), (ADMIN, "one"), (ADMIN, NOBODY), (KEYLESS, NOBODY), (KEYLESS, "one")]
)
def test_own_things_are_there_and_to_an_admin_all(caller: Caller, owner: str) -> None:
    require_own(owner, caller, kind="job", name="j")


def test_a_list_is_of_the_callers_own_things_and_of_all_for_an_admin() -> None:
    assert (ONE.sees_of, ADMIN.sees_of, KEYLESS.sees_of) == ("one", None, None)


@pytest.mark.parametrize(
    ("caller", "scopes", "may"),
    [
        (ONE, (Scope.ASK,), True),
        (ONE, (Scope.BATCH,), False),
        (ONE, (Scope.ASK, Scope.BATCH), True),
        (ONE, (), True),
        (ADMIN, (Scope.BATCH,), True),
        (Caller(key_id="none", scopes=frozenset()), (Scope.ASK,), False),
        (Caller(key_id="none", scopes=frozenset()), (), True),
    ],
)
def test_one_of_the_scopes_is_enough_and_an_admin_has_all(
    caller: Caller, scopes: tuple[Scope, ...], may: bool
) -> None:
    assert caller.may(scopes) is may
