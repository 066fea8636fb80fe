"""Schedules and choices on devices of different speed and memory, and with hidden loads."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import (
    EQUAL,
    Device,
    Kinds,
    Neighbour,
    Neighbours,
    PlanInput,
    Rates,
    Speeds,
    choose_ahead,
    choose_engine,
    job_plan,
    lower_bound_s,
)
from orchestrator.batching.choosing import LEAST_GAIN
from orchestrator.batching.exact import exact_plan
from orchestrator.batching.left import families_of, finish_s
from orchestrator.batching.packing import Need, Slot, Stint, pack
from orchestrator.domain.assignments import Job, JobProgress, JobState
from orchestrator.domain.devices import DeviceMemory, DeviceReport, Rate
from tests.fakes.backlog import item

SPEED = {"a": 100.0, "b": 100.0, "c": 100.0}
"""100 tokens/s: 100 tokens are a second."""


def drawn_need(engine_id: str, load_s: float, work_s: float, memory_gib: float) -> Need:
    return Need(engine_id, load_s, work_s, memory_gib)


def drawn_slot(
    speed: float, load_speed: float, memory_gib: float, engine_id: str | None, ready_s: float, hides: bool
) -> Slot:
    return Slot(engine_id, ready_s, Device(speed, load_speed, memory_gib), hides=hides)


NEEDS = st.lists(
    st.builds(
        drawn_need, st.sampled_from("abcdefgh"), st.floats(0, 60), st.floats(0.1, 300), st.floats(0, 40)
    ),
    min_size=1,
    max_size=7,
    unique_by=lambda need: need.engine_id,
)
SLOTS = st.lists(
    st.builds(
        drawn_slot,
        st.sampled_from([0.5, 1.0, 2.0]),
        st.sampled_from([0.7, 1.0, 1.5]),
        st.sampled_from([16.0, 48.0]),
        st.just(None),
        st.floats(0, 30),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


# ── packing ───────────────────────────────────────────────────────────────────────────────────────


def test_the_faster_device_gets_more_of_the_work() -> None:
    """10 + 90 s on speeds 1 and 2, loads alike: at 40 s one has done 30, the other 2 * 30 s of the work."""
    slots = [Slot(), Slot(device=Device(2.0))]
    packing = pack([Need("a", 10, 90)], slots)
    assert packing.finish_s == pytest.approx(40, rel=0.01)
    assert [stints[0].work_s for stints in packing.stints] == [pytest.approx(30, rel=0.02)] * 2


def test_an_engine_goes_only_where_memory_holds_it() -> None:
    """The large engine takes 10 + 60 s of the only device that holds it; the small one goes to the other."""
    slots = [Slot(device=Device(memory_gib=8.0)), Slot(device=Device(memory_gib=24.0))]
    packing = pack([Need("large", 10, 60, 20.0), Need("small", 5, 10, 4.0)], slots)
    assert packing.stints == ((Stint("small", 5, 10),), (Stint("large", 10, 60),))


def test_what_fits_nowhere_is_put_where_there_is_most_memory() -> None:
    slots = [Slot(device=Device(memory_gib=8.0)), Slot(device=Device(memory_gib=24.0))]
    assert pack([Need("huge", 10, 60, 99.0)], slots).stints == ((), (Stint("huge", 10, 60),))


def test_a_slow_loader_gets_what_loads_quickly() -> None:
    """Loads of 40 and 5 s, work of 20 s each; one device loads at a quarter of the speed: 40 + 20 s on the
    other, 20 + 20 s there."""
    slots = [Slot(device=Device(1.0, 0.25)), Slot()]
    packing = pack([Need("heavy", 40, 20), Need("light", 5, 20)], slots)
    assert packing.stints == ((Stint("light", 20, 20),), (Stint("heavy", 40, 20),))


def test_a_hidden_load_takes_no_time_of_the_device() -> None:
    """Work of 30 and 30 s, loads of 10 s: 10 + 60 s instead of 80."""
    needs = [Need("a", 10, 30), Need("b", 10, 30)]
    assert pack(needs, [Slot(hides=True)]).finish_s == pytest.approx(70, rel=0.01)
    assert pack(needs, [Slot()]).finish_s == pytest.approx(80, rel=0.01)


def test_what_is_being_loaded_ahead_goes_there() -> None:
    """b is there in 5 s, when a still has 15 s of work; the other device would load it for 60 s."""
    slots = [Slot("a", hides=True, ahead_id="b", ahead_s=5.0), Slot(hides=True)]
    packing = pack([Need("a", 60, 20), Need("b", 60, 20)], slots)
    assert packing.stints == ((Stint("a", 0, 20), Stint("b", 5, 20)), ())


@given(needs=NEEDS, slots=SLOTS)
def test_packing_neither_loses_nor_invents_work_nor_ignores_memory(
    needs: list[Need], slots: list[Slot]
) -> None:
    packing = pack(needs, slots)
    most = max(slot.device.memory_gib for slot in slots)
    for need in needs:
        placed = [
            (slot, stint)
            for slot, stints in zip(slots, packing.stints, strict=True)
            for stint in stints
            if stint.engine_id == need.engine_id
        ]
        done = math.fsum(stint.work_s * slot.device.speed for slot, stint in placed)
        assert done == pytest.approx(need.work_s, abs=1e-6)
        assert all(slot.device.memory_gib >= min(need.memory_gib, most) for slot, _ in placed)


@given(needs=NEEDS, slots=SLOTS)
def test_no_packing_beats_the_bound(needs: list[Need], slots: list[Slot]) -> None:
    plain = [slot._replace(hides=False, ready_s=0.0) for slot in slots]
    bound = lower_bound_s(families_of(needs, plain), devices=[slot.device for slot in plain])
    assert finish_s(pack(needs, plain), plain) >= bound * (1 - 1e-9)


def test_an_exact_plan_knows_speeds_and_memory() -> None:
    """The large engine on the slow device alone: 10 + 30 / 0.5 = 70 s; the small one elsewhere in 20 s."""
    slots = [Slot(device=Device(0.5, 1.0, 24.0)), Slot(device=Device(1.0, 1.0, 8.0))]
    made = exact_plan([Need("large", 10, 30, 20.0), Need("small", 5, 15, 4.0)], slots)
    assert made.finish_s == pytest.approx(70, rel=0.01)
    assert made.is_optimal


# ── costs by kind of device ───────────────────────────────────────────────────────────────────────


def test_an_engine_measured_elsewhere_costs_what_the_kinds_compare_like() -> None:
    """a: 10 s and 40 s, so the second kind loads at a quarter of the speed; b took 5 s on the first."""
    kinds = Kinds({("a", "x"): Rate(10.0, 200.0), ("a", "y"): Rate(40.0, 50.0), ("b", "x"): Rate(5.0, 80.0)})
    assert kinds.rates("y").load("b") == pytest.approx(20.0)
    assert kinds.rates("y").tokens_per_s["b"] == pytest.approx(20.0)
    assert kinds.rates("x") == Rates(
        {"a": pytest.approx(10.0), "b": pytest.approx(5.0)},
        {"a": pytest.approx(200.0), "b": pytest.approx(80.0)},
    )


def test_a_kind_seen_from_another_is_as_fast_as_it_was_measured() -> None:
    kinds = Kinds({("a", "x"): Rate(10.0, 200.0), ("a", "y"): Rate(40.0, 50.0), ("b", "x"): Rate(5.0)})
    seen = kinds.device("y", seen_from="x")
    assert (seen.speed, seen.load_speed) == (pytest.approx(0.25), pytest.approx(0.25))
    assert seen.measured == {"a": Speeds(pytest.approx(0.25), pytest.approx(0.25))}
    assert kinds.device("x", seen_from="x") == EQUAL


def test_kinds_compare_by_way_of_a_third() -> None:
    """y is twice as slow as x, z twice as slow as y, measured on different engines."""
    kinds = Kinds(
        {("a", "x"): Rate(1.0), ("a", "y"): Rate(2.0), ("b", "y"): Rate(3.0), ("b", "z"): Rate(6.0)}
    )
    assert kinds.device("z", seen_from="x").load_speed == pytest.approx(0.25, rel=0.05)


def test_kinds_that_share_no_engine_count_as_equal() -> None:
    kinds = Kinds({("a", "x"): Rate(1.0, 10.0), ("b", "y"): Rate(30.0, 900.0)})
    seen = kinds.device("y", seen_from="x")
    assert (seen.speed, seen.load_speed, seen.measured) == (pytest.approx(1.0), pytest.approx(1.0), {})


def test_kinds_on_which_no_engine_worked_yet_differ_in_work_as_their_loads_do() -> None:
    """y loads a at a quarter of the speed, so its work is taken to be 0.25^1.5 = 0.125 as fast: the 80 tokens
    a second of b on x are 10 there. As soon as an engine has worked on both, that counts and nothing else."""
    loads = {("a", "x"): Rate(10.0), ("a", "y"): Rate(40.0)}
    kinds = Kinds({**loads, ("b", "x"): Rate(5.0, 80.0)})
    assert kinds.device("y", seen_from="x").speed == pytest.approx(0.125)
    assert kinds.rates("y").tokens_per_s["b"] == pytest.approx(10.0)
    known = Kinds({**loads, ("b", "x"): Rate(5.0, 80.0), ("b", "y"): Rate(20.0, 160.0)})
    assert known.device("y", seen_from="x").speed == pytest.approx(2.0)


# ── choices ───────────────────────────────────────────────────────────────────────────────────────


def choice(*backlog: object, mine: Device = EQUAL, **fields: object) -> str | None:
    others = fields.pop("others", ())
    neighbours = Neighbours(
        mine, tuple(others), fields.pop("memory_gib", {}), hides=fields.pop("hides", False)
    )
    chosen = choose_engine(backlog, neighbours=neighbours, n_devices=1 + len(others), **fields)
    return chosen and chosen.engine_id


def test_a_device_never_loads_what_fits_another_only() -> None:
    """a has most work and needs 20 GiB; this device has 8, the other 24."""
    backlog = [item("a", 90, tokens=9000), item("b", 10, tokens=1000)]
    known = {
        "memory_gib": {"a": 20.0, "b": 4.0},
        "rates": Rates({"a": 5.0, "b": 5.0}, SPEED),
        "resident": None,
    }
    other = Neighbour(Device(memory_gib=24.0))
    assert choice(*backlog, mine=Device(memory_gib=8.0), others=[other], **known) == "b"
    assert choice(backlog[0], mine=Device(memory_gib=8.0), others=[other], **known) is None
    assert (
        choice(backlog[0], mine=Device(memory_gib=8.0), others=[Neighbour(Device(memory_gib=6.0))], **known)
        == "a"
    )


def test_a_starved_or_urgent_engine_does_not_load_where_it_does_not_fit() -> None:
    starved = item("a", 9, oldest_wait_s=500)
    known = {"memory_gib": {"a": 20.0}, "resident": None, "max_wait_s": 10.0}
    other = Neighbour(Device(memory_gib=24.0))
    assert choice(starved, mine=Device(memory_gib=8.0), others=[other], **known) is None
    urgent = item("a", 1, top_priority=10)
    assert choice(urgent, mine=Device(memory_gib=8.0), others=[other], **known) is None


def test_a_family_is_split_only_where_the_second_load_pays_by_its_own_measurement() -> None:
    """40 s of work on another device. A device that loads in 10 s helps: (40 + 10) / 2 = 25. One on which the
    load takes 50 s does not."""
    served = item("a", 40, tokens=4000, n_devices_elsewhere=1)
    other = Neighbour(EQUAL, "a")
    assert choice(served, others=[other], rates=Rates({"a": 10.0}, SPEED), resident=None) == "a"
    slow = Neighbour(Device(1.0, 5.0), "a")
    assert choice(served, others=[slow], rates=Rates({"a": 50.0}, SPEED), resident=None) is None


def test_a_slow_device_leaves_work_to_a_quick_one_that_will_be_done_before() -> None:
    """20 s here, 10 s of load; the other is ten times as fast at both and has 5 s of its own."""
    backlog = [item("a", 20, tokens=2000), item("b", 50, tokens=5000, n_devices_elsewhere=1)]
    rates = Rates({"a": 10.0, "b": 10.0}, SPEED)
    quick = Neighbour(Device(10.0, 10.0), "b")
    assert choice(*backlog, others=[quick], rates=rates, resident=None) is None
    assert choice(*backlog, others=[Neighbour(EQUAL, "b")], rates=rates, resident=None) == "a"


def ahead(*backlog: object, resident: str, **fields: object) -> str | None:
    chosen = choose_ahead(backlog, resident=resident, **fields)
    return chosen and chosen.engine_id


def test_the_next_engine_is_the_one_whose_load_hides_best() -> None:
    """Johnson's order: b (5 s of load, 30 s of work) before c (20 s, 10 s)."""
    backlog = [item("a", tokens=4000), item("c", tokens=1000), item("b", tokens=3000)]
    rates = Rates({"a": 9.0, "b": 5.0, "c": 20.0}, SPEED)
    assert ahead(*backlog, resident="a", rates=rates) == "b"


