"""Engines as devices hold them: resident, asleep, and what they take."""

from orchestrator.bootstrap.checks import heard_of
from orchestrator.domain.devices import DeviceMemory, DeviceReport
from orchestrator.domain.engines import engine_states


def place(owner: str, engine_id: str | None = None, **memory: object) -> DeviceReport:
    return DeviceReport(
        owner=owner,
        device="gpu",
        engine_id=engine_id,
        state="idle" if engine_id is None else "resident",
        memory=DeviceMemory.model_validate(memory),
    )


def test_an_engine_is_resident_or_asleep_and_its_largest_measure_is_told() -> None:
    devices = [
        place("one", "a", held_gib=3.0, asleep=("b", "c")),
        place("two", "a", held_gib=3.5, asleep=("a",)),
        place("three", "c", held_gib=None),
    ]
    states = engine_states("abcd", devices=devices, faults=[], loop_of=str)
    told = {e: (s.is_resident, s.is_asleep, s.memory_gib) for e, s in states.items()}
    assert told == {
        "a": (True, False, 3.5),
        "b": (False, True, None),
        "c": (True, False, None),
        "d": (False, False, None),
    }


def test_devices_are_summed_up_for_who_looks_after_them() -> None:
    devices = [
        place("one", "a", free_gib=3.5, asleep=("b", "c")),
        place("one+1", "d", free_gib=3.0, asleep=("b", "c")),
        place("two"),
    ]
    assert heard_of(devices) == "3 places of devices: 2 engines resident, 2 asleep, at least 3.0 GiB free"
    assert heard_of([place("two", free_gib=9.0)]) == "1 places of devices"
    assert heard_of([]) == "0 places of devices"
