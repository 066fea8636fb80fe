"""Reports of devices, as one of the devices sees the others."""

import math

import pytest

from orchestrator.batching import EQUAL, Kinds, Neighbour
from orchestrator.batching.reported import devices_of, neighbours_of, roomy
from orchestrator.domain.devices import REMOTE, STEPS, DeviceMemory, DeviceReport, Rate


def loop_of(owner: str) -> str:
    return owner.partition("+")[0]


def report(owner: str, engine_id: str | None = None, state: str = "idle", **more: object) -> DeviceReport:
    return DeviceReport.model_validate(
        {"owner": owner, "device": "gpu", "engine_id": engine_id, "state": state} | more
    )


def seen(
    *reports: DeviceReport, kinds: Kinds | None = None, needed_gib: dict[str, float] | None = None
) -> tuple[Neighbour, ...]:
    devices = devices_of(reports, loop_of=loop_of)
    return neighbours_of(devices, kinds=kinds or Kinds({}), seen_from="gpu", needed_gib=needed_gib or {})


def test_places_of_one_loop_are_one_device() -> None:
    places = [report("x", "a", "resident"), report("x+1", "b", "resident"), report("x+2")]
    assert seen(*places, report("y")) == (Neighbour(engine_id="a", beside=("b",)), Neighbour())


def test_what_loads_beside_a_resident_engine_is_ahead_and_alone_it_is_loading() -> None:
    beside = [report("x", "a", "resident"), report("x+1", "b", "loading", state_s=7.0)]
    alone = [report("y"), report("y+1", "b", "loading", state_s=3.0)]
    assert seen(*beside, *alone) == (
        Neighbour(engine_id="a", ahead_id="b", ahead_s=7.0),
        Neighbour(engine_id="b", loading_s=3.0),
    )


def test_who_has_no_device_is_no_neighbour() -> None:
    places = [report("x", device=STEPS), report("y+far", "f", "resident", device=REMOTE), report("y")]
    assert seen(*places) == (Neighbour(),)
    assert [device.owner for device in devices_of(places, loop_of=loop_of)] == ["y"]


def test_a_neighbour_is_as_fast_as_its_kind_was_measured() -> None:
    kinds = Kinds({("a", "gpu"): Rate(10.0, 100.0), ("a", "cpu"): Rate(20.0, 25.0)})
    (neighbour,) = seen(report("x", device="cpu"), kinds=kinds)
    assert neighbour.device.work_s("a", 10.0) == pytest.approx(40.0)
    assert neighbour.device.load_s("a", 10.0) == pytest.approx(20.0)


def test_memory_is_what_its_engines_hold_and_what_is_left() -> None:
    """9 + 4 held and 2.5 free, of engines that need 9 and 8: 15 GiB hold no two of them; 4.5 more do."""

    def memory(held: float, free: float) -> DeviceMemory:
        return DeviceMemory(held_gib=held, free_gib=free)

    def places(free: float) -> list[DeviceReport]:
        held = [report("x", "a", "resident", memory=memory(9.0, free))]
        return [*held, report("x+1", "b", "resident", memory=memory(4.0, free + 0.5))]

    needed = {"a": 9.0, "c": 8.0, "b": 4.0}
    assert [n.device.memory_gib for n in seen(*places(2.5), needed_gib=needed)] == [15.0]
    assert seen(*places(7.0), needed_gib=needed)[0].device == EQUAL


def test_memory_that_nobody_knows_has_no_end() -> None:
    assert roomy(None, {"a": 9.0}) == math.inf
    assert roomy(0.0, {}) == math.inf


def test_a_neighbour_loads_what_stands_in_its_pool() -> None:
    (told, silent) = seen(report("x", serves=("a", "b")), report("y"))
    assert (told.serves, silent.serves) == (frozenset({"a", "b"}), None)
