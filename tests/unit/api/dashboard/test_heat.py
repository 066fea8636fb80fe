"""Heat maps: hand-worked cells, orders, and pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.heat import ORDERS, Order, cells_of, heat_map
from orchestrator.domain.cards import Tally
from tests.fakes.decks import card

SURE, UNSURE, BAD = Tally(n_right=8), Tally(n_right=1, n_wrong=1), Tally(n_wrong=8)
CARDS = {
    "ann": card("ann", {"sums": SURE, "words": BAD}),
    "bob": card("bob", {"sums": UNSURE, "maps": SURE}),
}


def names(order: Order = "known", **given: object) -> list[str]:
    return [row.name for row in heat_map(CARDS, ["ann", "bob"], order=order, **given).rows]  # type: ignore[arg-type]


def test_a_cell_is_drawn_towards_the_experts_own_accuracy_by_four_questions() -> None:
    [cell] = cells_of([Tally(n_right=6)], prior_means=[0.5])
    assert cell.mean == pytest.approx((0.5 * 4 + 6) / (4 + 6))
    assert cell.low < 0.8 < cell.high
    assert cell.n == 6


def test_what_was_not_measured_has_no_mean() -> None:
    [cell] = cells_of([Tally()], prior_means=[0.5])
    assert cell.mean is None


def test_no_cells_are_no_cells() -> None:
    assert cells_of([], prior_means=[]) == []


def test_rows_hold_a_cell_per_measured_expert_and_name_the_best() -> None:
    found = heat_map(CARDS, ["bob", "nobody", "ann"])
    assert list(found.experts) == ["bob", "ann"]
    by_name = {row.name: row for row in found.rows}
    assert by_name["sums"].best == 1
    assert by_name["maps"].best == 0
    assert by_name["maps"].cells[1].mean is None


def test_rows_come_with_the_most_questions_first() -> None:
    assert names() == ["maps", "sums", "words"]


def test_rows_come_where_experts_differ_most_first() -> None:
    assert names("apart")[0] == "sums"


def test_rows_come_where_the_best_is_weakest_first() -> None:
    assert names("weak")[0] == "words"


def test_rows_are_found_by_a_part_of_their_name_in_any_case() -> None:
    assert names(text="UM") == ["sums"]
    assert names(text="zz") == []


def test_no_cards_are_an_empty_page() -> None:
    found = heat_map({}, ["ann"])
    assert (found.rows, found.page, found.pages) == ([], 1, 1)


@given(
    order=st.sampled_from(sorted(ORDERS)),
    n=st.integers(0, 30),
    per_page=st.integers(1, 9),
)
def test_every_row_stands_on_exactly_one_page(order: Order, n: int, per_page: int) -> None:
    cards = {"ann": card("ann", {f"s{i}": Tally(n_right=i % 3, n_wrong=1) for i in range(n)})}
    pages = heat_map(cards, ["ann"], per_page=per_page).pages
    seen = [
        row.name
        for at in range(1, pages + 1)
        for row in heat_map(cards, ["ann"], order=order, page=at, per_page=per_page).rows
    ]
    assert sorted(seen) == sorted(f"s{i}" for i in range(n))
    beyond = heat_map(cards, ["ann"], order=order, page=pages + 5, per_page=per_page)
    assert beyond.page == pages
