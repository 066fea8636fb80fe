"""Experts join and leave a pool while it is held."""

from orchestrator.domain.experts import EngineSpec, Expert, LivePool, Pool
from orchestrator.runtime.live import Live


def expert(name: str, engine: str | None = None) -> Expert:
    spec = EngineSpec(id=engine or name, backend="scripted", model=engine or name)
    return Expert(id=name, engine=spec, weights_hash=engine or name)


A, B = expert("a"), expert("b", "b@1")


def test_who_holds_the_pool_sees_who_joined() -> None:
    live = LivePool(experts=(A,))
    engines, engine_of = Live(lambda: live.known_engines), Live(lambda: live.engine_of)
    held = engines.keys()

    live.follow(Pool(experts=(A, B)))

    assert tuple(live.by_id) == tuple(live.known) == ("a", "b")
    assert held == {"a", "b@1"}
    assert held - {"a"} == {"b@1"}
    assert dict(engine_of) == {"a": "a", "b": "b@1"}
    assert live.fingerprint == Pool(experts=(A, B)).fingerprint


def test_who_left_is_asked_no_more_and_still_known_to_those_who_serve_calls() -> None:
    live = LivePool(experts=(A, B))
    live.follow(Pool(experts=(A,)))
    assert (tuple(live.by_id), live.answerers, tuple(live.engines)) == (("a",), (A,), ("a",))
    assert live.departed == (B,)
    assert live.known["b"] == B
    assert live.known_engines["b@1"] == B.engine
    assert live.engine_of["b"] == "b@1"


def test_who_comes_back_has_not_departed() -> None:
    live = LivePool(experts=(A, B))
    live.follow(Pool(experts=(A,)))
    live.follow(Pool(experts=(A, B)))
    assert live.departed == ()
    live.follow(Pool(experts=(A, B)))
    assert (live.experts, live.departed) == ((A, B), ())


def test_other_weights_of_one_name_are_asked_on_their_own_engine_and_the_old_one_stays_known() -> None:
    live = LivePool(experts=(A, B))
    second, third = expert("b", "b@2"), expert("b", "b@3")
    live.follow(Pool(experts=(A, second)))
    assert live.engine_of["b"] == "b@2"
    live.follow(Pool(experts=(A, third)))
    assert set(live.known_engines) == {"a", "b@1", "b@2", "b@3"}
    live.follow(Pool(experts=(A,)))
    assert live.departed == (third, second, B)
    assert live.engine_of["b"] == "b@3", "calls that are written now were meant for the latest"


def test_a_look_that_lasts_sees_one_pool() -> None:
    live = LivePool(experts=(A, B))
    now = live.now
    live.follow(Pool(experts=(A,)))
    assert (tuple(now.by_id), now.answerers) == (("a", "b"), (A, B))
    assert tuple(live.now.by_id) == ("a",)
