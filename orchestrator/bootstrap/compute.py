"""Compute of a pool's responses: sizes of its models, read from their files when they are first needed."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from orchestrator.domain.assignments import Response
from orchestrator.domain.compute import PassCost, total_flop
from orchestrator.domain.experts import FUSION, Expert, Pool
from workers.backends.registry import parts_of
from workers.checkpoints.sizes import pass_cost

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
        """Floating-point operations of a response, >= 0; None where the size of a model that wrote it is not
        known."""
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
    """All weights that read the tokens of an expert: its own, and of a fused one those of its members.

    Members of equal weights are one sequence and counted once, but for the large model under another routing.
    Where they differ in their prompts alone, a little is left out.
    """
    engine = expert.engine
    own = Weights(engine.model, expert.adapter)
    places = {**engine.members}
    parts = [
        Weights(
            places.get(part.model, part.model),
            None if part.adapter is None else places.get(part.adapter, part.adapter),
        )
        for part in parts_of(engine.backend, engine.options)
    ]
    weak = engine.options.get("weak")
    rerouted = [own] if isinstance(weak, dict) and "model" not in weak else []
    return [*dict.fromkeys([own, *parts]), *rerouted]
