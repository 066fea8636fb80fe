"""Recruit the k experts whose names are most like a word of the question: an example, not a good idea."""

import random
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from pydantic import Field, JsonValue

from orchestrator.domain.answers import Decision, Recruit
from orchestrator.options import Options, parse_options
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing import RouterContext
from orchestrator.routing.parts.context import require_experts


class NearestNameOptions(Options):
    """
    Args:
        k: experts per question.
    """

    k: int = Field(default=1, ge=1)


class NearestName:
    """Reads the question's text only; the pool's order decides between equals."""

    name = "nearest_name"
    reads_text = True

    def __init__(self, expert_ids: tuple[str, ...], k: int) -> None:
        self._expert_ids = expert_ids
        self._k = k

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        require_experts(self.name, self._expert_ids)
        return [self._decide(item.query.question) for item in batch]

    def _decide(self, question: str) -> Decision:
        likeness = {expert_id: nearness(expert_id, question) for expert_id in self._expert_ids}
        ranked = sorted(self._expert_ids, key=lambda expert_id: -likeness[expert_id])
        chosen = ranked[: self._k]
        recruits = [
            Recruit(expert_id=i, weight=1 / len(chosen), score=likeness[i], accuracy=0.5) for i in chosen
        ]
        return Decision(
            router=self.name, recruits=tuple(recruits), would_change="another word in the question"
        )


def nearness(name: str, question: str) -> float:
    """Largest share of letters in common with a word of the question, in [0, 1]."""
    words = question.lower().split()
    return max((SequenceMatcher(a=name.lower(), b=word).ratio() for word in words), default=0.0)


def make(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
    k = parse_options("router 'nearest_name'", NearestNameOptions, options).k
    return NearestName(context.expert_ids, k)
