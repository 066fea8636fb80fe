"""Comparison of compositions: what each row of one is, and a configuration in which ensembles combine plain
experts, so that the fused and merged ones of the pool are rows of their own."""

from collections.abc import Container, Sequence
from pathlib import Path

from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.experts import FUSION, Expert, Pool
from orchestrator.domain.names import EXPERT_PREFIX, PUBLIC_PREFIX, composition_of
from orchestrator.evaluation.compositions import Kind
from orchestrator.pool import build_pool
from orchestrator.settings.schema import CompositionSettings, Settings
from workers.backends.registry import SERVER_BACKENDS, features_of, parts_of
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.merging.work import RECORD
from workers.checkpoints.turns import rendering_of

ONE_EXPERT = frozenset({"best_single", "self_consistency"})
"""Routers that ask one expert, once or several times."""

ENSEMBLES = ("auto", "auto_k3", "static_top_3", "majority_all")
SINGLES = ("best_single", "self_consistency")


def expert_kind(expert: Expert, merged: Container[str] = ()) -> Kind:
    """`fusion` and `merge` by how an expert was made, else `single`.

    Args:
        merged: ids of experts that merges made and registered; others are known by the record beside their
            weights.
    """
    if expert.engine.backend == FUSION:
        return "fusion"
    weights = expert.adapter or expert.engine.model
    return "merge" if expert.id in merged or (Path(weights) / RECORD).is_file() else "single"


def row_kind(name: str, pool: Pool, settings: Settings, merged: Container[str] = ()) -> Kind:
    """The kind of a row by its name: a composition, or else an expert.

    Raises:
        UnknownNameError: it is neither.
    """
    specs = _specs(settings)
    composition = composition_of(name, compositions=specs, experts=pool.by_id)
    spec = specs.get(composition)
    if spec is None:
        return expert_kind(pool.by_id[composition.removeprefix(EXPERT_PREFIX)], merged)
    return "single" if spec.router in ONE_EXPERT else "ensemble"


def rows_of(pool: Pool, merged: Container[str] = ()) -> tuple[str, ...]:
    """The standard rows: singles, ensembles, and every fused or merged expert."""
    made = [expert.id for expert in pool.answerers if expert_kind(expert, merged) != "single"]
    return (*SINGLES, *_large(pool), *ENSEMBLES, *made)


def _large(pool: Pool) -> list[str]:
    """Members of the pool that are the large model of a fused expert: what the fusion starts from."""
    started = {e.engine.model for e in pool.answerers if expert_kind(e) == "fusion"}
    plain = [e for e in pool.answerers if expert_kind(e) == "single" and e.adapter is None]
    return [e.id for e in plain if e.engine.model in started]


def plain_ensembles(settings: Settings, names: Sequence[str] = (*SINGLES, *ENSEMBLES)) -> Settings:
    """The configuration in which these compositions recruit plain experts only, where they list none
    themselves. A pool without plain experts stays as it is.
    """
    pool = build_pool(
        settings,
        weights_hash=weights_hash,
        servers=SERVER_BACKENDS,
        parts=parts_of,
        features=features_of,
        renderings=rendering_of,
    )
    plain = tuple(e.id for e in pool.answerers if expert_kind(e) == "single")
    if not plain:
        return settings
    known = _specs(settings)
    asked = [name.removeprefix(PUBLIC_PREFIX) for name in names]
    restricted = {name: _with(known[name], plain) for name in asked if name in known}
    compositions = {**settings.muster.compositions, **restricted}
    return settings.model_copy(
        update={"muster": settings.muster.model_copy(update={"compositions": compositions})}
    )


def _with(spec: CompositionSettings, experts: Sequence[str]) -> CompositionSettings:
    return spec if spec.experts is not None else spec.model_copy(update={"experts": tuple(experts)})


def _specs(settings: Settings) -> dict[str, CompositionSettings]:
    return {**STOCK_COMPOSITIONS, **settings.muster.compositions}
