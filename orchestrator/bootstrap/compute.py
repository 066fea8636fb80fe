"""Compute of a pool's responses: sizes of its models, read from their files when they are first needed."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from orchestrator.domain.assignments import Response
from orchestrator.domain.compute import PassCost, total_flop
from orchestrator.domain.experts import Expert, Pool
from workers.checkpoints.sizes import pass_cost

FUSION = "fusion"
BILLION = 1e9


class Weights(NamedTuple):
    """Weights that take part in an answer."""

    model: str
    adapter: str | None = None


class ComputeMeter:
    """Operations of responses, by the expert that wrote them. A fused one's members each read every token."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, Sequence[PassCost] | None] = {}

    def flop(self, response: Response) -> float | None:
        """Operations of a response; None where the size of a model that wrote it is not known."""
        costs = self._costs(response.expert_id)
        if costs is None:
            return None
        usage = response.usage
        return total_flop(costs, prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)

    def _costs(self, expert_id: str) -> Sequence[PassCost] | None:
        if expert_id not in self._known:
            expert = self._pool.by_id.get(expert_id)
            self._known[expert_id] = None if expert is None else _expert_costs(expert)
        return self._known[expert_id]


def _expert_costs(expert: Expert) -> Sequence[PassCost] | None:
    costs = [_size(*weights) for weights in weights_of(expert)]
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs):
        return known
    stated = expert.params_b if expert.engine.backend != FUSION else None
    return None if stated is None else [PassCost(body=round(stated * BILLION))]


_size = cache(pass_cost)


def weights_of(expert: Expert) -> list[Weights]:
    """All weights that read the tokens of an expert: its own, and of a fused one those of its members."""
    own = Weights(expert.engine.model, expert.adapter)
    if expert.engine.backend != FUSION:
        return [own]
    options = expert.engine.options
    entries = [options.get(role) for role in ("base", "weak")]
    for role in ("experts", "models"):
        listed = options.get(role)
        entries += listed if isinstance(listed, list) else []
    return [own, *(_member(entry) for entry in entries if isinstance(entry, str | dict))]


def _member(entry: str | Mapping[str, object]) -> Weights:
    if isinstance(entry, str):
        return Weights(entry)
    adapter = entry.get("adapter")
    return Weights(str(entry.get("model")), str(adapter) if adapter is not None else None)
