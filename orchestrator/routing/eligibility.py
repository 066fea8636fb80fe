"""Hard constraints before any router ranks anybody: an expert whose context cannot hold a query is not
recruited for it. The one place where this is decided, for every row of the router table.

Engines that are down are left alone where calls are made (`workers.backends.http.breaker`): a router has no
view of them. Answers are read from plain text, so structured output limits nobody.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from orchestrator.domain.answers import Decision
from orchestrator.domain.queries import CHARS_PER_TOKEN, Query
from orchestrator.ports import Router, RoutingInput
from orchestrator.routing.context import RouterContext

_REMEMBERED = 16
"""Routers kept for parts of the pool."""


class ScreenedRouter:
    """A router that sees, for each query, only the experts that may answer it.

    Args:
        make: builds the router for the experts of its argument.
    """

    def __init__(self, context: RouterContext, make: Callable[[RouterContext], Router]) -> None:
        self._everybody = make(context)
        self.name, self.reads_text = self._everybody.name, self._everybody.reads_text
        self._experts = [context.experts.get(expert_id) for expert_id in context.expert_ids]
        self._shortest = min((e.engine.max_model_len for e in self._experts if e), default=0)
        self._of_pool = context.expert_ids
        self._restricted = lru_cache(maxsize=_REMEMBERED)(
            lambda expert_ids: make(context._replace(expert_ids=expert_ids))
        )

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        long = {i: n for i, item in enumerate(batch) if (n := prompt_tokens(item.query)) >= self._shortest}
        if not long:
            return self._everybody.recruit(batch, rng=rng)
        parts: dict[tuple[str, ...], list[int]] = {}
        for i in range(len(batch)):
            parts.setdefault(self._eligible(long[i]) if i in long else self._of_pool, []).append(i)
        return self._recruit_parts(batch, parts, rng)

    def _eligible(self, n_tokens: int) -> tuple[str, ...]:
        """Who has room for the prompt and a token more. Nobody: all, for their engines count exactly."""
        fits = tuple(
            expert_id
            for expert_id, expert in zip(self._of_pool, self._experts, strict=True)
            if expert is None or n_tokens < expert.engine.max_model_len
        )
        return fits or self._of_pool

    def _recruit_parts(
        self, batch: Sequence[RoutingInput], parts: Mapping[tuple[str, ...], list[int]], rng: random.Random
    ) -> list[Decision]:
        """Every part draws from the same state of `rng`, as it would alone."""
        state = rng.getstate()
        decisions: dict[int, Decision] = {}
        for expert_ids, rows in parts.items():
            rng.setstate(state)
            whole = expert_ids == self._of_pool
            router = self._everybody if whole else self._restricted(expert_ids)
            part = router.recruit([batch[i] for i in rows], rng=rng)
            note = f"{len(self._of_pool) - len(expert_ids)} experts left out: the query exceeds their context"
            decisions |= zip(rows, part if whole else [_noted(d, note) for d in part], strict=True)
        return [decisions[i] for i in range(len(batch))]


def prompt_tokens(query: Query) -> int:
    """Estimate from its length; the exact number depends on each expert's tokenizer and template."""
    return (len(query.text) + sum(len(m.content) for m in query.context)) // CHARS_PER_TOKEN


def _noted(decision: Decision, note: str) -> Decision:
    return decision.model_copy(update={"notes": (*decision.notes, note)})
