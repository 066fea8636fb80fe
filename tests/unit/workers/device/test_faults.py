import pytest

from orchestrator.errors import EngineLoadError
from orchestrator.store import SqlJobStore
from tests.fakes.work import HandClock
from workers.device.faults import Faults, Trouble
from workers.device.pace import Pace

PACE = Pace(first_pause_s=1, cool_down_s=60, report_s=5)
NO_ROOM = EngineLoadError("no room.", remedy="Make some.")
CRASH = Trouble("engine_crashed", "gone.")


@pytest.fixture
def faults(store: SqlJobStore, clock: HandClock) -> Faults:
    return Faults(store, owner="loop", clock=clock, pace=PACE)


def test_an_engine_that_fails_again_and_again_is_left_alone_for_twice_as_long_up_to_a_minute(
    faults: Faults, clock: HandClock
) -> None:
    pauses = []
    for _ in range(8):
        faults.load_failed("a", NO_ROOM)
        fault = faults.of("a")
        assert fault is not None
        pauses.append(fault.until - clock.now)
        clock.now = fault.until
        assert faults.of("a") is None
        assert faults.since_it_worked("a") == fault
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert fault.since == 1000.0
    assert faults.of("b") is None


def test_an_engine_that_worked_is_trusted_again(faults: Faults) -> None:
    for _ in range(3):
        faults.met("a", CRASH)
    faults.worked("a")
    assert faults.since_it_worked("a") is None
    faults.met("a", CRASH)
    fault = faults.of("a")
    assert fault is not None
    assert fault.n == 1


def test_crashes_of_lone_suspects_do_not_make_the_pauses_longer(faults: Faults, clock: HandClock) -> None:
    for _ in range(9):
        faults.crashed_alone("a", CRASH)
        fault = faults.of("a")
        assert fault is not None
        assert fault.until - clock.now == 1
        clock.now = fault.until


def test_the_rest_that_an_engine_asks_for_is_kept_up_to_an_hour(faults: Faults, clock: HandClock) -> None:
    until = []
    for rest_s in (30, 86_400):
        faults.met("a", Trouble("rate_limited", "busy.", rest_s=rest_s))
        fault = faults.of("a")
        assert fault is not None
        until.append(fault.until - clock.now)
    assert until == [30, 3600]


def test_what_is_unclear_is_the_prompts_own_fault_once_the_engine_answered_others(
    faults: Faults, clock: HandClock
) -> None:
    def is_own(blame: str, assignment_id: int) -> bool:
        return faults.is_own_fault("a", assignment_id, blame, began_at=clock.now)  # type: ignore[arg-type]

    assert is_own("prompt", 1)
    assert not is_own("engine", 1)
    assert not is_own("setup", 1)
    assert not is_own("unclear", 1)
    clock.now += 1
    assert not is_own("unclear", 1), "nobody was answered since"
    faults.worked("a")
    clock.now += 1
    assert is_own("unclear", 1)
    assert not is_own("unclear", 2), "the engine may have died just now"


def test_faults_are_told_until_they_are_over(faults: Faults, store: SqlJobStore, clock: HandClock) -> None:
    faults.load_failed("a", NO_ROOM)
    faults.load_failed("b", EngineLoadError("no weights.", is_lasting=True))
    faults.tell("cpu")
    cooling, down = store.faults(30)
    assert (cooling.engine_id, cooling.state, cooling.code) == ("a", "cooling", "engine_load_failed")
    assert (cooling.why, cooling.heal) == ("no room. Make some.", "Make some.")
    assert cooling.next_try_s is not None
    assert cooling.next_try_s <= 1
    assert (down.engine_id, down.state) == ("b", "down")
    assert store.devices(30) == []
    faults.worked("a")
    faults.tell("cpu")
    assert [fault.engine_id for fault in store.faults(30)] == ["b"]
    faults.sign_off()
    assert store.faults(30) == []
    faults.tell("cpu")
    assert [fault.engine_id for fault in store.faults(30)] == ["b"], "whoever works again tells it again"
