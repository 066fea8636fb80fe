"""From settings to the pool: members become experts, equal base weights become one engine."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import JsonValue, SecretStr

from orchestrator.domain.experts import LONGEST_CONTEXT, EngineSpec, Expert, ExpertRole, Pool, ThoughtMarks
from orchestrator.domain.features import NO_FEATURES, RENDERS_ALL, Feature, Rendering
from orchestrator.domain.values import content_hash
from orchestrator.errors import ConfigError
from orchestrator.runtime.files import barred
from orchestrator.settings.litellm_keys import PROVIDERS
from orchestrator.settings.members import Member, MemberOptions
from orchestrator.settings.schema import Settings

N = TypeVar("N", int, float)

WeightsHash = Callable[[str, str | None], str]
"""(model, adapter) to a content identity of the weights; a model that cannot be read gives ""."""


class EngineAccess(NamedTuple):
    """Access to an engine that is a server. It may hold a secret and says nothing about the
    weights, so it stands beside the pool, not in it: never hashed, stored or logged.

    Attributes:
        api_base: URL of its API; None = the provider's own.
        rpm, tpm: requests and tokens a minute that may be sent; None = no limit.
        timeout_s: longest single call; None = the backend's default.
        retries: attempts after the first one, for transient failures.
        allowed_fails: outages in a row before the engine is left alone for `cooldown_s`.
        priced: the pool file states what tokens cost.
    """

    api_base: str | None = None
    api_key: SecretStr | None = None
    rpm: int | None = None
    tpm: int | None = None
    timeout_s: float | None = None
    retries: int = 2
    allowed_fails: int = 3
    cooldown_s: float = 30.0
    priced: bool = False


class EnginePart(NamedTuple):
    """Weights that an engine holds beside its own: a folder, or a hub id, and a LoRA directory over them."""

    model: str
    adapter: str | None = None
    revision: str | None = None


Parts = Callable[[str, Mapping[str, JsonValue]], Sequence[EnginePart]]
"""(backend, options) to the parts that the options name, as they are written."""


def no_parts(backend: str, options: Mapping[str, JsonValue]) -> Sequence[EnginePart]:
    """Parts of engines that hold one model each."""
    del backend, options
    return ()


Features = Callable[[str, Mapping[str, JsonValue]], frozenset[Feature]]
"""(backend, options) to what engines can do beside plain text."""


def no_features(backend: str, options: Mapping[str, JsonValue]) -> frozenset[Feature]:
    """Features of engines that write plain text."""
    del backend, options
    return NO_FEATURES


Renderings = Callable[[EngineSpec], Rendering]
"""Engines to the conversations that their models' chat templates render."""


def renders_all(engine: EngineSpec) -> Rendering:
    """Rendering of engines of which nothing is known."""
    del engine
    return RENDERS_ALL


TEMPLATE_ENDINGS = frozenset({".jinja", ".jinja2", ".j2", ".txt", ".json"})
ENGINE_DIGITS = 8
"""Of the identity of weights, in the names of merged experts' engines."""

LOCAL = EngineAccess()
"""Of an engine for which the pool file says nothing."""


def build_pool(
    settings: Settings,
    *,
    weights_hash: WeightsHash,
    servers: Container[str],
    parts: Parts = no_parts,
    features: Features = no_features,
    renderings: Renderings = renders_all,
) -> Pool:
    """Experts in file order. A member with `adapter: lora` shares the engine of its `base_model`.

    Args:
        servers: backends whose engines are servers: only these know their context.
        parts: of engines that hold several models.
        features: of engines, beside plain text.
        renderings: of engines that run here.

    Raises:
        ConfigError: a LoRA member without base model, a chat template that is not there, or a pool in which
            nobody answers.
    """
    engines: dict[str, Homed] = {}
    means = Means(weights_hash, servers, parts, features, renderings)
    experts = tuple(_expert(member, settings, means, engines) for member in settings.model_list)
    pool = Pool(experts=experts)
    if not pool.answerers:
        raise ConfigError(
            "no member of the pool may answer.",
            file=settings.source,
            remedy="Give at least one member the role 'expert'.",
        )
    return pool