def test_nothing_is_loaded_ahead_that_does_not_fit_beside_the_resident_engine() -> None:
    backlog = [item("a", tokens=4000), item("b", tokens=3000)]
    neighbours = Neighbours(Device(memory_gib=24.0), memory_gib={"a": 16.0, "b": 12.0}, hides=True)
    assert ahead(*backlog, resident="a", rates=Rates({"b": 5.0}, SPEED), neighbours=neighbours) is None


def test_of_devices_with_one_engine_the_one_that_asks_goes_on_to_the_next() -> None:
    """100 s of a on two devices and 30 s of c, 65 s each: one has 65 s of a, the other 35 s and c. Were it
    never the one that asks, nobody would load c."""
    backlog = [item("a", tokens=10_000, n_devices_elsewhere=1), item("c", tokens=3000)]
    neighbours = Neighbours(others=(Neighbour(EQUAL, "a"),), hides=True)
    rates = Rates({"a": 20.0, "c": 20.0}, SPEED)
    assert ahead(*backlog, resident="a", rates=rates, n_devices=2, neighbours=neighbours) == "c"


def test_an_engine_that_another_device_loads_ahead_is_left_to_it() -> None:
    backlog = [
        item("a", tokens=4000),
        item("b", tokens=1000, n_devices_elsewhere=1, loading_s=(3.0,)),
        item("c", tokens=500, n_devices_elsewhere=1),
    ]
    neighbours = Neighbours(others=(Neighbour(EQUAL, "c", ahead_id="b", ahead_s=3.0),))
    rates = Rates({"a": 5.0, "b": 20.0, "c": 5.0}, SPEED)
    assert ahead(*backlog, resident="a", rates=rates, neighbours=neighbours, n_devices=2) is None


