"""Timelines of plans: places worked out by hand, and laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.timeline import LEFT, ROW, WIDTH, timeline
from api.schemas.jobs import PlanView, StayView


def stay(device: str, engine: str, load: float, serve: float, until: float, *, past: bool) -> StayView:
    return StayView(
        device=device, engine=engine, load_from_s=load, serve_from_s=serve, until_s=until, past=past
    )


def plan(*stays: StayView, done: float = 0.0, bound: float = 0.0) -> PlanView:
    return PlanView(
        job="j",
        state="running",
        loads_done=0,
        loads_left=0,
        seconds_done=done,
        seconds_left=0,
        lower_bound_s=bound,
        overlapped_bound_s=bound,
        ratio=None,
        overlapped_ratio=None,
        optimal=False,
        stays=list(stays),
    )


def test_a_stay_of_the_whole_run_is_as_wide_as_the_drawing() -> None:
    drawn = timeline(plan(stay("cpu", "a", 0, 25, 100, past=True), done=100))
    [bar] = drawn.bars
    assert bar.load_x == LEFT
    assert bar.load_width == pytest.approx((WIDTH - LEFT) / 4)
    assert bar.work_x + bar.work_width == pytest.approx(WIDTH)
    assert bar.label == "a"
    assert drawn.now_x is None


def test_devices_have_a_row_each() -> None:
    drawn = timeline(plan(stay("b", "x", 0, 1, 2, past=True), stay("a", "x", 0, 1, 2, past=False)))
    assert [device.name for device in drawn.devices] == ["a", "b"]
    assert drawn.height == 2 * ROW
    assert {bar.colour for bar in drawn.bars} == {0}


def test_the_bound_of_what_is_left_counts_from_now() -> None:
    drawn = timeline(plan(stay("a", "x", 0, 10, 40, past=False), done=20, bound=10))
    assert drawn.now_x == pytest.approx(LEFT + (WIDTH - LEFT) / 2)
    assert drawn.bound_x == pytest.approx(LEFT + (WIDTH - LEFT) * 3 / 4)


def test_no_stays_draw_nothing() -> None:
    assert timeline(plan()).bars == ()


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["x", "a-long-name-of-an-engine"]),
            st.floats(0, 1e5),
            st.floats(0, 1e4),
            st.floats(0, 1e4),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.floats(0, 1e5),
)
def test_nothing_is_drawn_outside(
    parts: list[tuple[str, str, float, float, float, bool]], bound: float
) -> None:
    stays = [stay(d, e, at, at + load, at + load + work, past=p) for d, e, at, load, work, p in parts]
    drawn = timeline(plan(*stays, bound=bound))
    for bar in drawn.bars:
        assert bar.load_x >= LEFT - 1e-6
        assert bar.work_x + bar.work_width <= WIDTH + 1
        assert 0 <= bar.y < drawn.height
    assert all(LEFT <= tick.x <= WIDTH + 1e-6 for tick in drawn.ticks)
    assert len(drawn.ticks) <= 10 or max(s.until_s for s in stays) > 8 * 86_400
