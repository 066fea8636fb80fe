"""Usage is grouped as asked, and compared with one expert alone. Numbers are worked by hand."""

from datetime import date

import pytest

from orchestrator.domain.cards import CompetenceCard, Tally
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.domain.usage import ALL_TIME, NO_USAGE, UsageKey, UsageSums
from orchestrator.errors import InputError
from orchestrator.services.usage import Dimension, SingleCost, UsageDesk, day_of, dimensions_of, span_of

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 2)
CALLS = UsageSums(
    n_completed=2, prompt_tokens=200, completion_tokens=20, cost_usd=1.0, engine_s=0.5, n_failed=1
)
QUESTIONS = UsageSums(n_completed=2, n_expired=1, single_prompt_tokens=110, single_completion_tokens=10)


class Sums:
    """Two days: one key asked on both, another on the second."""

    def usage(self, *, first_day: int, last_day: int, owner: str | None = None) -> dict[UsageKey, UsageSums]:
        rows = {
            UsageKey(day_of(FIRST), "k1", "small", "expert"): CALLS,
            UsageKey(day_of(FIRST), "k1", "auto", "line"): QUESTIONS,
            UsageKey(day_of(LAST), "k1", "small", "expert"): CALLS,
            UsageKey(day_of(LAST), "k2", "large", "aggregate"): CALLS,
        }
        return {
            key: sums
            for key, sums in rows.items()
            if first_day <= key.day <= last_day and owner in (None, key.owner)
        }

    def totals(self) -> dict[UsageKey, UsageSums]:
        """The small expert's calls ever: 1,100 tokens in 2.2 s for 11 USD."""
        sums = UsageSums(prompt_tokens=1000, completion_tokens=100, cost_usd=11.0, engine_s=2.2)
        return {UsageKey(ALL_TIME, "", "small", "expert"): sums}


def expert(expert_id: str, *, price: float = 0.0) -> Expert:
    engine = EngineSpec(id=expert_id, backend="scripted", model="/w")
    return Expert(id=expert_id, engine=engine, input_cost_per_token=price, output_cost_per_token=10 * price)


def desk(*, price: float = 0.0, profiled: bool = True) -> UsageDesk:
    pool = Pool(experts=(expert("small", price=price), expert("large")))
    cards = {"small": _card("small", 9), "large": _card("large", 6)} if profiled else {}
    return UsageDesk(Sums(), pool=lambda: pool, cards=lambda: cards)


def _card(expert_id: str, n_right: int) -> CompetenceCard:
    total = Tally(n_right=n_right, n_wrong=10 - n_right)
    return CompetenceCard(
        expert_id=expert_id, fingerprint="f", profile_hash="p", outcomes_hash="o", total=total, skills={}
    )


def test_groups_are_those_that_were_asked_for() -> None:
    report = desk().report(FIRST, LAST, group_by=[Dimension.KEY, Dimension.ROLE])
    found = {(row.key, row.role): (row.questions.n, row.calls.n) for row in report.rows}
    assert found == {("k1", "expert"): (0, 6), ("k1", "line"): (3, 0), ("k2", "aggregate"): (0, 3)}
    assert {row.day for row in report.rows} == {None}


def test_the_total_is_that_of_all_groups() -> None:
    total = desk().report(FIRST, LAST, group_by=[Dimension.DAY]).total
    assert (total.questions.n, total.questions.n_completed) == (3, 2)
    assert (total.calls.n, total.calls.prompt_tokens, total.calls.engine_s) == (9, 600, 1.5)


def test_one_day_of_one_owner() -> None:
    report = desk().report(LAST, LAST, owner="k2")
    assert report.total.calls.n == 3
    assert report.total.questions.n == 0
    assert report.total.single is None


def test_the_best_single_expert_costs_its_measured_rates_where_it_has_no_price() -> None:
    """120 tokens for these questions; 0.01 USD and 0.002 s for each token so far."""
    single = desk().report(FIRST, LAST).total.single
    assert single is not None
    assert single.expert_id == "small"
    assert single.cost_usd == pytest.approx(1.2)
    assert single.engine_s == pytest.approx(0.24)


def test_the_best_single_expert_costs_its_price_where_it_has_one() -> None:
    """110 tokens at .001 and 10 at .01."""
    single = desk(price=0.001).report(FIRST, LAST).total.single
    assert single is not None
    assert single.cost_usd == pytest.approx(0.21)


def test_an_expert_that_never_worked_costs_nobody_knows_what() -> None:
    class Fresh(Sums):
        def totals(self) -> dict[UsageKey, UsageSums]:
            return {}

    pool = Pool(experts=(expert("small"),))
    fresh = UsageDesk(Fresh(), pool=lambda: pool, cards=lambda: {"small": _card("small", 9)})
    assert fresh.report(FIRST, LAST).total.single == SingleCost("small", None, None)


def test_a_pool_that_was_not_measured_has_no_best() -> None:
    assert desk(profiled=False).report(FIRST, LAST).total.single is None


@pytest.mark.parametrize(
    ("first", "last", "param"),
    [
        ("2026-11-02", "2026-11-01", "to"),
        ("2024-01-01", "2026-11-01", "from"),
        ("1970-01-01", "1970-01-01", "from"),
    ],
)
def test_days_that_make_no_span_are_refused(first: str, last: str, param: str) -> None:
    with pytest.raises(InputError) as refused:
        desk().report(*span_of(first, last))
    assert refused.value.param == param


@pytest.mark.parametrize(
    "text", ["", "today", "2026-13-01", "20261101", "2026-11-01T00:00", "٢٠٢٦-11-01x", "\x00"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no day"):
        span_of(text, None)


def test_dimensions_are_joined_by_commas() -> None:
    assert dimensions_of(" key, model") == [Dimension.KEY, Dimension.MODEL]
    assert dimensions_of("") == []
    for wrong in ("owner", "key,,model", "key;model"):
        with pytest.raises(InputError, match="Valid: day, key, model, role"):
            dimensions_of(wrong)


def test_nothing_is_no_usage() -> None:
    assert NO_USAGE.n == 0