def test_a_device_that_hides_loads_keeps_its_seat_until_the_next_engine_is_there() -> None:
    """The others do a's rest, b is for this device: loaded beside a, it costs nothing."""
    backlog = [item("a", 10, tokens=1000, n_devices_elsewhere=1), item("b", 60, tokens=6000)]
    rates, others = Rates({"a": 30.0, "b": 30.0}, SPEED), [Neighbour(EQUAL, "a")]
    assert choice(*backlog, others=others, rates=rates, resident="a", hides=True) == "a"
    assert choice(*backlog, others=others, rates=rates, resident="a", hides=False) == "b"


def test_an_empty_device_that_hides_loads_begins_with_what_lets_it_stand_idle_least() -> None:
    """The next loads take 40 and 20 s, 30 s on average. a is there after 10 s, and its 40 s hide them:
    10 s idle; c: 20 s, b: 40 s. Of a second device, a's work hides 40 of 60 s: 10 + 20 s, so c it is."""
    a, b, c = item("a", tokens=4000), item("b", tokens=20_000), item("c", tokens=9000)
    rates = Rates({"a": 10.0, "b": 40.0, "c": 20.0}, SPEED)
    hiding = {"rates": rates, "resident": None, "hides": True, "n_engines": 3}
    assert choice(a, b, c, others=[Neighbour()], **hiding) == "a"
    loading = item("a", tokens=4000, n_devices_elsewhere=1, loading_s=(0.0,))
    others = [Neighbour(EQUAL, "a", loading_s=0.0)]
    assert choice(loading, b, c, others=others, **hiding) == "c"
    unmeasured = {**hiding, "rates": Rates({"a": 10.0, "b": 40.0, "c": 20.0}, {})}
    assert choice(a, b, c, others=[Neighbour()], **unmeasured) == "b", "the largest, as nothing is known"


