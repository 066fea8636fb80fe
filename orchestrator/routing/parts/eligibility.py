"""Hard constraints before any router ranks anybody: an expert whom the query's terms leave out, whose context
cannot hold the query, or whose engine no device can load, is not recruited for it. The one place where this
is decided, for every row of the router table.

Servers that do not answer are left alone where calls are made (`workers.backends.http.breaker`). Answers are
read from plain text, so structured output limits nobody.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from orchestrator.domain.answers import Decision
from orchestrator.domain.devices import Conditions
from orchestrator.domain.queries import Query
from orchestrator.errors import AllPausedError
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.abilities import NO_DEMAND, Demand, able, cost, prompt_tokens, within
from orchestrator.routing.parts.context import RouterContext
from orchestrator.runtime.garbage import no_cycle_collection

_REMEMBERED = 16
"""Routers kept for parts of the pool."""


class _Part(NamedTuple):
    """Queries for which the same experts are eligible."""

    expert_ids: tuple[str, ...]
    n_down: int
    n_short: int
    n_barred: int = 0
    n_paused: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        down = f"{self.n_down} experts left out: their engine cannot be loaded"
        short = f"{self.n_short} experts left out: the query exceeds their context"
        barred = f"{self.n_barred} experts left out: they may not be asked, or cannot do what is asked for"
        paused = f"{self.n_paused} experts left out: they are paused"
        said = (
            (self.n_down, down),
            (self.n_short, short),
            (self.n_barred, barred),
            (self.n_paused, paused),
        )
        return tuple(text for n, text in said if n)


class ScreenedRouter:
    """A router that sees, for each query, only the experts that may answer it.

    Args:
        make: builds the router for the experts of its argument.
    """

    def __init__(self, context: RouterContext, make: Callable[[RouterContext], Router]) -> None:
        self._everybody = make(context)
        self.name, self.reads_text = self._everybody.name, self._everybody.reads_text
        self._experts = [context.experts.get(expert_id) for expert_id in context.expert_ids]
        self._shortest = min((e.engine.max_model_len for e in self._experts if e), default=math.inf)
        self._of_pool = context.expert_ids
        self._cards = context.cards
        self._conditions, self._engine_id = context.conditions, context.engine_id
        self._restricted = lru_cache(maxsize=_REMEMBERED)(
            lambda expert_ids: make(context._replace(expert_ids=expert_ids))
        )

    @no_cycle_collection()
    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        conditions = self._conditions()
        down, paused = self._down(conditions), conditions.paused.intersection(self._of_pool)
        long = {i: n for i, item in enumerate(batch) if (n := prompt_tokens(item.query)) >= self._shortest}
        demands = [Demand.of(item.query, item.terms) for item in batch]
        if not long and not down and not paused and all(demand == NO_DEMAND for demand in demands):
            return self._everybody.recruit(batch, rng=rng)
        parts: dict[_Part, list[int]] = {}
        for i, (item, demand) in enumerate(zip(batch, demands, strict=True)):
            parts.setdefault(self._part(item.query, long.get(i, 0), down, demand, paused), []).append(i)
        decisions = self._recruit_parts(batch, parts, rng)
        return [
            self._paid(decision, item.query, demand.max_cost_usd)
            for decision, item, demand in zip(decisions, batch, demands, strict=True)
        ]

    def _paid(self, decision: Decision, query: Query, max_cost_usd: float | None) -> Decision:
        if max_cost_usd is None:
            return decision
        n_tokens = prompt_tokens(query)
        pool = zip(self._of_pool, self._experts, strict=True)
        return within(decision, {i: cost(e, self._cards.get(i), n_tokens) for i, e in pool}, max_cost_usd)

    def eligible(self, item: RoutingInput) -> tuple[str, ...]:
        """Experts that may answer a query.

        Raises:
            NoCapableExpertError: nobody may.
        """
        n_tokens = prompt_tokens(item.query)
        long = n_tokens if n_tokens >= self._shortest else 0
        demand, conditions = Demand.of(item.query, item.terms), self._conditions()
        down, paused = self._down(conditions), conditions.paused.intersection(self._of_pool)
        return self._part(item.query, long, down, demand, paused).expert_ids

    def _down(self, conditions: Conditions) -> frozenset[str]:
        """Experts whose engine cannot be loaded; nobody where that is everybody: then their calls say why."""
        engines = conditions.down
        down = frozenset([i for i in self._of_pool if engines and self._engine_id(i) in engines])
        return frozenset() if down.issuperset(self._of_pool) else down

    def _part(
        self, query: Query, n_long: int, down: frozenset[str], demand: Demand, paused: frozenset[str]
    ) -> _Part:
        """Who is not paused, meets the demand, can be loaded, and has room for the prompt and a token more.
        Nobody has: all that can be loaded, for their engines count exactly.

        Raises:
            NoCapableExpertError: nobody meets the demand.
            AllPausedError: all who do are paused.
        """
        pool = list(zip(self._of_pool, self._experts, strict=True))
        wanted = (
            able(pool, demand, self._cards, n_tokens=prompt_tokens(query)) if demand != NO_DEMAND else pool
        )
        allowed = [(i, e) for i, e in wanted if i not in paused]
        if not allowed:
            raise AllPausedError
        loadable = [(i, e) for i, e in allowed if i not in down] or allowed
        fits = tuple([i for i, e in loadable if e is None or n_long < e.engine.max_model_len])
        n_short = len(loadable) - len(fits) if fits else 0
        return _Part(
            fits or tuple([i for i, _ in loadable]),
            n_down=len(allowed) - len(loadable),
            n_short=n_short,
            n_barred=len(pool) - len(wanted),
            n_paused=len(wanted) - len(allowed),
        )

    def _recruit_parts(
        self, batch: Sequence[RoutingInput], parts: Mapping[_Part, list[int]], rng: random.Random
    ) -> list[Decision]:
        """Every part draws from the same state of `rng`, as it would alone."""
        state = rng.getstate()
        decisions: dict[int, Decision] = {}
        for part, rows in parts.items():
            rng.setstate(state)
            whole = part.expert_ids == self._of_pool
            router = self._everybody if whole else self._restricted(part.expert_ids)
            found = router.recruit([batch[i] for i in rows], rng=rng)
            decisions |= zip(rows, [_noted(d, part.notes) for d in found], strict=True)
        return [decisions[i] for i in range(len(batch))]


def _noted(decision: Decision, notes: tuple[str, ...]) -> Decision:
    return decision.model_copy(update={"notes": (*decision.notes, *notes)}) if notes else decision
