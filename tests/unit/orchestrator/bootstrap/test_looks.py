import threading
from collections.abc import Callable

from orchestrator.bootstrap.looks import Check, Looks
from orchestrator.domain.diagnoses import Diagnosis
from tests.harness.waiting import wait_for

LONG_S = 30.0
"""Nobody waits so long here: what is waited for has happened by then."""


def fine(name: str) -> Check:
    return lambda: Diagnosis(name, True, f"{name} is fine")


def slow(name: str, until: threading.Event, seen: Callable[[], str] = lambda: "built") -> Check:
    def check() -> Diagnosis:
        until.wait(LONG_S)
        return Diagnosis(name, True, seen())

    return check


def test_what_is_known_in_time_is_told_and_the_rest_is_pending() -> None:
    open_door = threading.Event()
    looks = Looks(lambda: {"database": fine("database"), "compositions": slow("compositions", open_door)})
    wait_for("the cheap check", lambda: looks.look(0.0).found != [], within_s=LONG_S)
    early = looks.look(0.0)
    assert [d.check for d in early.found] == ["database"]
    assert early.pending == ("compositions",)
    open_door.set()
    late = looks.look(LONG_S)
    assert [d.check for d in late.found] == ["database", "compositions"]
    assert late.pending == ()


def test_until_a_new_look_comes_to_a_check_the_last_finding_stands() -> None:
    door, said = threading.Event(), ["not profiled"]
    looks = Looks(lambda: {"compositions": slow("compositions", door, lambda: said[0])}, fresh_s=0.0)
    door.set()
    assert looks.look(LONG_S).found[0].detail == "not profiled"
    door.clear()
    said[0] = "40 compositions"
    again = looks.look(0.0)
    assert (again.found[0].detail, again.pending) == ("not profiled", ("compositions",))
    door.set()
    wait_for(
        "the new finding", lambda: looks.look(LONG_S).found[0].detail == "40 compositions", within_s=LONG_S
    )


def test_a_look_that_has_just_ended_is_not_made_again() -> None:
    now, counted = [0.0], []

    def count() -> Diagnosis:
        counted.append(1)
        return Diagnosis("cards", True, str(len(counted)))

    looks = Looks(lambda: {"cards": count}, fresh_s=10.0, clock=lambda: now[0])
    assert [looks.look(LONG_S).found[0].detail for _ in range(3)] == ["1", "1", "1"]
    now[0] = 10.0
    assert looks.look(LONG_S).found[0].detail == "2"


def test_however_many_look_at_once_one_look_goes_on() -> None:
    door, begun = threading.Event(), []

    def count() -> str:
        begun.append(1)
        return "built"

    looks = Looks(lambda: {"compositions": slow("compositions", door, count)})
    for _ in range(5):
        looks.look(0.0)
    door.set()
    assert looks.look(LONG_S).pending == ()
    assert len(begun) == 1
