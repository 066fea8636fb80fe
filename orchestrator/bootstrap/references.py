"""References of a configuration: names in it that must exist, and must not hide each other."""

from collections.abc import Collection, Iterator

from orchestrator.compositions.grading import GRADING, REGRADING
from orchestrator.compositions.roll_call import ANNOTATE, EXAM, ROLL_CALL
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.experts import Pool
from orchestrator.domain.names import EXPERT_PREFIX, ROUTE_PREFIX, composition_of
from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.prompts import EXPERT_STYLES, SYNTHESIZE_STYLES
from orchestrator.settings.load import raise_all
from orchestrator.settings.schema import CompositionSettings, Settings
from workers.backends.registry import get_backend

OF_PROFILING = (ROLL_CALL, EXAM, ANNOTATE, GRADING, REGRADING)
"""Compositions of jobs that measure."""


def check_references(settings: Settings, pool: Pool) -> None:
    """Names that the file refers to must exist; found at start, not at the first question.

    Raises:
        ConfigError: with all that do not, or that hide another.
    """
    raise_all(_reference_mistakes(settings, pool))


def _reference_mistakes(settings: Settings, pool: Pool) -> Iterator[ConfigError]:
    annotator = settings.muster.skills.annotator_expert
    if settings.muster.skills.annotator == "llm" and annotator not in pool.by_id:
        what = "is missing" if annotator is None else f"'{annotator}' is not in the pool"
        yield ConfigError(
            f"muster.skills.annotator_expert {what}.",
            file=settings.source,
            param="muster.skills.annotator_expert",
            remedy=f"Name one of: {', '.join(pool.by_id)}.",
        )
    yield from _wildcards(settings)
    yield from _unknown_names(settings, pool)
    yield from _hidden_compositions(settings)
    yield from _hidden_experts(settings, pool)
    yield from _unknown_experts(settings, pool)
    yield from _unknown_shadow(settings, pool)
    for name, spec in settings.muster.compositions.items():
        if _asks_model(spec) and not pool.aggregators:
            yield ConfigError(
                f"composition '{name}' synthesizes, but no member has the role 'aggregator'.",
                file=settings.source,
                param=f"muster.compositions.{name}.aggregator",
                remedy="Add `roles: [expert, aggregator]` to a member's model_info.muster.",
            )


def _wildcards(settings: Settings) -> Iterator[ConfigError]:
    """LiteLLM's `openai/*` stands for every model of a provider; experts are measured one by one."""
    for index, member in enumerate(settings.model_list):
        if "*" in member.model_name or "*" in member.litellm_params.model:
            yield ConfigError(
                f"'{member.model_name}' is a wildcard, and an expert is one model.",
                file=settings.source,
                param=f"model_list.{index}.model_name",
                remedy="List the models that may be asked, one by one.",
            )


def _unknown_names(settings: Settings, pool: Pool) -> Iterator[ConfigError]:
    """Backends and prompts of members that are in no table."""
    members = {member.model_name: index for index, member in enumerate(settings.model_list)}
    for expert in pool.experts:
        section = f"model_list.{members.get(expert.id, 0)}.model_info.muster"
        looks = (
            ("engine", lambda name=expert.engine.backend: get_backend(name)),
            ("prompt", lambda name=expert.prompt: EXPERT_STYLES.find(name)),
            ("synthesize_prompt", lambda name=expert.synthesize_prompt: SYNTHESIZE_STYLES.find(name)),
        )
        for key, look in looks:
            try:
                look()
            except UnknownNameError as error:
                yield ConfigError(f"{expert.id}: {error}", file=settings.source, param=f"{section}.{key}")


def _unknown_shadow(settings: Settings, pool: Pool) -> Iterator[ConfigError]:
    wanted, names = settings.muster.shadow.composition, {**STOCK_COMPOSITIONS, **settings.muster.compositions}
    try:
        if wanted is not None:
            composition_of(wanted, compositions=names, experts=pool.by_id, fusions=pool.fusions)
    except UnknownNameError as error:
        yield ConfigError(str(error), file=settings.source, param="muster.shadow.composition")


def _hidden_compositions(settings: Settings) -> Iterator[ConfigError]:
    """Names that jobs use on the books would never reach the composition of the file."""
    internal = (EXPERT_PREFIX, ROUTE_PREFIX)
    for name in settings.muster.compositions:
        if name.startswith(internal) or name in OF_PROFILING:
            yield ConfigError(
                f"composition '{name}' has a name that Muster uses itself.",
                file=settings.source,
                param=f"muster.compositions.{name}",
                remedy="Give it another name.",
            )


def _hidden_experts(settings: Settings, pool: Pool) -> Iterator[ConfigError]:
    """`model` of a request names a composition before an expert."""
    names = {*STOCK_COMPOSITIONS, *settings.muster.compositions}
    members = [member.model_name for member in settings.model_list]
    for expert in pool.experts:
        if _is_hidden(expert.id, names):
            place = members.index(expert.id) if expert.id in members else 0
            yield ConfigError(
                f"expert '{expert.id}' has the name of a composition and could not be asked by it.",
                file=settings.source,
                param=f"model_list.{place}.model_name",
                remedy="Give it another model_name.",
            )


def _is_hidden(expert_id: str, compositions: Collection[str]) -> bool:
    named = composition_of(expert_id, compositions=compositions, experts=(expert_id,))
    return named != EXPERT_PREFIX + expert_id


def _unknown_experts(settings: Settings, pool: Pool) -> Iterator[ConfigError]:
    answerers = [expert.id for expert in pool.answerers]
    for name, spec in settings.muster.compositions.items():
        unknown = sorted(set(spec.experts or ()).difference(answerers))
        if unknown:
            yield ConfigError(
                f"muster.compositions.{name}.experts: '{unknown[0]}' is no expert of the pool.",
                file=settings.source,
                param=f"muster.compositions.{name}.experts",
                remedy=f"Name some of: {', '.join(answerers)}.",
            )


def _asks_model(spec: CompositionSettings) -> bool:
    from aggregators.outputs import AGGREGATORS  # all of them: commands that only list experts need none

    row = AGGREGATORS.get(spec.aggregator)
    return row is not None and row.asks(spec.aggregator_options)
