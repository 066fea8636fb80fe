"""Checks of a configuration and of what a question needs to be answered."""

from typing import TYPE_CHECKING, NamedTuple

from aggregators.outputs import AGGREGATORS
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.experts import Pool
from orchestrator.domain.values import content_hash
from orchestrator.errors import ConfigError
from orchestrator.settings.schema import CompositionSettings, Settings
from workers.backends.registry import get_backend

if TYPE_CHECKING:
    pass

DISPENSABLE = frozenset({"broker", "workers"})
"""Checks of the stack that may fail while questions are still taken."""


class Diagnosis(NamedTuple):
    """One check of `muster doctor` and `/health/ready`. One that is not `required` costs speed only."""

    check: str
    ok: bool
    detail: str
    remedy: str | None = None
    required: bool = True


def config_hash(settings: Settings, pool: Pool) -> str:
    """Identity of what answers depend on: the pool and the compositions, not ports or paths."""
    muster = settings.muster.model_dump(mode="json", include={"skills", "compositions", "embedder", "seed"})
    return content_hash([pool.fingerprint, muster])


def get_backend_name(name: str) -> str:
    get_backend(name)
    return name


def _check_references(settings: Settings, pool: Pool) -> None:
    """Names that the file refers to must exist; found at start, not at the first question."""
    annotator = settings.muster.skills.annotator_expert
    if settings.muster.skills.annotator == "llm" and annotator not in pool.by_id:
        raise ConfigError(
            f"muster.skills.annotator_expert '{annotator}' is not in the pool.",
            file=settings.source,
            remedy=f"Name one of: {', '.join(pool.by_id)}.",
        )
    for engine in pool.engines.values():
        get_backend(engine.backend)
    _check_names(settings, pool)
    _check_allowed(settings, pool)
    synthesized = [name for name, spec in settings.muster.compositions.items() if _asks_model(spec)]
    if synthesized and not pool.aggregators:
        raise ConfigError(
            f"composition '{synthesized[0]}' synthesizes, but no member has the role 'aggregator'.",
            file=settings.source,
            remedy="Add `roles: [expert, aggregator]` to a member's model_info.muster.",
        )


def _check_names(settings: Settings, pool: Pool) -> None:
    """`model` of a request names a composition before an expert."""
    taken = {*STOCK_COMPOSITIONS, *settings.muster.compositions}
    hidden = next((expert.id for expert in pool.experts if expert.id in taken), None)
    if hidden is not None:
        raise ConfigError(
            f"expert '{hidden}' has the name of a composition and could not be asked by it.",
            file=settings.source,
            param="model_name",
            remedy="Give it another model_name.",
        )


def _check_allowed(settings: Settings, pool: Pool) -> None:
    answerers = [expert.id for expert in pool.answerers]
    for name, spec in settings.muster.compositions.items():
        unknown = sorted(set(spec.experts or ()).difference(answerers))
        if unknown:
            raise ConfigError(
                f"muster.compositions.{name}.experts: '{unknown[0]}' is no expert of the pool.",
                file=settings.source,
                param=f"muster.compositions.{name}.experts",
                remedy=f"Name some of: {', '.join(answerers)}.",
            )


def _asks_model(spec: CompositionSettings) -> bool:
    row = AGGREGATORS.get(spec.aggregator)
    return row is not None and row.asks_model
