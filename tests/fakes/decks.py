"""Cards and profiles in one line each, for routers and aggregators."""

from collections.abc import Mapping, Sequence

import numpy as np

from orchestrator.domain.cards import CompetenceCard, Profile, Tally
from orchestrator.domain.queries import Query
from orchestrator.domain.skills import SkillTag
from orchestrator.ports.composing import RoutingInput
from orchestrator.routing import RouterContext


def tally(n_right: int, n_wrong: int) -> Tally:
    return Tally(n_right=n_right, n_wrong=n_wrong)


def card(expert_id: str, skills: Mapping[str, Tally], *, exam: Tally | None = None) -> CompetenceCard:
    """A card whose total is the sum of its skills."""
    return CompetenceCard(
        expert_id=expert_id,
        fingerprint=expert_id,
        profile_hash="p",
        outcomes_hash="o",
        total=tally(
            int(sum(t.n_right for t in skills.values())), int(sum(t.n_wrong for t in skills.values()))
        ),
        skills=dict(skills),
        aggregation={} if exam is None else {"": exam},
    )


def deck(
    skills: Mapping[str, Mapping[str, Tally]], *, profile: Profile | None = None, seed: int = 0
) -> RouterContext:
    """A context in which every expert has a card; order of the mapping = order of the pool."""
    cards = {expert_id: card(expert_id, of_expert) for expert_id, of_expert in skills.items()}
    return RouterContext(cards=cards, profile=profile, expert_ids=tuple(skills), seed=seed)


def profile(outcomes: Mapping[str, Sequence[int]], points: Sequence[Sequence[float]]) -> Profile:
    """One embedding (of unit length) per question."""
    n = len(points)
    return Profile(
        expert_ids=tuple(outcomes),
        query_hashes=tuple(f"h{i}" for i in range(n)),
        texts=tuple(f"question {i}" for i in range(n)),
        skills=((),) * n,
        domains=("",) * n,
        outcomes=np.array(list(outcomes.values()), dtype=np.int8),
        embeddings=np.array(points, dtype=np.float32),
    )


def routing_input(
    question: str = "What is 2 + 2?",
    *,
    skills: Mapping[str, float] | None = None,
    embedding: Sequence[float] = (1.0, 0.0),
) -> RoutingInput:
    tags = tuple(SkillTag(name=name, weight=weight) for name, weight in (skills or {}).items())
    vector = np.array(embedding, dtype=np.float32)
    return RoutingInput(Query(id=question[:512], question=question), tags, vector)
