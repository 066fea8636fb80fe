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
from orchestrator.domain.queries import Query, rough_tokens
from orchestrator.errors import NoCapableExpertError
from orchestrator.ports.composing import Router, RoutingInput
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

    @property
    def notes(self) -> tuple[str, ...]:
        down = f"{self.n_down} experts left out: their engine cannot be loaded"
        short = f"{self.n_short} experts left out: the query exceeds their context"
        barred = f"{self.n_barred} experts left out: they may not be asked"
        said = ((self.n_down, down), (self.n_short, short), (self.n_barred, barred))
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
        self._conditions, self._engine_id = context.conditions, context.engine_id
        self._restricted = lru_cache(maxsize=_REMEMBERED)(
            lambda expert_ids: make(context._replace(expert_ids=expert_ids))
        )

    @no_cycle_collection()
    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        down = self._down()
        long = {i: n for i, item in enumerate(batch) if (n := prompt_tokens(item.query)) >= self._shortest}
        if not long and not down and not any(item.terms.experts for item in batch):
            return self._everybody.recruit(batch, rng=rng)
        parts: dict[_Part, list[int]] = {}
        for i, item in enumerate(batch):
            parts.setdefault(self._part(long.get(i, 0), down, item.terms.experts), []).append(i)
        return self._recruit_parts(batch, parts, rng)

    def _down(self) -> frozenset[str]:
        """Experts whose engine cannot be loaded; nobody where that is everybody: then their calls say why."""
        engines = self._conditions().down
        down = frozenset([i for i in self._of_pool if engines and self._engine_id(i) in engines])
        return frozenset() if down.issuperset(self._of_pool) else down

    def _part(self, n_tokens: int, down: frozenset[str], named: Sequence[str]) -> _Part:
        """Who may be asked, can be loaded, and has room for the prompt and a token more. Nobody has: all that
        can be loaded, for their engines count exactly.

        Args:
            named: those who may be asked; none = everybody.

        Raises:
            NoCapableExpertError: none of `named` is among the router's.
        """
        pool = list(zip(self._of_pool, self._experts, strict=True))
        allowed = [(i, e) for i, e in pool if not named or i in named]
        if not allowed:
            raise NoCapableExpertError(
                "no expert that may be asked is part of this composition.",
                param="muster.experts",
                remedy="Name others, or another composition.",
            )
        able = [(i, e) for i, e in allowed if i not in down] or allowed
        fits = tuple([i for i, e in able if e is None or n_tokens < e.engine.max_model_len])
        n_short = len(able) - len(fits) if fits else 0
        n_down, n_barred = len(allowed) - len(able), len(pool) - len(allowed)
        return _Part(fits or tuple([i for i, _ in able]), n_down, n_short, n_barred)

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


def prompt_tokens(query: Query) -> int:
    """Estimate from its length; the exact number depends on each expert's tokenizer and template."""
    return rough_tokens(len(query.text) + sum(len(m.content) for m in query.context))


def _noted(decision: Decision, notes: tuple[str, ...]) -> Decision:
    return decision.model_copy(update={"notes": (*decision.notes, *notes)}) if notes else decision
