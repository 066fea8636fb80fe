from orchestrator.domain.devices import REMOTE, STEPS, DeviceReport
from orchestrator.domain.engines import NOBODY_SERVES, EngineState, engine_states
from workers.leases.owners import loop_of

POOL = ("a", "b")


def device(owner: str, engine_id: str | None = None, **more: object) -> DeviceReport:
    state = "idle" if engine_id is None else "resident"
    return DeviceReport.model_validate(
        {"owner": owner, "device": "cpu", "engine_id": engine_id, "state": state, "serves": POOL, **more}
    )


def fault(owner: str, engine_id: str = "a", *, next_try_s: float = 5, **more: object) -> DeviceReport:
    told = {"state": "cooling", "why": "away.", "code": "engine_load_failed", "state_s": 7, **more}
    return DeviceReport.model_validate(
        {"owner": f"{owner}+fault", "device": "cpu", "engine_id": engine_id, "next_try_s": next_try_s, **told}
    )


def state_of(devices: list[DeviceReport], faults: list[DeviceReport] | None = None) -> EngineState:
    return engine_states(["a"], devices=devices, faults=faults or [], loop_of=loop_of)["a"]


def test_an_engine_that_can_be_loaded_is_ready_and_so_it_is_while_nobody_works() -> None:
    assert state_of([device("x")]).state == state_of([]).state == "ready"


def test_an_engine_is_loading_until_some_device_has_it() -> None:
    loading = device("x", "a", state="loading", state_s=3.0)
    assert state_of([loading]) == EngineState(engine_id="a", state="loading", since_s=3.0)
    assert state_of([loading, device("y", "a")]).state == "ready"


def test_an_engine_cools_down_only_where_no_live_device_may_serve_it() -> None:
    assert state_of([device("x"), device("y")], [fault("x")]).state == "ready"
    both = state_of([device("x"), device("y")], [fault("x", next_try_s=9), fault("y", why="full.")])
    assert (both.state, both.why, both.next_try_s, both.since_s) == ("cooling", "full.", 5.0, 7.0)
    assert not both.is_well


def test_what_a_dead_loop_told_does_not_count() -> None:
    assert state_of([device("x")], [fault("gone")]).state == "ready"
    assert state_of([device("x")], [fault("x"), fault("gone", state="down")]).state == "cooling"


def test_an_engine_is_down_where_all_say_so_and_tells_what_heals_it() -> None:
    devices, down = [device("x"), device("y")], {"state": "down", "heal": "Mend the path."}
    assert state_of(devices, [fault("x", **down), fault("y")]).state == "cooling"
    found = state_of(devices, [fault("x", **down), fault("y", **down)])
    assert (found.state, found.heal) == ("down", "Mend the path.")


def test_an_engine_of_no_live_pool_file_is_down() -> None:
    found = state_of([device("x", serves=("b",)), device("s", device=STEPS, serves=())])
    assert (found.state, found.why) == ("down", NOBODY_SERVES)
    assert state_of([device("x", serves=None)]).state == "ready", "an older worker does not say"


def test_an_engine_that_failed_since_it_was_loaded_is_not_ready() -> None:
    """The place of a remote engine stands beside that of its loop."""
    place = device("x+a", "a", device=REMOTE)
    assert state_of([device("x"), place], [fault("x")]).state == "cooling"
