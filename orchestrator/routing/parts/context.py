"""Parts that every router is built from."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.cards import CompetenceCard, Profile
from orchestrator.domain.devices import Conditions
from orchestrator.domain.experts import Expert
from orchestrator.errors import NoCapableExpertError
from orchestrator.ports.composing import Router

WITHIN = 0.1
"""Why so much: docs/decisions/0040."""


class RouterContext(NamedTuple):
    """The pool as a router sees it.

    Attributes:
        cards: by expert id; an eligible expert without one counts with prior accuracy 0.5, n = 0.
        profile: outcomes the cards were counted from; None = not profiled.
        expert_ids: experts that may answer, in pool order.
        seed: for what is fitted once (clusters); draws per query use the rng passed to `recruit`.
        experts: by id, what they are: size, engine, context; one that is missing is not limited.
        conditions: the engines at the moment; differs from call to call.
        within: accuracy that the experts of a conversation's last turn may lack, and still be kept.
    """

    cards: Mapping[str, CompetenceCard]
    profile: Profile | None
    expert_ids: tuple[str, ...]
    seed: int = 0
    experts: Mapping[str, Expert] = MappingProxyType({})
    conditions: Callable[[], Conditions] = Conditions
    within: float = WITHIN

    def engine_id(self, expert_id: str) -> str:
        """Engine of an expert; one of which nothing is known is an engine of its own."""
        return self.experts[expert_id].engine.id if expert_id in self.experts else expert_id


RouterFactory = Callable[[RouterContext, Mapping[str, JsonValue]], Router]
"""Makes a router of one pool from its options. Raises ConfigError: an option that it does not have, a value
out of range, or no profile where it needs one (NotProfiledError)."""


def require_experts(router: str, expert_ids: tuple[str, ...]) -> None:
    """Refuse to recruit from nobody.

    Raises:
        NoCapableExpertError: nobody is eligible.
    """
    if not expert_ids:
        raise NoCapableExpertError(
            f"router '{router}': no expert of the pool may answer.",
            remedy="Give an expert the role 'expert', or allow one that is healthy.",
        )
