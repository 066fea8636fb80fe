from orchestrator.errors import EngineCrashedError, EngineLoadError
from tests.fakes.work import HandClock
from workers.device.faults import Faults
from workers.device.pace import Pace

PACE = Pace(cool_down_s=60, max_crashes=3)
NO_ROOM = EngineLoadError("no room.")


def test_a_lone_device_gives_up_at_the_first_failed_load_and_forgets_it_after_a_while() -> None:
    clock = HandClock()
    faults = Faults(clock, PACE)
    faults.load_failed("a", NO_ROOM, is_alone=True)
    fault = faults.of("a")
    assert fault is not None
    assert (fault.is_final, fault.code, fault.error) == (True, "engine_load_failed", "no room.")
    assert faults.of("b") is None
    clock.now += 61
    assert faults.of("a") is None


def test_among_others_the_second_failed_load_is_final() -> None:
    faults = Faults(HandClock(), PACE)
    finals = []
    for _ in range(2):
        faults.load_failed("a", NO_ROOM, is_alone=False)
        fault = faults.of("a")
        finals.append(fault is not None and fault.is_final)
    assert finals == [False, True]


def test_crashes_count_in_a_row_and_per_engine() -> None:
    faults = Faults(HandClock(), PACE)
    crash = EngineCrashedError("gone.")
    for engine_id in ("a", "a", "b"):
        faults.crashed(engine_id, crash)
    faults.worked("a")
    for _ in range(2):
        faults.crashed("a", crash)
    assert faults.of("a") is faults.of("b") is None
    faults.crashed("a", crash)
    fault = faults.of("a")
    assert fault is not None
    assert fault.error == "gone. It crashed 3 times in a row."
