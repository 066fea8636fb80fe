import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import (
    SEAT_FACTOR,
    EngineChoice,
    Neighbour,
    Neighbours,
    Rates,
    choose_ahead,
    choose_engine,
)
from orchestrator.batching.choosing import hedged
from orchestrator.batching.packing import Need
from orchestrator.domain.assignments import INTERACTIVE, EngineBacklog
from tests.fakes.backlog import item


def choice(*backlog: EngineBacklog, resident: str | None = None, **options: object) -> str | None:
    chosen = choose_engine(backlog, resident=resident, **options)
    return chosen and chosen.engine_id


def test_nothing_waiting_is_nothing_to_serve() -> None:
    assert choice() is None
    assert choice(item("a", 0), resident="a") is None


def test_a_free_device_loads_the_engine_with_most_work() -> None:
    assert choice(item("a", 10), item("b", 30), item("c", 20)) == "b"


def test_most_work_is_measured_in_seconds_where_rates_are_known() -> None:
    rates = Rates({}, {"a": 10.0, "b": 1000.0})
    assert choice(item("a", 10), item("b", 30), rates=rates) == "a"


def test_engines_not_measured_yet_are_expected_to_be_as_the_measured_ones() -> None:
    """Loads of 2 and 4 s: 3 s; 100 tokens/s: 100."""
    rates = Rates({"a": 2.0, "b": 4.0}, {"a": 100.0}).extended(["a", "c"])
    assert (rates.load("a"), rates.load("c")) == (2.0, 3.0)
    assert rates.work(item("c", tokens=500)) == 5.0


def test_rates_without_a_measurement_stay_the_assumed_ones() -> None:
    assert Rates({}, {}).extended(["a"]) == Rates({}, {})


def test_ties_go_by_id() -> None:
    assert choice(item("b"), item("a"), item("c")) == "a"


def test_the_resident_engine_keeps_its_seat_while_it_has_work() -> None:
    assert choice(item("a", 1), item("b", 999), resident="a") == "a"
    assert choice(item("a", 0), item("b", 999), resident="a") == "b"


def test_engines_of_a_later_stage_come_last() -> None:
    backlog = [item("a", 1), item("judge", 500), item("b", 20)]
    assert choice(*backlog, later=frozenset({"judge"})) == "b"
    assert choice(backlog[1], later=frozenset({"judge"})) == "judge"


def test_interactive_work_passes_batch_work_of_the_resident_engine() -> None:
    urgent = item("b", 1, top_priority=INTERACTIVE)
    assert choice(item("a", 99), urgent, resident="a") == "b"
    assert choice(item("a", 99, top_priority=INTERACTIVE), urgent, resident="a") == "a"


def test_interactive_work_that_another_device_serves_is_left_to_it() -> None:
    urgent = item("b", 1, top_priority=INTERACTIVE, n_devices_elsewhere=4)
    assert choice(item("a", 99), urgent, resident="a") == "a"


def test_a_starved_engine_takes_the_seat_the_longest_wait_first() -> None:
    backlog = [
        item("a", 99, oldest_wait_s=50),
        item("b", 1, oldest_wait_s=11),
        item("c", 1, oldest_wait_s=12),
    ]
    assert choice(*backlog, resident="a", max_wait_s=10) == "c"
    assert choice(*backlog, resident="a", max_wait_s=60) == "a"


def test_starvation_waits_until_the_resident_engine_has_earned_its_load() -> None:
    backlog = [item("a", 99), item("b", 1, oldest_wait_s=11)]
    rates = Rates({"b": 3.0}, {})
    soon, enough = SEAT_FACTOR * 3.0 - 1, SEAT_FACTOR * 3.0
    assert choice(*backlog, resident="a", max_wait_s=10, resident_s=soon, rates=rates) == "a"
    assert choice(*backlog, resident="a", max_wait_s=10, resident_s=enough, rates=rates) == "b"


def test_work_served_elsewhere_comes_after_work_that_nobody_serves() -> None:
    assert choice(item("a", 900, n_devices_elsewhere=8), item("b", 1)) == "b"


def test_the_choice_says_why() -> None:
    assert choose_engine([item("a")], resident="a") == EngineChoice("a", "resident and has waiting work")
    assert choose_engine([item("a", 7)], resident=None) == EngineChoice(
        "a", "has the most waiting work (7 assignments)"
    )


BACKLOGS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1).map(
    lambda sizes: [item(engine_id, n) for engine_id, n in sizes.items()]
)