def test_an_empty_device_begins_with_no_later_stage_and_with_nothing_that_it_has() -> None:
    """a is there soonest, but is of the last stage, or stands in another place of this device already."""
    backlog = [item("a", tokens=4000), item("b", tokens=20_000), item("c", tokens=9000)]
    known = {"resident": None, "rates": Rates({"a": 1.0, "b": 40.0, "c": 20.0}, SPEED), "n_devices": 2}
    free = Neighbours(others=(Neighbour(),), hides=True)
    assert choose_engine(backlog, neighbours=free, **known).engine_id == "a"
    assert choose_engine(backlog, neighbours=free, later=frozenset("a"), **known).engine_id != "a"
    assert choose_engine(backlog, neighbours=free._replace(beside=("a",)), **known).engine_id != "a"


def test_an_engine_that_was_loaded_ahead_is_served_although_another_would_be_loaded_now() -> None:
    """c's 60 s would be the schedule's choice, had b not been loaded: it works while c loads."""
    backlog = [item("b", tokens=500, n_devices_elsewhere=1), item("c", tokens=6000)]
    others = (Neighbour(EQUAL, "b"),)
    rates = Rates({"b": 20.0, "c": 20.0}, SPEED)
    loaded = Neighbours(others=others, hides=True, ahead_id="b", ahead_s=20.0)
    nothing = Neighbours(others=others, hides=True)
    known = {"resident": None, "rates": rates, "n_devices": 2}
    assert choose_engine(backlog, neighbours=loaded, **known).engine_id == "b"
    assert choose_engine(backlog, neighbours=nothing, **known).engine_id == "c"


