"""Heat map: how well each expert does in each skill, as rows of a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from orchestrator.domain.cards import CompetenceCard, Tally, beta_parameters
from orchestrator.domain.posteriors import beta_bounds

PER_PAGE = 40
"""Skills of a page: a table of all of a large pool would be a megabyte."""

Order = Literal["known", "apart", "weak", "name"]
ORDERS: Mapping[Order, str] = {
    "known": "most questions first",
    "apart": "where experts differ most",
    "weak": "where the best expert is weakest",
    "name": "by name",
}
NOTHING = Tally()


class Cell(NamedTuple):
    """An expert in a skill: posterior mean accuracy and its 90 % interval, shrunk to the accuracy over
    all; `n` questions are behind it. None of them = not measured, and the mean is None."""

    mean: float | None
    low: float
    high: float
    n: float


class Row(NamedTuple):
    """A skill, or a domain of the questions, over the experts of the table; `n` questions at most of one
    expert, `best`: index of the cell with the highest mean."""

    name: str
    n: float
    cells: Sequence[Cell]
    best: int | None


class HeatMap(NamedTuple):
    """A page of rows. `n_rows`: of all pages; `pages` counts from 1."""

    experts: Sequence[str]
    rows: Sequence[Row]
    n_rows: int
    page: int
    pages: int


def heat_map(
    cards: Mapping[str, CompetenceCard],
    experts: Sequence[str],
    *,
    by: Literal["skills", "domains"] = "skills",
    order: Order = "known",
    text: str = "",
    page: int = 1,
    per_page: int = PER_PAGE,
) -> HeatMap:
    """One page of the table.

    Args:
        experts: columns, in this order; those without a card are left out.
        text: rows whose names hold it, whatever its case.
        page: from 1; one beyond the last is the last.
        per_page: rows of a page, >= 1.
    """
    shown = [expert for expert in experts if expert in cards]
    tallies = [getattr(cards[expert], by) for expert in shown]
    names = sorted({name for tally in tallies for name in tally if text.casefold() in name.casefold()})
    if order in ("apart", "weak"):  # they need every cell
        rows = _ordered(_rows(names, shown, cards, tallies), order)
        pages, page = _pages(len(rows), page, per_page)
        return HeatMap(shown, rows[(page - 1) * per_page : page * per_page], len(rows), page, pages)
    if order == "known":
        names.sort(key=lambda name: -_most(name, tallies))
    pages, page = _pages(len(names), page, per_page)
    of_page = names[(page - 1) * per_page : page * per_page]
    return HeatMap(shown, _rows(of_page, shown, cards, tallies), len(names), page, pages)


def cells_of(tallies: Iterable[Tally], *, prior_means: Iterable[float]) -> list[Cell]:
    """Cells of tallies, each shrunk to its prior mean in [0, 1]."""
    counted = list(tallies)
    parameters = [
        beta_parameters(tally, prior_mean=mean) for tally, mean in zip(counted, prior_means, strict=True)
    ]
    if not parameters:
        return []
    a, b = np.array(parameters, dtype=np.float64).T
    lows, highs = beta_bounds(a, b)
    means = a / (a + b)
    return [
        Cell(float(means[i]) if tally.n else None, float(lows[i]), float(highs[i]), tally.n)
        for i, tally in enumerate(counted)
    ]


def _rows(
    names: Sequence[str],
    experts: Sequence[str],
    cards: Mapping[str, CompetenceCard],
    tallies: Sequence[Mapping[str, Tally]],
) -> list[Row]:
    wanted = [tally.get(name, NOTHING) for name in names for tally in tallies]
    priors = [cards[expert].total.accuracy for expert in experts] * len(names)
    cells = cells_of(wanted, prior_means=priors)
    width = len(experts)
    return [_row(name, cells[i * width : (i + 1) * width]) for i, name in enumerate(names)]


def _row(name: str, cells: Sequence[Cell]) -> Row:
    means = [(-1.0 if cell.mean is None else cell.mean) for cell in cells]
    best = means.index(max(means)) if means and max(means) >= 0 else None
    return Row(name, max((cell.n for cell in cells), default=0), cells, best)


def _ordered(rows: Sequence[Row], order: Order) -> list[Row]:
    def spread(row: Row) -> float:
        means = [cell.mean for cell in row.cells if cell.mean is not None]
        return max(means) - min(means) if means else 0.0

    def best(row: Row) -> float:
        mean = None if row.best is None else row.cells[row.best].mean
        return 1.0 if mean is None else mean

    return sorted(rows, key=(lambda row: -spread(row)) if order == "apart" else best)


def _most(name: str, tallies: Sequence[Mapping[str, Tally]]) -> float:
    return max((tally[name].n for tally in tallies if name in tally), default=0)


def _pages(n: int, page: int, per_page: int) -> tuple[int, int]:
    pages = max(1, -(-n // per_page))
    return pages, min(max(page, 1), pages)