@given(
    backlog=BACKLOGS,
    resident=st.sampled_from([None, *"abcdef"]),
    later=st.frozensets(st.sampled_from("abcdef")),
)
def test_serving_to_the_end_visits_each_engine_once(
    backlog: list[EngineBacklog], resident: str | None, later: frozenset[str]
) -> None:
    left = {b.engine_id: b for b in backlog}
    visited = []
    while chosen := choose_engine(list(left.values()), resident=resident, later=later):
        resident = chosen.engine_id
        b = left[resident]
        if resident not in visited[-1:]:
            visited.append(resident)
        left[resident] = b.model_copy(update={"n_waiting": max(0, b.n_waiting - 64)})
    assert sorted(visited) == sorted(b.engine_id for b in backlog)


@given(backlog=BACKLOGS, seed=st.randoms())
def test_the_choice_ignores_the_order_of_the_backlog(backlog: list[EngineBacklog], seed) -> None:
    shuffled = list(backlog)
    seed.shuffle(shuffled)
    assert choose_engine(shuffled, resident=None) == choose_engine(backlog, resident=None)


# ── several devices ───────────────────────────────────────────────────────────────────────────────

SPEED = {"a": 100.0, "b": 100.0, "c": 100.0}
"""100 tokens/s: 100 tokens are a second."""


def loads(**load_s: float) -> Rates:
    return Rates(load_s, SPEED)


def test_a_device_joins_an_engine_when_its_load_ends_before_the_others_would() -> None:
    """20 s of work on one device. With a load of 11 s two devices need (20 + 11) / 2 = 15.5 s, with one
    of 21 s the work is done before."""
    shared = item("a", 20, tokens=2000, n_devices_elsewhere=1)
    assert choice(shared, rates=loads(a=11.0), n_devices=2) == "a"
    assert choice(shared, rates=loads(a=21.0), n_devices=2) is None


def test_a_device_that_still_loads_is_no_help_until_it_has_loaded() -> None:
    """One device has 15 of its 20 s of load left: alone it needs 15 + 10 = 25 s, together both need
    (15 + 10 + 20) / 2 = 22.5 s. Were it loaded, alone would be 10 s."""
    busy = item("a", 10, tokens=1000, n_devices_elsewhere=1)
    assert choice(busy, rates=loads(a=20.0), n_devices=2) is None
    loading = busy.model_copy(update={"loading_s": (5.0,)})
    assert choice(loading, rates=loads(a=20.0), n_devices=2) == "a"


def test_of_two_shared_engines_the_one_that_would_end_last_is_joined() -> None:
    """90 s of work on three devices is done in 30 s, 40 s on one device in 40 s."""
    many = item("a", 90, tokens=9000, n_devices_elsewhere=3)
    few = item("b", 40, tokens=4000, n_devices_elsewhere=1)
    assert choice(many, few, rates=loads(a=5.0, b=5.0), n_devices=5) == "b"


def test_a_resident_device_leaves_its_engine_to_others_when_they_suffice() -> None:
    """10 s of work for three devices that have it, 60 s + 5 s of load that nobody serves."""
    own = item("a", 10, tokens=1000, n_devices_elsewhere=2)
    new = item("b", 60, tokens=6000)
    assert choice(own, new, resident="a", rates=loads(a=5.0, b=5.0), n_devices=3) == "b"
    assert choice(own, resident="a", rates=loads(a=5.0), n_devices=3) == "a"


def test_a_device_stays_when_the_others_need_its_help_more_than_a_new_engine_does() -> None:
    """100 s of work on two devices, 5 s + 5 s of load: that comes after."""
    own = item("a", 100, tokens=10_000, n_devices_elsewhere=1)
    assert choice(own, item("b", 5, tokens=500), resident="a", rates=loads(a=5.0, b=5.0), n_devices=2) == "a"


def test_an_engine_too_large_for_one_device_is_split_before_anything_is_idle() -> None:
    """Four devices, 10 s loads: a has 120 s, b and c 20 s each. LB1 = (30 + 160) / 4 = 47.5 s, so a needs
    three devices and b and c share the fourth."""
    backlog = {"a": item("a", 120, tokens=12_000), "b": item("b", tokens=2000), "c": item("c", tokens=2000)}
    rates = loads(a=10.0, b=10.0, c=10.0)
    chosen = []
    for _ in range(4):
        engine_id = choice(*backlog.values(), rates=rates, n_devices=4) or ""
        chosen.append(engine_id)
        loading = (*backlog[engine_id].loading_s, 0.0)
        seen = {"n_devices_elsewhere": len(loading), "loading_s": loading}
        backlog[engine_id] = backlog[engine_id].model_copy(update=seen)
    assert sorted(chosen) == ["a", "a", "a", "b"]


