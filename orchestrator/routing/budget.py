"""Recruit for a whole batch under one budget of calls, USD or seconds, loads included.

Source: local accuracies as in `knn`; the joint assignment is ours (`parts.joint`).
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, JsonValue, model_validator

from orchestrator.domain.answers import Decision
from orchestrator.domain.cards import CompetenceCard
from orchestrator.errors import ConfigError
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.knn import NearestQuestions
from orchestrator.routing.parts.context import RouterContext, require_experts
from orchestrator.routing.parts.decisions import accuracy_needed, clamp
from orchestrator.routing.parts.deck import Floats
from orchestrator.routing.parts.draws import preference
from orchestrator.routing.parts.joint import JointPlan, Limits, Tariff, assign_jointly
from orchestrator.routing.parts.neighbours import Choice, LocalWriter, ProfileView

CALLS, USD, SECONDS = "calls", "USD", "s"


class BudgetOptions(Options):
    """Budgets are means per query: a batch of Q queries may spend Q times as much. A long job reaches a
    router in several batches; each keeps to its part.

    Args:
        k: experts per query at most.
        budget_calls, budget_cost, budget_seconds: at most one of them; costs are USD, seconds are of
            engines. None of them = k experts for every query.
        price: accuracy that a further unit of the budget (a call, if there is none) must bring.
        reload: of loading an engine, once per batch, in the budget's unit; by engine id, or for all.
        n_neighbours, prior_strength: local accuracies, as in router `knn`.
    """

    k: int = Field(default=3, ge=1, le=100)
    budget_calls: float | None = Field(default=None, gt=0)
    budget_cost: float | None = Field(default=None, gt=0)
    budget_seconds: float | None = Field(default=None, gt=0)
    price: float = Field(default=0.0, ge=0)
    reload: float | dict[str, float] = 0.0
    n_neighbours: int | None = Field(default=None, ge=1)
    prior_strength: float = Field(default=2.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.budget_calls, self.budget_cost, self.budget_seconds].count(None) < 2:
            raise ValueError("give one of budget_calls, budget_cost, budget_seconds")
        prices = self.reload.values() if isinstance(self.reload, dict) else [self.reload]
        if any(not 0 <= cost < float("inf") for cost in prices):
            raise ValueError("a reload costs 0 or more")
        return self

    @property
    def budget(self) -> "Budget":
        """The one budget that is given, with its unit; calls without a limit where none is."""
        if self.budget_cost is not None:
            return Budget(USD, self.budget_cost)
        if self.budget_seconds is not None:
            return Budget(SECONDS, self.budget_seconds)
        return Budget(CALLS, self.budget_calls)


class Budget(NamedTuple):
    """`per_query` None = no limit."""

    unit: str
    per_query: float | None


class BudgetRouter:
    """Accuracies of the nearest profile questions; who is asked on what is decided by `assign_jointly`."""

    name = "budget"
    reads_text = True

    def __init__(self, context: RouterContext, options: BudgetOptions) -> None:
        self._view = ProfileView(self.name, context)
        self._k, notes = clamp(options.k, len(context.expert_ids))
        self._budget, self._price = options.budget, options.price
        self._tariff = tariff(context, options)
        self._nearest = NearestQuestions(
            self._view, n_neighbours=options.n_neighbours, prior_strength=options.prior_strength
        )
        self._writer = LocalWriter(self._view, notes=notes)

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._view.expert_ids)
        del rng  # deterministic
        if not batch:
            return []
        local = self._nearest.local(batch)
        per_query = self._budget.per_query
        budget = None if per_query is None else per_query * len(batch)
        plan = assign_jointly(local.mean, self._tariff, Limits(self._k, budget, self._price))
        notes = self._spending(plan, budget, len(batch))
        ranked = preference(local.mean, plan.chosen.astype(np.float64)).tolist()
        rows = zip(ranked, plan.chosen.sum(axis=1).tolist(), local.mean.tolist(), strict=True)
        choices = [self._choice(*row, notes) for row in rows]
        return self._writer.write(batch, choices, local, [self._nearest.name] * len(batch))

    def _choice(self, ranked: list[int], n: int, means: list[float], notes: tuple[str, ...]) -> Choice:
        picks, left_out = ranked[:n], ranked[n:]
        if not left_out:
            return Choice(picks, None, means, None, notes)
        return Choice(picks, left_out[0], means, self._would_change(picks, left_out[0], means), notes)

    def _would_change(self, picks: list[int], runner_up: int, means: list[float]) -> str:
        gap = means[picks[-1]] - means[runner_up]
        if len(picks) == self._k and gap >= 0:
            return accuracy_needed(gap, self._nearest.name)
        cost = self._tariff.call[runner_up]
        return (
            f"needs a larger budget: its call costs {cost:.3g} {self._budget.unit}, loading its engine aside"
        )

    def _spending(self, plan: JointPlan, budget: float | None, n: int) -> tuple[str, ...]:
        if budget is None:
            return ()
        unit = self._budget.unit
        spent = f"{plan.spent:.4g} of {budget:.4g} {unit} spent on a batch of {n}"
        return (
            f"budget too small for a call on each query: {spent}" if plan.spent > budget * 1.001 else spent,
        )


def tariff(context: RouterContext, options: BudgetOptions) -> Tariff:
    """Costs in the unit of the budget: of calls as measured by the profile, of reloads as configured.

    Raises:
        ConfigError: a budget of something that no card states, or an engine that is not there.
    """
    engines = [context.engine_id(expert_id) for expert_id in context.expert_ids]
    ids = sorted(set(engines))
    return Tariff(
        call=_call_costs(context, options.budget),
        engine=np.array([ids.index(engine) for engine in engines], dtype=np.int64),
        reload=_reload_costs(ids, options.reload),
    )


def _call_costs(context: RouterContext, budget: Budget) -> Floats:
    """[E]; an expert without a card is taken to cost as much as the dearest one."""
    if budget.unit == CALLS:
        return np.ones(len(context.expert_ids))
    cards = [context.cards.get(expert_id) for expert_id in context.expert_ids]
    known = [_cost(card, budget.unit) for card in cards if card is not None]
    dearest = max(known, default=0.0)
    if context.expert_ids and dearest <= 0:
        raise ConfigError(
            f"router 'budget': no card says what a call costs in {budget.unit}.",
            param="budget_cost" if budget.unit == USD else "budget_seconds",
            remedy="Profile the pool (with costs per token in the pool file), or give budget_calls.",
        )
    return np.array([dearest if card is None else _cost(card, budget.unit) for card in cards])


def _cost(card: CompetenceCard, unit: str) -> float:
    return card.cost_per_query if unit == USD else card.mean_latency_ms / 1000


def _reload_costs(engine_ids: Sequence[str], reload: float | Mapping[str, float]) -> Floats:
    if not isinstance(reload, Mapping):
        return np.full(len(engine_ids), float(reload))
    return np.array([float(reload.get(engine_id, 0.0)) for engine_id in engine_ids])


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    """The `RouterFactory` of `budget`: needs a profile, and costs on the cards for a budget of USD or
    seconds."""
    return BudgetRouter(context, parse_options("router 'budget'", BudgetOptions, options))
