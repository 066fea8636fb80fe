import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batching import (
    SEAT_FACTOR,
    EngineChoice,
    Family,
    Rates,
    choose_engine,
    estimated_tokens,
    group_by_engine,
    lower_bound_s,
    plan,
    retry_limit,
    shard_size,
)
from orchestrator.domain.assignments import INTERACTIVE, Assignment, Call, CallRole, EngineBacklog, Sampling
from orchestrator.domain.queries import Message


def item(engine_id: str, n: int = 10, *, tokens: int | None = None, **fields: float) -> EngineBacklog:
    return EngineBacklog(
        engine_id=engine_id, n_waiting=n, est_tokens=100 * n if tokens is None else tokens, **fields
    )


def choice(*backlog: EngineBacklog, resident: str | None = None, **options: object) -> str | None:
    chosen = choose_engine(backlog, resident=resident, **options)
    return chosen and chosen.engine_id


def call(text: str = "x" * 40, *, max_tokens: int = 8) -> Call:
    messages = (Message(role="user", content=text),)
    return Call(
        expert_id="e", role=CallRole.EXPERT, messages=messages, sampling=Sampling(max_tokens=max_tokens)
    )


# ── which engine ──────────────────────────────────────────────────────────────────────────────────


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


def test_a_second_device_shares_an_engine_only_when_half_of_its_work_outlasts_a_load() -> None:
    """2000 tokens at 100/s = 20 s of work: half of it is 10 s."""
    shared = item("a", 20, tokens=2000, n_devices_elsewhere=8)
    assert choice(shared, rates=Rates({"a": 9.0}, {"a": 100.0})) == "a"
    assert choice(shared, rates=Rates({"a": 11.0}, {"a": 100.0})) is None


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


# ── how much ──────────────────────────────────────────────────────────────────────────────────────


@given(engines=st.lists(st.sampled_from("abc"), max_size=50))
def test_grouping_neither_loses_nor_invents_an_assignment(engines: list[str]) -> None:
    assignments = [
        Assignment(id=ix, job_id="j", query_id=ix, stage=0, engine_id=engine_id, call=call())
        for ix, engine_id in enumerate(engines)
    ]
    batches = group_by_engine(assignments)
    assert sorted(a.id for batch in batches.values() for a in batch) == list(range(len(engines)))
    assert all(a.engine_id == engine_id for engine_id, batch in batches.items() for a in batch)


@pytest.mark.parametrize(
    ("per_s", "expected"), [(None, 16), (0.5, 16), (10.0, 50), (10.19, 50), (1000.0, 256)]
)
def test_a_shard_is_five_seconds_of_work_within_its_limits(per_s: float | None, expected: int) -> None:
    assert shard_size(per_s=per_s) == expected


@pytest.mark.parametrize(("attempt", "expected"), [(0, 256), (1, 32), (2, 1), (3, 1), (500, 1)])
def test_retried_shards_shrink_to_one(attempt: int, expected: int) -> None:
    assert retry_limit(256, attempt=attempt) == expected


def test_tokens_are_a_quarter_of_the_prompt_plus_the_longest_output() -> None:
    assert estimated_tokens(call("x" * 41, max_tokens=100)) == 110


# ── what is left ──────────────────────────────────────────────────────────────────────────────────

RATES = Rates({"a": 10.0, "b": 20.0, "judge": 5.0}, {"a": 100.0, "b": 100.0, "judge": 100.0})


def test_the_plan_of_one_device_adds_up() -> None:
    """a: 10 s load + 30 s work; b: 20 + 40; judge: 5 and nothing known to do yet. 105 s in all."""
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident=None, later=frozenset({"judge"}), rates=RATES)
    assert made.order == ("b", "a", "judge")
    assert made.loads_left == 3
    assert made.seconds_left == made.lower_bound_s == pytest.approx(105)


def test_a_resident_engine_costs_no_load_and_is_served_first() -> None:
    backlog = [item("a", tokens=3000), item("b", tokens=4000)]
    made = plan(backlog, resident="a", rates=RATES)
    assert (made.order, made.loads_left, made.seconds_left) == (("a", "b"), 1, pytest.approx(90))


def test_an_aggregator_that_is_also_an_expert_costs_one_load() -> None:
    backlog = [item("a", tokens=1000), item("judge", tokens=9000)]
    made = plan(backlog, resident=None, later=frozenset({"judge"}), rates=RATES)
    assert (made.order, made.loads_left) == (("a", "judge"), 2)


def test_the_plan_of_no_work_is_empty() -> None:
    assert plan([], resident=None, later=frozenset({"judge"})) == ((), 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("families", "n_devices", "expected"),
    [
        # LB1: one device does it all.
        ([Family(10, 30), Family(20, 40)], 1, 100),
        # LB2: whoever serves the family loads it first, 20 + 10 / 2; LB1 = 15.
        ([Family(20, 10)], 2, 25),
        # LB6: 30 s of work with 10 s loads on two devices: one device needs 40, two need 25 each.
        ([Family(10, 30)], 2, 25),
        # LB6 above the others: two families of 10 + 30 on three devices. LB1 = 26.7, LB2 = 20. With
        # C < 40 both are split, so four loads are paid: 60 + 40 <= 3 C, C = 33.3.
        ([Family(10, 30), Family(10, 30)], 3, 100 / 3),
        ([], 2, 0),
    ],
)
def test_lower_bounds_worked_by_hand(families: list[Family], n_devices: int, expected: float) -> None:
    assert lower_bound_s(families, n_devices=n_devices) == pytest.approx(expected)


@given(
    families=st.lists(st.builds(Family, st.floats(0, 100), st.floats(0, 1000)), min_size=1, max_size=6),
    n_devices=st.integers(1, 4),
)
def test_no_bound_is_above_one_device_doing_everything(families: list[Family], n_devices: int) -> None:
    total = math.fsum(f.load_s + f.work_s for f in families)
    bound = lower_bound_s(families, n_devices=n_devices)
    assert total / n_devices * (1 - 1e-9) <= bound <= total * (1 + 1e-9)
