"""Steady routers: a conversation stays with the experts of its last turn while the evidence does not clearly
speak for others. Rule and threshold: docs/decisions/0040.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.ports.composing import Router, RoutingInput


class ScreeningRouter(Router, Protocol):
    """A router that knows whom a query leaves."""

    def eligible(self, item: RoutingInput) -> tuple[str, ...]:
        """Experts that may answer a query, by hard constraints alone.

        Raises:
            NoCapableExpertError: nobody may.
        """


class SteadyRouter:
    """A router whose recruits are those of the conversation's last turn, where these are about as good.

    They stay if they may answer at all (context, tools, health, names) and the router expects of them at most
    `within` less accuracy than of the recruits that it would choose now. Otherwise its choice holds.

    Args:
        within: in [0, 1]; 1 = always stay with those that may answer.
    """

    def __init__(self, inner: ScreeningRouter, *, within: float) -> None:
        self._inner = inner
        self._within = within
        self.name, self.reads_text = inner.name, inner.reads_text

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        state = rng.getstate()
        decisions = self._inner.recruit(batch, rng=rng)
        after = rng.getstate()
        rows = {i: ids for i, item in enumerate(batch) if (ids := self._kept(item, decisions[i]))}
        if rows:
            rng.setstate(state)
            named = [_naming(batch[i], ids) for i, ids in rows.items()]
            held = self._inner.recruit(named, rng=rng)
            for (i, ids), decision in zip(rows.items(), held, strict=True):
                decisions[i] = steadied(decisions[i], decision, ids, within=self._within)
            rng.setstate(after)
        return decisions

    def _kept(self, item: RoutingInput, fresh: Decision) -> tuple[str, ...]:
        """Experts of the last turn that may answer this one, in their order; none where experts are drawn
        more than once, for their number says how they are to be asked, or are to be paid from a sum."""
        is_paid = item.terms.max_cost_usd is not None
        if not item.kept or is_paid or len(set(fresh.expert_ids)) < len(fresh.expert_ids):
            return ()
        able = set(self._inner.eligible(item))
        return tuple(dict.fromkeys(expert_id for expert_id in item.kept if expert_id in able))


def steadied(fresh: Decision, held: Decision, kept: Sequence[str], *, within: float) -> Decision:
    """The decision for a turn: with the kept experts first, or as the router chose.

    Args:
        fresh: the router's choice among all; `held`: its choice among `kept`, with the same numbers for each.
        kept: experts of the last turn, in their order.
        within: mean accuracy, in [0, 1], that they may lack at most.
    """
    known: Mapping[str, Recruit] = {r.expert_id: r for r in _everybody(fresh)} | {
        r.expert_id: r for r in _everybody(held)
    }
    n = len(fresh.recruits)
    staying = [expert_id for expert_id in kept if expert_id in known]
    order = [*staying, *(r.expert_id for r in _everybody(fresh) if r.expert_id not in staying)]
    first = [known[expert_id] for expert_id in order[:n]]
    if [r.expert_id for r in first] == list(fresh.expert_ids):
        return fresh
    gap = _accuracy(fresh.recruits) - _accuracy(first)
    if gap > within:
        note = f"the conversation's experts were left: {gap:.2f} less accurate than those chosen"
        return _noted(fresh, note)
    reserves = [known[expert_id] for expert_id in order[n : n + len(fresh.reserves)]]
    total = sum(r.weight for r in first)
    shares = [r.weight / total if total > 0 else 1 / n for r in first]
    recruits = tuple(r.model_copy(update={"weight": w}) for r, w in zip(first, shares, strict=True))
    asked = {r.expert_id for r in (*recruits, *reserves)}
    runner_up = fresh.runner_up if fresh.runner_up and fresh.runner_up.expert_id not in asked else None
    changes = {"recruits": recruits, "reserves": tuple(reserves), "runner_up": runner_up}
    note = f"the conversation's experts stay: {max(gap, 0.0):.2f} less accurate than the best"
    return _noted(fresh.model_copy(update=changes), note)


def _naming(item: RoutingInput, expert_ids: tuple[str, ...]) -> RoutingInput:
    return item._replace(terms=item.terms.model_copy(update={"experts": expert_ids}), kept=())


def _everybody(decision: Decision) -> tuple[Recruit, ...]:
    runner_up = () if decision.runner_up is None else (decision.runner_up,)
    return (*decision.recruits, *decision.reserves, *runner_up)


def _accuracy(recruits: Sequence[Recruit]) -> float:
    return sum(r.accuracy for r in recruits) / len(recruits)


def _noted(decision: Decision, note: str) -> Decision:
    return decision.model_copy(update={"notes": (*decision.notes, note)})
