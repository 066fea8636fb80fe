"""Routers of packages: what they raise, and decisions that are none, are told as their package's fault."""

import random
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from orchestrator.domain.answers import Decision
from orchestrator.ports.composing import Router, RoutingInput
from orchestrator.routing.parts.context import RouterContext, RouterFactory
from orchestrator.tables import Blaming, require


def blamed(make: RouterFactory, blame: Blaming) -> RouterFactory:
    """The factory of a package, whose routers are `BlamedRouter`s."""

    def made(context: RouterContext, options: Mapping[str, JsonValue]) -> Router:
        with blame():
            router = make(context, options)
            require(router, "Router", ("name", "reads_text", "recruit"))
        return BlamedRouter(router, context.expert_ids, blame)

    return made


class BlamedRouter:
    """Implements `ports.Router` by a package's.

    Args:
        expert_ids: of those whom it may recruit.
    """

    def __init__(self, router: Router, expert_ids: Sequence[str], blame: Blaming) -> None:
        self.name, self.reads_text = router.name, router.reads_text
        self._router = router
        self._expert_ids = frozenset(expert_ids)
        self._blame = blame

    def recruit(self, batch: Sequence[RoutingInput], *, rng: random.Random) -> list[Decision]:
        """Decisions of the package's router, one per input.

        Raises:
            ConfigError: it raises something of another kind than Muster's, makes fewer or more decisions, or
                recruits somebody whom it was not given.
        """
        with self._blame():
            return _checked(self._router.recruit(batch, rng=rng), len(batch), self._expert_ids)


def _checked(decisions: Iterable[object], n_questions: int, expert_ids: frozenset[str]) -> list[Decision]:
    checked: list[Decision] = []
    for decision in decisions:
        if not isinstance(decision, Decision):
            raise TypeError(f"a {type(decision).__name__} is no Decision")
        strange = sorted(set(decision.expert_ids) - expert_ids)
        if strange:
            raise ValueError(f"it recruits '{strange[0]}', whom it was not given")
        checked.append(decision)
    if len(checked) != n_questions:
        raise ValueError(f"it makes {len(checked)} decisions for {n_questions} questions")
    return checked