def test_an_engine_of_the_last_stage_waits_on_the_device_that_serves_it() -> None:
    """One device for all: the judge last. Two devices: the second one has nothing but the judge to do."""
    backlog = [item("a", 10, tokens=1000), item("c", 5, tokens=500)]
    rates, later = loads(a=5.0, c=5.0), frozenset({"c"})
    assert choice(*backlog, rates=rates, later=later) == "a"
    started = backlog[0].model_copy(update={"n_devices_elsewhere": 1})
    assert choice(started, backlog[1], rates=rates, later=later, n_devices=2) == "c"


def test_a_bound_that_can_be_kept_is_kept_at_once() -> None:
    """Two loads of 3 s: 5 * 6 = 30 s of device time within the bound."""
    backlog = [item("a", 99), item("b", 1, oldest_wait_s=31)]
    rates = loads(a=3.0, b=3.0)
    assert choice(*backlog, resident="a", max_wait_s=30, resident_s=0, rates=rates) == "b"
    assert choice(*backlog, resident="a", max_wait_s=29, resident_s=0, rates=rates) == "a"


def test_an_engine_that_was_served_lately_does_not_starve_however_old_its_work_is() -> None:
    backlog = [item("a", 99), item("b", 9, oldest_wait_s=500, unserved_s=40), item("c", 1, oldest_wait_s=90)]
    assert choice(*backlog, resident="a", max_wait_s=80, rates=loads(a=1, b=1, c=1)) == "c"


def test_lengths_that_nothing_was_measured_for_are_trusted_less_than_the_number_of_calls() -> None:
    """At 500 tokens/s: 2 calls of 0.5 s and 100 of 2 s. The typical call takes 1 s: 0.5 ** 0.3 = 0.812 of it,
    2 ** 0.3 = 1.231."""
    items = [item("a", 2, tokens=500), item("b", 100, tokens=100_000)]
    needs = [Need("a", 9.0, 1.0), Need("b", 9.0, 200.0)]
    small, large = hedged(needs, items, Rates({}, {}))
    assert (small.work_s, large.work_s) == (pytest.approx(1.625, abs=1e-3), pytest.approx(123.11, abs=0.01))
    assert hedged(needs, items, Rates({}, SPEED))[1].work_s == 200.0


@given(
    backlog=BACKLOGS,
    resident=st.sampled_from([None, *"abcdef"]),
    elsewhere=st.integers(0, 5),
    n_devices=st.integers(1, 8),
)
def test_an_engine_without_waiting_work_is_never_chosen(
    backlog: list[EngineBacklog], resident: str | None, elsewhere: int, n_devices: int
) -> None:
    rows = [b.model_copy(update={"n_devices_elsewhere": elsewhere}) for b in backlog[::2]]
    rows += [b.model_copy(update={"n_waiting": 0, "est_tokens": 0, "n_leased": 9}) for b in backlog[1::2]]
    chosen = choice(*rows, resident=resident, n_devices=n_devices)
    assert chosen in {None, *(row.engine_id for row in rows if row.n_waiting)}


@given(backlog=BACKLOGS, elsewhere=st.integers(0, 9), n_devices=st.integers(1, 8))
def test_a_free_device_takes_what_nobody_serves(
    backlog: list[EngineBacklog], elsewhere: int, n_devices: int
) -> None:
    served = item("x", 9000, n_devices_elsewhere=elsewhere)
    assert choice(served, *backlog, n_devices=n_devices) is not None


def test_the_other_engines_of_a_device_are_no_choice_for_a_place_and_take_its_time() -> None:
    """The device has b in another place, with 100 s of work: alone it takes c, too; a free neighbour that is
    alike takes c sooner."""
    backlog = [item("b", tokens=50_000), item("c", tokens=500)]
    alone = Neighbours(others=(), beside=("b",))
    beside_one = Neighbours(others=(Neighbour(),), beside=("b",))
    rates = Rates({"b": 10.0, "c": 10.0}, {"b": 500.0, "c": 500.0})
    fields = {"resident": None, "rates": rates}
    alone_chosen = choose_engine(backlog, n_devices=1, neighbours=alone, **fields)
    assert alone_chosen is not None
    assert alone_chosen.engine_id == "c"
    ahead = choose_ahead(backlog, resident="a", rates=rates, n_devices=2, neighbours=beside_one)
    assert ahead is None
