"""The rows of a replay: compositions that are compared, by name."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.errors import ConfigError, InputError, UnknownNameError
from orchestrator.evaluation.comparison import AUTO, ORACLE
from orchestrator.routing import ROUTERS
from orchestrator.settings.schema import CompositionSettings

VERIFIER, PLAIN_AUTO = "auto_verifier", "auto_plain"
SELF_CONSISTENCY = "self_consistency"
"""A row only of sets that hold further samples."""

_UNSHRUNK = 1e-6
"""Pseudo-observations of the published methods, which take raw accuracies."""

_PAPER = {"k": 3, "score": "paper"}
PUBLISHED: Mapping[str, CompositionSettings] = {
    # Symbolic-MoE as its code does it: three draws with replacement, so fewer different experts, none of
    # them before another.
    "symbolic_paper": CompositionSettings(
        router="symbolic",
        router_options={**_PAPER, "selection": "sample", "replacement": True},
        aggregator="majority",
        aggregator_options={"ties": "random"},
    ),
    "paper_top_3": CompositionSettings(
        router="symbolic", router_options={**_PAPER, "selection": "top"}, aggregator="majority"
    ),
    "cluster": CompositionSettings(
        router="cluster",
        router_options={"k": 3, "n_clusters": 8, "prior_strength": _UNSHRUNK},
        aggregator="majority",
    ),
    "knn": CompositionSettings(
        router="knn",
        router_options={"k": 3, "n_neighbours": 100, "prior_strength": _UNSHRUNK},
        aggregator="majority",
    ),
}
"""Methods with the options that they were published with; reference figures are theirs."""

_THREE: dict[str, JsonValue] = {"k": 3, "first": 3}
OPEN_ROWS: Mapping[str, CompositionSettings] = {
    # The same three best experts, and ways to choose one of their answers.
    "ranker_3": CompositionSettings(
        router="graded", router_options=_THREE, aggregator="graded", aggregator_options={"guarded": False}
    ),
    "random_3": CompositionSettings(
        router="graded", router_options=_THREE, aggregator="graded", aggregator_options={"choose": "random"}
    ),
    "longest_3": CompositionSettings(
        router="graded", router_options=_THREE, aggregator="graded", aggregator_options={"choose": "longest"}
    ),
    "mbr_3": CompositionSettings(
        router="graded", router_options=_THREE, aggregator="mbr", aggregator_options={"compare": "words"}
    ),
    # One expert, by the grades of neighbours or of a cluster, as published: not shrunk.
    "knn": CompositionSettings(
        router="knn",
        router_options={"k": 1, "n_neighbours": 100, "prior_strength": _UNSHRUNK},
        aggregator="first",
    ),
    "cluster": CompositionSettings(
        router="cluster",
        router_options={"k": 1, "n_clusters": 8, "prior_strength": _UNSHRUNK},
        aggregator="first",
    ),
}
"""Rows of sets in which every question is open, in the place of those that vote."""

_STOCK = (AUTO, "best_single", "static_top_3", "random_3", "majority_all")
_NOT_PAIRED = frozenset(
    {"best_single", SELF_CONSISTENCY, "top_k", "static_top_3", "random", "all", "budget", "graded"}
)
"""Routers that have rows of their own, that mean nothing without an option, or that go by grades."""
_VOTES = ("majority", "weighted")
_ALL_AT_ONCE: Mapping[str, dict[str, JsonValue]] = {"posterior": {"k": 3, "first": 3}}
"""Options of routers that by default hold experts in reserve, which a plain vote would never ask."""


_NO_VOTE = frozenset({"first", "graded", "mbr"})
"""Aggregators that hand on one response, and so need no answers that can be counted."""

EVERY = "all"
_ALWAYS = frozenset({"posterior_majority"})


def _pairs() -> frozenset[str]:
    """Rows that take routers and votes apart: for those who ask for them."""
    crossed = {f"{router}_{vote}" for router in ROUTERS for vote in _VOTES}
    return frozenset(crossed | {"posterior_learned", "static_top_3_weighted", "weighted_all"}) - _ALWAYS


class Rows(NamedTuple):
    """
    Attributes:
        names: in the order of the report, `oracle` last if it is wanted.
        specs: what the others are.
        left_out: rows of the table that need votes, where no question has any.
    """

    names: tuple[str, ...]
    specs: Mapping[str, CompositionSettings]
    left_out: tuple[str, ...] = ()


def row_table(
    own: Mapping[str, CompositionSettings],
    *,
    verifier: bool = False,
    has_samples: bool = False,
    votes: bool = True,
) -> dict[str, CompositionSettings]:
    """Every composition that can be replayed: stock and published ones, each router of the table with each
    vote, and the user's own.

    Args:
        votes: False where every question is open: its rows are among the others, some in their place.

    Raises:
        ConfigError: `verifier` where there is no such composition.
    """
    table = {name: STOCK_COMPOSITIONS[name] for name in _STOCK}
    if verifier:
        table[AUTO], table[PLAIN_AUTO] = _with_verifier(own), table[AUTO]
    if has_samples:
        table[SELF_CONSISTENCY] = STOCK_COMPOSITIONS[SELF_CONSISTENCY]
    table.update(PUBLISHED)
    for router in ROUTERS:
        if router not in _NOT_PAIRED:
            table.update({f"{router}_{vote}": _default(router, vote) for vote in _VOTES})
    table["posterior_learned"] = _default("posterior", "learned")
    table["static_top_3_weighted"] = _default("static_top_3", "weighted")
    table["weighted_all"] = _default("all", "weighted")
    return {**table, **({} if votes else OPEN_ROWS), **own}


def choose(
    table: Mapping[str, CompositionSettings], wanted: Sequence[str] | None, *, votes: bool = True
) -> Rows:
    """Rows by name.

    Args:
        wanted: None = the compositions to choose between, the user's own among them; `all` = also every
            router with every vote.
        votes: False where every question is open: rows that need votes are left out, and refused by name.

    Raises:
        UnknownNameError: a row that is not in the table.
        InputError: a row that needs votes where there are none.
    """
    every = (*table, ORACLE)
    pairs = _pairs()
    names = tuple(dict.fromkeys(wanted)) if wanted else tuple(name for name in every if name not in pairs)
    by_name = bool(wanted) and names != (EVERY,)
    if names == (EVERY,):
        names = every
    for name in names:
        if name != ORACLE and name not in table:
            raise UnknownNameError("row", name, [*table, ORACLE], param="rows")
    voting = (name for name in names if name != ORACLE and _needs_votes(name, table[name]))
    lost = () if votes else tuple(voting)
    if lost and by_name:
        raise InputError(
            f"row '{lost[0]}' votes, and every question of this set is open: their answers have no votes.",
            param="rows",
            remedy="Leave it out.",
        )
    kept = tuple(name for name in names if name not in lost)
    return Rows(kept, {name: table[name] for name in kept if name != ORACLE}, lost)


def _needs_votes(name: str, spec: CompositionSettings) -> bool:
    """`auto` has a rule of its own for open questions."""
    return name != AUTO and spec.aggregator not in _NO_VOTE


def _default(router: str, aggregator: str) -> CompositionSettings:
    return CompositionSettings(
        router=router, router_options=_ALL_AT_ONCE.get(router, {}), aggregator=aggregator
    )


def _with_verifier(own: Mapping[str, CompositionSettings]) -> CompositionSettings:
    found = own.get(VERIFIER) or STOCK_COMPOSITIONS.get(VERIFIER)
    if found is None:
        raise ConfigError(
            f"there is no composition '{VERIFIER}'.",
            param="verifier",
            remedy=f"Define muster.compositions.{VERIFIER}, or replay without --verifier.",
        )
    return found
