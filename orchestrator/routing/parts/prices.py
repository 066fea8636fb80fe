"""Prices: what asking an expert costs, in units of accuracy."""

from typing import NamedTuple

import numpy as np

from orchestrator.routing.parts.context import RouterContext
from orchestrator.routing.parts.deck import Floats


class PriceList(NamedTuple):
    """Accuracy that a USD, or a second, must bring; >= 0."""

    usd: float
    second: float


class Prices(NamedTuple):
    """
    Attributes:
        of: accuracy that asking each expert must make up for, [E].
        notes: what of it depends on the moment.
    """

    of: Floats
    notes: tuple[str, ...] = ()


def prices_now(context: RouterContext, listed: PriceList) -> Prices:
    """Calls cost what they did in the profile, 0 for experts without a card; loading what it takes now."""
    ids = context.expert_ids
    if not listed.usd and not listed.second:
        return Prices(np.zeros(len(ids)))
    cards = [context.cards.get(expert_id) for expert_id in ids]
    usd = np.array([card.cost_per_query if card else 0.0 for card in cards])
    seconds = np.array([card.mean_latency_ms / 1000 if card else 0.0 for card in cards])
    cold = context.conditions().cold_s if listed.second else {}
    loading = np.array([cold.get(context.engine_id(expert_id), 0.0) for expert_id in ids])
    notes = tuple(
        f"loading '{expert_id}' takes {load_s:.1f} s"
        for expert_id, load_s in zip(ids, loading.tolist(), strict=True)
        if load_s > 0
    )
    return Prices(listed.usd * usd + listed.second * (seconds + loading), notes)