def merged_member(
    member: Member,
    settings: Settings,
    *,
    weights_hash: WeightsHash,
    servers: Container[str],
    parts: Parts,
    features: Features = no_features,
    renderings: Renderings = renders_all,
) -> Expert:
    """The expert of a member that a merge made: its engine is its own, and named by its weights.

    So all processes call the engine alike, whatever else they have loaded, and other weights under the same
    name are another engine.

    Args:
        settings: they hold the member.

    Raises:
        ConfigError: a LoRA member without base model.
    """
    expert = _expert(member, settings, Means(weights_hash, servers, parts, features, renderings), {})
    weights = expert.weights_hash or content_hash([expert.engine.model, expert.adapter])
    engine = expert.engine.replaced(id=f"{member.model_name}@{weights[:ENGINE_DIGITS]}")
    return expert.replaced(engine=engine)


def engine_access(settings: Settings, pool: Pool) -> dict[str, EngineAccess]:
    """Access to each engine, by its id. Limits of a shared engine: the lowest of its members'."""
    members: dict[str, list[Member]] = {}
    for member in settings.model_list:
        members.setdefault(pool.by_id[member.model_name].engine.id, []).append(member)
    return {engine_id: _access(sharing, settings) for engine_id, sharing in members.items()}


def _access(members: list[Member], settings: Settings) -> EngineAccess:
    params = [member.litellm_params for member in members]
    router = settings.router_settings
    return EngineAccess(
        api_base=params[0].api_base,
        api_key=params[0].api_key,
        rpm=_lowest(p.rpm for p in params),
        tpm=_lowest(p.tpm for p in params),
        timeout_s=_lowest(p.timeout for p in params) or router.timeout,
        retries=router.num_retries,
        allowed_fails=router.allowed_fails,
        cooldown_s=router.cooldown_time,
        priced=any(m.model_info.input_cost_per_token or m.model_info.output_cost_per_token for m in members),
    )


def _lowest(limits: Iterable[N | None]) -> N | None:
    return min((limit for limit in limits if limit is not None), default=None)


class Homed(NamedTuple):
    """An engine and where it runs: the same weights at two addresses are two engines."""

    spec: EngineSpec
    api_base: str | None
    api_key: SecretStr | None


class Means(NamedTuple):
    """Means of finding out about members what their rows do not say; as `build_pool` is given them."""

    weights_hash: WeightsHash
    servers: Container[str]
    parts: Parts
    features: Features
    renderings: Renderings


def _features(member: Member, means: Means, rendering: Rendering) -> frozenset[Feature]:
    """Features of a member's engine, as far as its model has them, too."""
    info, backend = member.model_info, backend_of(member)
    prefills = info.supports_assistant_prefill if rendering.prefill else False
    model = {
        Feature.TOOLS: info.supports_function_calling,
        Feature.REASONING_EFFORT: info.supports_reasoning,
        Feature.STRUCTURED_OUTPUT: info.supports_response_schema is not False,
        Feature.PREFILL: backend not in means.servers if prefills is None else prefills,
    }
    able = means.features(backend, info.muster.options)
    return frozenset(feature for feature in able if model.get(feature, True))


def _expert(member: Member, settings: Settings, means: Means, engines: dict[str, Homed]) -> Expert:
    weights_hash, servers, parts, *_ = means
    info, params = member.model_info, member.litellm_params
    is_lora = info.muster.adapter == "lora"
    if is_lora and not info.base_model:
        raise ConfigError(
            f"'{member.model_name}' is a LoRA adapter without base_model.",
            file=settings.source,
            param=f"model_list.{settings.model_list.index(member)}.model_info",
            remedy="Name the base weights in model_info.base_model.",
        )
    model = locate(params.model, settings.base_dir)
    base = locate(info.base_model, settings.base_dir) if is_lora and info.base_model else model
    held = parts(backend_of(member), info.muster.options)
    places = _places(held, settings.base_dir)
    template = _template(member, settings)
    home = Homed(
        _engine_spec(member, base, servers, places, template=template), params.api_base, params.api_key
    )
    rendering = means.renderings(home.spec) if params.api_base is None else RENDERS_ALL
    spec = _shared_engine(home, engines).spec
    adapter = model if is_lora else None
    return Expert(
        id=member.model_name,
        engine=spec,
        adapter=adapter,
        roles=frozenset(ExpertRole(role) for role in info.muster.roles),
        prompt=info.muster.prompt,
        synthesize_prompt=info.muster.synthesize_prompt,
        system_prompt=info.muster.system_prompt,
        max_tokens=params.max_tokens or info.max_output_tokens or Expert.model_fields["max_tokens"].default,
        most_tokens=params.max_tokens or info.max_output_tokens,
        temperature=params.temperature or 0.0,
        features=_features(member, means, rendering),
        takes_assistant_first=rendering.assistant_first,
        input_cost_per_token=info.input_cost_per_token,
        output_cost_per_token=info.output_cost_per_token,
        params_b=info.params_b,
        weights_hash=_identity(
            [weights_hash(base, adapter)]
            + [
                weights_hash(places[part.model], places[part.adapter] if part.adapter else None)
                for part in held
            ]
        ),
    )


