"""The compositions that every pool has."""

from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.domain.names import OPEN
from orchestrator.settings.schema import CompositionSettings


def _asking(aggregator: str, *, k: int = 3, **options: JsonValue) -> CompositionSettings:
    """A composition whose aggregator may ask for more; for any pool, measured or not."""
    return CompositionSettings(
        router="symbolic",
        router_options={"k": k, "selection": "top", "score": "posterior"},
        aggregator=aggregator,
        aggregator_options=options,
    )


STOCK_COMPOSITIONS: Mapping[str, CompositionSettings] = {
    # What pays and what does not: docs/decisions/0012.
    "auto": CompositionSettings(router="posterior", aggregator="learned", waves={}),
    # Equally good experts in one order for all questions: fewer loads in batches (docs/decisions/0016).
    "auto_few_loads": CompositionSettings(
        router="posterior", router_options={"within": 0.05}, aggregator="learned", waves={}
    ),
    # The same three at once: fewest loads, more calls.
    "auto_k3": CompositionSettings(
        router="posterior", router_options={"k": 3, "first": 3}, aggregator="learned"
    ),
    # Reading the texts pays where the profile is large: docs/decisions/0015.
    "auto_verifier": CompositionSettings(
        router="posterior",
        aggregator="verifiers",
        waves={"confidence": 0.4, "lookahead_share": 1.0},
    ),
    "posterior": CompositionSettings(
        router="posterior", router_options={"k": 3, "first": 3}, aggregator="majority"
    ),
    "symbolic": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "sample", "replacement": True, "score": "paper"},
        aggregator="synthesize",
    ),
    "synthesize": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "top", "score": "posterior"},
        aggregator="synthesize",
    ),
    "knn": CompositionSettings(router="knn", router_options={"k": 3}, aggregator="majority"),
    "skills": CompositionSettings(
        router="symbolic",
        router_options={"k": 3, "selection": "top", "score": "posterior"},
        aggregator="weighted",
    ),
    "cluster": CompositionSettings(router="cluster", router_options={"k": 3}, aggregator="majority"),
    "category": CompositionSettings(router="category", router_options={"k": 3}, aggregator="majority"),
    "centroid": CompositionSettings(router="centroid", router_options={"k": 3}, aggregator="majority"),
    "kshot": CompositionSettings(router="kshot", router_options={"k": 3}, aggregator="majority"),
    "best_single": CompositionSettings(router="best_single", aggregator="first"),
    "static_top_3": CompositionSettings(router="static_top_3", aggregator="majority"),
    "random_3": CompositionSettings(router="random", router_options={"k": 3}, aggregator="majority"),
    "self_consistency": CompositionSettings(
        router="self_consistency", router_options={"k": 3}, aggregator="majority", temperature=0.7
    ),
    "majority_all": CompositionSettings(router="all", aggregator="majority"),
    # Every open question that would have been voted on: docs/open.md.
    OPEN: CompositionSettings(router="graded", aggregator="graded"),
    # Offered, and none is default: docs/aggregators.md.
    "judge": _asking("judge"),
    "open_judge": CompositionSettings(
        router="graded", router_options={"k": 3, "first": 3}, aggregator="judge"
    ),
    "ranker": _asking("ranker"),
    "weak_verifiers": _asking("weak_verifiers"),
    "debate": _asking("debate"),
    "debate_mutual": _asking("debate", protocol="mutual"),
    "moa": _asking("moa"),
    "conductor": _asking("conductor"),
    "choice_shuffle": _asking("choice_shuffle", k=1),
    "stability": _asking("stability"),
    "mbr": _asking("mbr"),
    "cascade": _asking("cascade", k=5),
}