@given(st.lists(st.tuples(st.integers(5, 60), st.integers(5, 90)), min_size=4, max_size=4))
def test_no_other_engine_loaded_ahead_gives_a_shorter_schedule(costs: list[tuple[int, int]]) -> None:
    """But for differences that count as none."""
    ids, resident = "abcd", "a"
    rates = Rates(
        {e: float(load) for e, (load, _) in zip(ids, costs, strict=True)}, dict.fromkeys(ids, 100.0)
    )
    backlog = [item(e, tokens=100 * work) for e, (_, work) in zip(ids, costs, strict=True)]
    neighbours = Neighbours(others=(Neighbour(),), hides=True)
    chosen = ahead(*backlog, resident=resident, rates=rates, n_devices=2, neighbours=neighbours)
    needs = [Need(e, float(load), float(work)) for e, (load, work) in zip(ids, costs, strict=True)]

    def seconds(engine_id: str) -> float:
        mine = Slot(resident, hides=True, ahead_id=engine_id, ahead_s=rates.load(engine_id))
        return pack(needs, [mine, Slot(hides=True)], asks=0).finish_s

    assert chosen is not None
    assert seconds(chosen) <= min(map(seconds, "bcd")) * (1 + 2 * LEAST_GAIN)


# ── the plan ──────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_counts_each_device_by_its_own_measurements_and_memory() -> None:
    """b takes 20 GiB and is for the slow device: 20 + 40 / 0.5 = 100 s; a: 10 + 30 s on the quick one."""
    progress = JobProgress(
        job=Job(id="job", composition="auto"),
        state=JobState.RUNNING,
        total=1,
        completed=0,
        failed=0,
        created_at=1000.0,
    )
    reports = [
        DeviceReport(owner="w0", device="quick", memory=DeviceMemory(free_gib=8.0)),
        DeviceReport(owner="w1", device="slow", memory=DeviceMemory(free_gib=24.0)),
    ]
    rates = {
        ("a", "quick"): Rate(10.0, 100.0, memory_gib=4.0),
        ("b", "quick"): Rate(10.0, 100.0),
        ("a", "slow"): Rate(20.0, 50.0),
        ("b", "slow"): Rate(20.0, 50.0, memory_gib=20.0),
    }
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = job_plan(PlanInput(progress, backlog, reports, (), rates, now_s=1000.0))
    assert {(stay.device, stay.engine_id, round(stay.until_s)) for stay in made.stays} == {
        ("quick", "a", 40),
        ("slow", "b", 100),
    }
    assert made.lower_bound_s == pytest.approx(100, rel=1e-6)