def _identity(hashes: Sequence[str]) -> str:
    """Of all weights of an engine; "" where one has none."""
    if len(hashes) == 1:
        return hashes[0]
    return content_hash(list(hashes)) if all(hashes) else ""


def _places(parts: Iterable[EnginePart], base_dir: Path) -> dict[str, str]:
    """Where parts lie, by their names in the file."""
    names = (name for part in parts for name in (part.model, part.adapter) if name is not None)
    return {name: locate(name, base_dir) for name in names}


def _template(member: Member, settings: Settings) -> str | None:
    """The chat template that a member names: the text of a file, else as it is written.

    Raises:
        ConfigError: a file that is not there, or cannot be read.
    """
    named = member.model_info.muster.chat_template
    if named is None or "{" in named:
        return named
    path = settings.base_dir / Path(named).expanduser()
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8")
        if "/" not in named and path.suffix.lower() not in TEMPLATE_ENDINGS:
            return named  # of one of the model's own templates
        reason = "there is no such file"
    except (OSError, ValueError) as error:
        reason = str(error)
    place = settings.model_list.index(member)
    raise ConfigError(
        f"'{member.model_name}': the chat template '{named[:200]}' cannot be read: {reason}.",
        file=settings.source,
        param=f"model_list.{place}.model_info.muster.chat_template",
        remedy="Write a Jinja text, a path, or the name of one of the model's templates.",
    )


def _engine_spec(
    member: Member, base: str, servers: Container[str], places: dict[str, str], *, template: str | None
) -> EngineSpec:
    """The member's engine; one that holds several models is called as the member is."""
    options, backend = member.model_info.muster, backend_of(member)
    return EngineSpec(
        id=member.model_name if places else Path(base).name or base,
        backend=backend,
        model=base,
        revision=options.revision,
        dtype=options.dtype,
        max_model_len=_max_model_len(options, is_server=backend in servers),
        tensor_parallel_size=options.tensor_parallel_size,
        memory_gib=options.gpu_memory_gib,
        chat_template=template,
        options=options.options,
        members=places,
        reasoning=options.reasoning and ThoughtMarks(**options.reasoning.model_dump()),
    )


def backend_of(member: Member) -> str:
    """As configured; a row in LiteLLM's own form that says where the model is, or whose, is a remote one."""
    options, params = member.model_info.muster, member.litellm_params
    provider, _, name = params.model.partition("/")
    is_of_provider = name != "" and provider in PROVIDERS
    is_elsewhere = params.api_base is not None or params.api_key is not None or is_of_provider
    return "remote" if is_elsewhere and "engine" not in options.model_fields_set else options.engine


def _max_model_len(options: MemberOptions, *, is_server: bool) -> int:
    """As configured; unless the file says, only its server knows the context of a model that it serves."""
    is_unknown = is_server and "max_model_len" not in options.model_fields_set
    return LONGEST_CONTEXT if is_unknown else options.max_model_len


def _shared_engine(home: Homed, engines: dict[str, Homed]) -> Homed:
    """The engine with these weights, options and address that is there already, or this one under a
    free id."""
    for known in engines.values():
        if known._replace(spec=known.spec.model_copy(update={"id": home.spec.id})) == home:
            return known
    name, number = home.spec.id, 2
    while name in engines:
        name, number = f"{home.spec.id}-{number}", number + 1
    engines[name] = home._replace(spec=home.spec.model_copy(update={"id": name}))
    return engines[name]


def locate(model: str, base_dir: Path) -> str:
    """An existing directory relative to the file, made absolute, also one that may not be looked into;
    otherwise the hub id as written."""
    here = base_dir / model
    if barred(here) is not None:
        return str(here.absolute())
    return str(here.resolve()) if here.exists() else model
