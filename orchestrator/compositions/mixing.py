"""Mixing: one expert answers in the recruits' place, with their adapters composed (arXiv:2406.15479), or with
their logits fused at strengths of the question's own (arXiv:2310.12962)."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.domain.experts import FUSION, EngineSpec, Expert, Pool
from orchestrator.errors import ConfigError
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.runtime.stores import twin_experts

MIXES = "transformers"
"""The backend that composes adapters: vLLM takes one adapter a request."""
TENTHS = 10
"""Shares are rounded to tenths, so that mixtures recur."""


class MixedMember(NamedTuple):
    """A member of a fusion whose strength a request may set.

    Attributes:
        label: the engine's name of it.
        model, adapter: where its weights lie.
    """

    label: str
    model: str
    adapter: str | None


MixedMembers = Callable[[EngineSpec], Sequence[MixedMember]]
"""Members of a fusion's engine whose strengths a request may set; none where it has none."""


def no_members(spec: EngineSpec) -> Sequence[MixedMember]:
    """Members of an engine that fuses nothing."""
    del spec
    return ()


def mixed_names(
    pool: Pool, expert_id: str, *, composition: str, members: MixedMembers = no_members
) -> Mapping[str, str]:
    """Experts that a member of the pool can mix, each with the name that its engine has for it.

    Raises:
        ConfigError: it is nobody of the pool, mixes nothing, or mixes nobody of the pool.
    """
    expert = pool.by_id.get(expert_id)
    if expert is None or expert.engine.backend != FUSION:
        return {name: name for name in experts_of_store(pool, expert_id, composition=composition)}
    labels = {(m.model, m.adapter): m.label for m in reversed(members(expert.engine))}
    if not labels:
        raise ConfigError(
            f"composition '{composition}': members of '{expert_id}' have no strengths that a question sets.",
            param="mixture",
            remedy="Name a fusion by `upscale` or `average` that is served by transformers.",
        )
    found = {
        one.id: labels[one.engine.model, one.adapter]
        for one in pool.answerers
        if one.id != expert_id and (one.engine.model, one.adapter) in labels
    }
    if not found:
        raise ConfigError(
            f"composition '{composition}': no member of '{expert_id}' is an expert of the pool.",
            param="mixture",
            remedy="Add its members to model_list: their cards say which to mix.",
        )
    return found


def experts_of_store(pool: Pool, expert_id: str, *, composition: str) -> tuple[str, ...]:
    """Experts that a member of the pool can mix.

    Raises:
        ConfigError: it is nobody of the pool, or its model is no store by `twin`.
    """
    expert = pool.by_id.get(expert_id)
    if expert is not None and expert.engine.backend != MIXES:
        raise ConfigError(
            f"composition '{composition}': '{expert_id}' runs in the engine '{expert.engine.backend}', which "
            "composes no adapters.",
            param="mixture",
            remedy=f"Set its engine to {MIXES}.",
        )
    try:
        names = () if expert is None or expert.adapter else twin_experts(Path(expert.engine.model))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"composition '{composition}': the store of '{expert_id}' cannot be read: {error}.",
            param="mixture",
        ) from error
    if not names:
        what = "is not in the pool" if expert is None else "is no store by `twin`"
        raise ConfigError(
            f"composition '{composition}': mixture '{expert_id}' {what}.",
            param="mixture",
            remedy="Name a member whose model is the folder of a merge by `twin`.",
        )
    return names


class Mixing:
    """A router whose recruits are mixed in one expert; implements `ports.Router`.

    Args:
        router: recruits among the experts that are mixed.
        expert: the member that mixes.
        names: what its engine calls them.
    """

    def __init__(self, router: Router, expert: Expert, names: Mapping[str, str]) -> None:
        self.name = router.name
        self.reads_text = router.reads_text
        self._router = router
        self._expert = expert
        self._names = names

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        return [self._mixed(decision) for decision in self._router.recruit(batch, rng=rng)]

    def _mixed(self, decision: Decision) -> Decision:
        weights: dict[str, float] = {}
        for recruit in decision.recruits:
            weights[recruit.expert_id] = weights.get(recruit.expert_id, 0.0) + recruit.weight
        shares = rounded_shares(weights)
        mixed = Recruit(
            expert_id=self._expert.id,
            weight=1.0,
            score=sum(r.score * r.weight for r in decision.recruits),
            accuracy=min(1.0, sum(r.accuracy * r.weight for r in decision.recruits)),
            evidence=decision.recruits[0].evidence,
            note="mixes " + ", ".join(f"{name} {share:.1f}" for name, share in shares),
            mixture=tuple((self._names[name], share) for name, share in shares),
        )
        return decision.model_copy(update={"recruits": (mixed,), "reserves": (), "runner_up": None})


def rounded_shares(weights: dict[str, float]) -> tuple[tuple[str, float], ...]:
    """Weights as tenths, largest first; the largest alone where all would be 0.

    `{"a": .62, "b": .33, "c": .04}` -> `(("a", .6), ("b", .3))`.
    """
    order = sorted(weights, key=lambda name: (-weights[name], name))
    tenths = {name: round(weights[name] * TENTHS) for name in order}
    kept = [(name, tenths[name] / TENTHS) for name in order if tenths[name] > 0]
    return tuple(kept) or ((order[0], 1.0),)
