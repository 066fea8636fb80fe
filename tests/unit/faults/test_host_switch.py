"""The switch of the host faults loses, delays and slows what it is told to, and nothing else."""

import pytest

from tests.faults.hosts.switch import BACKLOG_S, Switch, Weather


@pytest.mark.parametrize(
    ("cut", "lost"),
    [
        ((), set()),
        ((("one", "*"),), {("one", "hub"), ("one", "two")}),
        ((("*", "one"),), {("hub", "one"), ("two", "one")}),
        ((("one", "hub"),), {("one", "hub")}),
    ],
    ids=["fair", "mute", "deaf", "one way between two"],
)
def test_what_is_cut_is_lost_in_that_direction_only(
    cut: tuple[tuple[str, str], ...], lost: set[tuple[str, str]]
) -> None:
    ways = [(a, b) for a in ("hub", "one", "two") for b in ("hub", "one", "two") if a != b]
    assert {way for way in ways if Weather(cut=cut).loses(*way)} == lost


def test_frames_leave_after_the_delay_and_a_slow_port_one_after_the_other() -> None:
    """1,000 bytes at 10,000 bytes a second take 0.1 s."""
    switch = Switch([])
    switch.weather = Weather(delay_ms=10, slow=(("one", 10_000),))
    assert switch._due("hub", "two", 1000, now=5.0) == pytest.approx(5.01)
    assert switch._due("hub", "one", 1000, now=5.0) == pytest.approx(5.11)
    assert switch._due("two", "one", 1000, now=5.0) == pytest.approx(5.21)
    assert switch._due("one", "hub", 1000, now=5.0) == pytest.approx(5.11), "the other way is free"


def test_what_would_wait_for_too_long_is_lost() -> None:
    switch = Switch([])
    switch.weather = Weather(slow=(("one", 1000),))
    due = [switch._due("hub", "one", 600, now=0.0) for _ in range(4)]
    assert due[:2] == [pytest.approx(0.6), pytest.approx(1.2)]
    assert due[2:] == [None, None], f"{BACKLOG_S} s are waited for"
