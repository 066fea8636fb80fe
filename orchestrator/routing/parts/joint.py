"""Recruits for each query of a batch when all of them share one budget.

Shapes: Q queries, E experts, G engines, M candidate sets per query. Costs are in the budget's unit: calls,
USD or seconds.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from orchestrator.routing.parts.deck import Bools, Floats, Ints

_TILTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1e6)
"""Accuracy that candidate sets give up for the whole span of call costs; the last takes the cheapest."""

_DOUBLINGS, _HALVINGS = 40, 40
_FILL_ROUNDS = 8
_PROBES = 256
"""Queries, evenly spread, on which sets of engines are compared."""

_EPS = 1e-9


class Tariff(NamedTuple):
    """Costs of asking.

    Attributes:
        call: of one call, [E], >= 0.
        engine: the engine of each expert, [E], in 0..G-1.
        reload: of bringing an engine in, once however many queries use it, [G], >= 0.
    """

    call: Floats
    engine: Ints
    reload: Floats


class Limits(NamedTuple):
    """
    Attributes:
        k: experts per query at most, >= 1.
        budget: for all queries together; None = as much as it takes.
        price: accuracy that a unit of cost must bring, >= 0. At 0 without a budget every query gets k.
    """

    k: int
    budget: float | None = None
    price: float = 0.0


class JointPlan(NamedTuple):
    """
    Attributes:
        chosen: [Q, E]; every query has somebody, even where the budget cannot be kept.
        value: expected number of right answers.
        spent: calls and reloads.
    """

    chosen: Bools
    value: float
    spent: float


class _Options(NamedTuple):
    """Candidate sets of each query: rows of experts [Q, M, k] (-1 = nobody), value and cost [Q, M]."""

    rows: Ints
    value: Floats
    cost: Floats


def assign_jointly(accuracy: Floats, tariff: Tariff, limits: Limits) -> JointPlan:
    """Choose experts per query so that the batch's expected accuracy, less the price of what is spent, is
    largest within the budget.

    For given engines this is a multiple-choice knapsack, solved by a Lagrangian price and greedy filling:
    at most one query's step below the optimum over the candidate sets. Engines are dropped, or taken back,
    one at a time while that pays (a local optimum). Ours; in spirit of facility location.

    Args:
        accuracy: [Q, E], probability that the expert is right; Q, E >= 1.
    """
    engines = _best_engines(accuracy, tariff, limits) if tariff.reload.any() else np.ones(1, dtype=bool)
    open_experts = np.ones(len(tariff.call), dtype=bool) if len(engines) == 1 else engines[tariff.engine]
    return _solve(accuracy, tariff, limits, open_experts)


def vote_value(accuracy: Floats) -> Floats:
    """Probability that a vote is right, for voters sorted by falling accuracy along the last axis.

    The first voter decides unless two others agree against it; errors are independent and wrong answers
    differ: p1 + (1 − p1)·P(at least two of the others are right). So a second voter alone adds nothing.
    """
    first, others = accuracy[..., 0], accuracy[..., 1:]
    none, one = np.ones_like(first), np.zeros_like(first)
    for i in range(others.shape[-1]):
        one = one * (1 - others[..., i]) + none * others[..., i]
        none = none * (1 - others[..., i])
    return np.asarray(first + (1 - first) * (1 - none - one))


def _best_engines(accuracy: Floats, tariff: Tariff, limits: Limits) -> Bools:
    """Local search from all engines and from the best single one, on `_PROBES` queries."""
    n_queries, n_engines = len(accuracy), len(tariff.reload)
    probes = accuracy[np.unique(np.linspace(0, n_queries - 1, min(n_queries, _PROBES)).astype(np.int64))]
    share = len(probes) / n_queries
    tariff = tariff._replace(reload=tariff.reload * share)
    limits = limits._replace(budget=None if limits.budget is None else limits.budget * share)

    def worth(engines: Bools) -> tuple[float, float]:
        if not engines.any():
            return -np.inf, 0.0
        plan = _solve(probes, tariff, limits, engines[tariff.engine])
        overspent = 0.0 if limits.budget is None else max(0.0, plan.spent - limits.budget - _EPS)
        return -overspent, plan.value - limits.price * plan.spent

    alone = max(np.eye(n_engines, dtype=bool), key=worth)
    starts = (np.ones(n_engines, dtype=bool), alone)
    return max((_improved(start, worth) for start in starts), key=worth)


def _improved(engines: Bools, worth: Callable[[Bools], tuple[float, float]]) -> Bools:
    """Drop or take back one engine at a time, as long as that is worth more."""
    best = worth(engines)
    failures, g = 0, 0
    while failures < len(engines):
        changed = engines.copy()
        changed[g] = not changed[g]
        if (value := worth(changed)) > best:
            engines, best, failures = changed, value, 0
        else:
            failures += 1
        g = (g + 1) % len(engines)
    return engines


def _solve(accuracy: Floats, tariff: Tariff, limits: Limits, open_experts: Bools) -> JointPlan:
    """The plan when only `open_experts` may be asked; reloads are charged for engines it uses."""
    experts = np.flatnonzero(open_experts)
    reload = tariff.reload[np.unique(tariff.engine[experts])].sum()
    options = _candidates(accuracy[:, experts], tariff.call[experts], limits.k)
    if limits.budget is None and limits.price == 0:
        picked = np.full(len(accuracy), options.value.shape[1] - 1)
    else:
        left = np.inf if limits.budget is None else limits.budget - reload
        picked = _fill(options, _priced(options, left, limits.price), left, limits.price)
    queries = np.arange(len(accuracy))
    chosen = np.zeros(accuracy.shape, dtype=bool)
    for row in options.rows[queries, picked].T:
        chosen[queries[row >= 0], experts[row[row >= 0]]] = True
    used = np.unique(tariff.engine[chosen.any(axis=0)])
    spent = float(options.cost[queries, picked].sum() + tariff.reload[used].sum())
    return JointPlan(chosen, float(options.value[queries, picked].sum()), spent)


def _candidates(accuracy: Floats, call: Floats, k: int) -> _Options:
    """The best s experts for s = 1..k, for several exchange rates of accuracy against cost."""
    span = float(np.ptp(call))
    tilts = _TILTS if span > 0 else (0.0,)
    k = min(k, accuracy.shape[1])
    parts = [_prefixes(accuracy, call, k, tilt / span if span else 0.0) for tilt in reversed(tilts)]
    return _Options(*(np.concatenate(column, axis=1) for column in zip(*parts, strict=True)))


def _prefixes(accuracy: Floats, call: Floats, k: int, rate: float) -> _Options:
    order = np.argsort(rate * call - accuracy, axis=1, kind="stable")[:, :k]
    sizes = range(1, k + 1)
    rows = np.stack([np.where(np.arange(k) < s, order, -1) for s in sizes], axis=1)
    chances = np.take_along_axis(accuracy, order, axis=1)
    falling = [-np.sort(-chances[:, :s], axis=1) for s in sizes]
    value = np.stack([vote_value(of_size) for of_size in falling], axis=1)
    return _Options(rows, value, np.cumsum(call[order], axis=1))


def _priced(options: _Options, budget: float, price: float) -> Ints:
    """What each query takes at the lowest price, not under `price`, at which all can be paid; [Q]."""

    def taken(at: float) -> Ints:
        return np.asarray((options.value - (at + _EPS) * options.cost).argmax(axis=1), dtype=np.int64)

    def fits(choice: Ints) -> bool:
        return bool(_at(options.cost, choice).sum() <= budget + _EPS)

    low = price
    if fits(choice := taken(low)):
        return choice
    step = 1 / max(float(options.cost.max()), _EPS)
    high = low + next((step * 2**i for i in range(_DOUBLINGS) if fits(taken(low + step * 2**i))), np.inf)
    if np.isinf(high):
        return np.asarray(options.cost.argmin(axis=1), dtype=np.int64)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(taken(middle)) else (middle, high)
    return taken(high)


def _fill(options: _Options, choice: Ints, budget: float, price: float) -> Ints:
    """Spend what is left on the steps that bring most for their cost."""
    queries = np.arange(len(choice))
    for _ in range(_FILL_ROUNDS):
        left = budget - _at(options.cost, choice).sum()
        gain = options.value - _at(options.value, choice)[:, None]
        extra = options.cost - _at(options.cost, choice)[:, None]
        useful = (extra <= left + _EPS) & (gain > price * extra + _EPS)
        rate = np.where(useful, gain / np.maximum(extra, _EPS), -1.0)
        step = rate.argmax(axis=1)
        best = rate[queries, step]
        order = np.argsort(-best, kind="stable")
        costs = np.maximum(extra[queries, step][order], 0.0)
        affordable = order[(np.cumsum(costs) <= left + _EPS) & (best[order] > 0)]
        if not len(affordable):
            break
        choice = choice.copy()
        choice[affordable] = step[affordable]
    return choice


def _at(table: Floats, choice: Ints) -> Floats:
    return np.asarray(table[np.arange(len(choice)), choice])
