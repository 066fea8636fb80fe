"""Usage as it is reported: sums by day, key, model or role, and what one expert alone would have cost."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from orchestrator.domain.cards import CompetenceCard
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.usage import ALL_TIME, NO_USAGE, QUESTION_ROLES, UsageKey, UsageSums, today
from orchestrator.errors import InputError
from orchestrator.ports.usage import UsageReader

EPOCH = date(1970, 1, 1)
DEFAULT_DAYS = 30
MOST_DAYS = 366
MOST_ROWS = 10_000


class Dimension(StrEnum):
    """Dimension by which usage is grouped; `key`: the id of the key that jobs were submitted with."""

    DAY = "day"
    KEY = "key"
    MODEL = "model"
    ROLE = "role"


class SingleCost(NamedTuple):
    """Estimate of what the best expert alone would have cost for the same questions. None = not known."""

    expert_id: str
    cost_usd: float | None
    engine_s: float | None


class UsageRow(NamedTuple):
    """One group: its place in the dimensions that are grouped by (None in the others), and its sums.

    Attributes:
        questions, calls: sums over questions, and over the calls that they took.
        single: None where the group has no questions, or no expert was measured.
    """

    day: date | None
    key: str | None
    model: str | None
    role: str | None
    questions: UsageSums
    calls: UsageSums
    single: SingleCost | None


class UsageReport(NamedTuple):
    """Usage of some days, both included: groups in the order of their dimensions, and all together."""

    first: date
    last: date
    rows: tuple[UsageRow, ...]
    total: UsageRow


class UsageDesk:
    """Reports usage.

    Args:
        cards: of the pool's experts at the moment.
    """

    def __init__(
        self,
        reader: UsageReader,
        *,
        pool: Callable[[], Pool],
        cards: Callable[[], Mapping[str, CompetenceCard]],
    ) -> None:
        self._reader = reader
        self._pool = pool
        self._cards = cards

    def report(
        self, first: date, last: date, *, group_by: Sequence[Dimension] = (), owner: str | None = None
    ) -> UsageReport:
        """Usage from `first` to `last`, both included.

        Args:
            owner: whose jobs; None = everybody's.

        Raises:
            InputError: no such days, or more groups than `MOST_ROWS`.
        """
        _check_days(first, last)
        sums = self._reader.usage(first_day=day_of(first), last_day=day_of(last), owner=owner)
        single = self._best_single()
        groups: dict[UsageKey, list[tuple[UsageKey, UsageSums]]] = {}
        for key, of_key in sums.items():
            groups.setdefault(_group(key, group_by), []).append((key, of_key))
        if len(groups) > MOST_ROWS:
            raise InputError(
                f"more than {MOST_ROWS} groups.", param="group_by", remedy="Ask for fewer days or dimensions."
            )
        rows = tuple(_row(group, members, group_by, single) for group, members in sorted(groups.items()))
        total = _row(_group(_NOWHERE, ()), list(sums.items()), (), single)
        return UsageReport(first, last, rows, total)

    def _best_single(self) -> "_Single | None":
        """The expert whose card says that it is right most often; of equals the cheapest."""
        cards = self._cards()
        known = [e for e in self._pool().answerers if e.id in cards and cards[e.id].total.n]
        if not known:
            return None
        best = min(known, key=lambda e: (-cards[e.id].total.accuracy, e.output_cost_per_token, e.id))
        calls = [s for key, s in self._reader.totals().items() if _is_of(key, best.id)]
        return _Single(best, _sum(calls))


class _Single(NamedTuple):
    """An expert, and sums over all its calls ever."""

    expert: Expert
    measured: UsageSums

    def cost(self, questions: UsageSums) -> SingleCost:
        """Cost of one call for each question: as many tokens as the experts that were asked took on average,
        at the prices of the pool file (or, without any, at what a token of its calls has cost), and at the
        seconds of a device that a token of its calls has taken."""
        n_in, n_out = questions.single_prompt_tokens, questions.single_completion_tokens
        measured_tokens = self.measured.prompt_tokens + self.measured.completion_tokens
        share = (n_in + n_out) / measured_tokens if measured_tokens else None
        priced = self.expert.input_cost_per_token or self.expert.output_cost_per_token
        if priced:
            usd: float | None = (
                n_in * self.expert.input_cost_per_token + n_out * self.expert.output_cost_per_token
            )
        else:
            usd = None if share is None else share * self.measured.cost_usd
        return SingleCost(self.expert.id, usd, None if share is None else share * self.measured.engine_s)


def span_of(first: str | None, last: str | None) -> tuple[date, date]:
    """First and last day as people write them; by default today is the last, and there are `DEFAULT_DAYS`.

    Raises:
        InputError: no days.
    """
    until = EPOCH + timedelta(days=today()) if last is None else _day(last, param="to")
    since = until - timedelta(days=DEFAULT_DAYS - 1) if first is None else _day(first, param="from")
    return since, until


def dimensions_of(text: str) -> list[Dimension]:
    """Dimensions, joined by commas.

    Raises:
        InputError: one that there is not.
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    unknown = next((name for name in names if name not in list(Dimension)), None)
    if unknown is not None:
        raise InputError(
            f"usage is not grouped by '{unknown[:40]}'.",
            param="group_by",
            remedy=f"Valid: {', '.join(Dimension)}.",
        )
    return [Dimension(name) for name in names]


def _day(text: str, *, param: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InputError(
            f"{param}: '{text[:40]}' is no day.", param=param, remedy="Write YYYY-MM-DD."
        ) from None


_NOWHERE = UsageKey(ALL_TIME, "", "", "")


def day_of(day: date) -> int:
    """Number of a day, counted from 1970."""
    return (day - EPOCH).days


def _check_days(first: date, last: date) -> None:
    if last < first:
        raise InputError("`to` is before `from`.", param="to")
    if (last - first).days >= MOST_DAYS:
        raise InputError(f"more than {MOST_DAYS} days.", param="from", remedy="Ask for fewer.")
    if day_of(first) < 1:
        raise InputError("`from` is too long ago.", param="from")


def _group(key: UsageKey, group_by: Sequence[Dimension]) -> UsageKey:
    return UsageKey(
        key.day if Dimension.DAY in group_by else ALL_TIME,
        key.owner if Dimension.KEY in group_by else "",
        key.model if Dimension.MODEL in group_by else "",
        key.role if Dimension.ROLE in group_by else "",
    )


def _row(
    group: UsageKey,
    members: Sequence[tuple[UsageKey, UsageSums]],
    group_by: Sequence[Dimension],
    single: _Single | None,
) -> UsageRow:
    questions = _sum([sums for key, sums in members if key.role in QUESTION_ROLES])
    return UsageRow(
        day=EPOCH + timedelta(days=group.day) if Dimension.DAY in group_by else None,
        key=group.owner if Dimension.KEY in group_by else None,
        model=group.model if Dimension.MODEL in group_by else None,
        role=group.role if Dimension.ROLE in group_by else None,
        questions=questions,
        calls=_sum([sums for key, sums in members if key.role not in QUESTION_ROLES]),
        single=single.cost(questions) if single is not None and questions.n else None,
    )


def _is_of(key: UsageKey, expert_id: str) -> bool:
    return key.model == expert_id and key.role not in QUESTION_ROLES


def _sum(parts: Sequence[UsageSums]) -> UsageSums:
    total = NO_USAGE
    for part in parts:
        total = total.plus(part)
    return total
