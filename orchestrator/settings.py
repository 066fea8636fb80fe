"""Settings: one YAML file in LiteLLM's form plus a `muster:` section, over it the environment.

Precedence: `MUSTER_…` variables (nested with `__`, e.g. `MUSTER_SERVER__PORT`), then the file, then
the defaults below. Unknown keys are refused with file, line and the nearest valid key.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from orchestrator.errors import ConfigError
from orchestrator.yaml_lines import Document, KeyPath, load_yaml

ENV_PREFIX = "MUSTER_"
OTHER_VARIABLES = frozenset(
    {
        "MUSTER_CONFIG",
        "MUSTER_REPLAY_DIR",
        "MUSTER_TEST_POSTGRES_URL",
        "MUSTER_VLLM_PYTHON",
        "MUSTER_ZOO_MODELS",
    }
)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LitellmParams(Section):
    """Where a model is and how it is called; keys as in LiteLLM."""

    model: str = Field(min_length=1)
    api_base: str | None = None
    api_key: SecretStr | None = None
    rpm: int | None = Field(default=None, gt=0)
    tpm: int | None = Field(default=None, gt=0)
    timeout: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)

    @field_validator("api_base")
    @classmethod
    def _no_credentials_in_url(cls, url: str | None) -> str | None:
        if url and (urlsplit(url).username or urlsplit(url).password):
            raise ValueError("api_base holds credentials; put them in api_key: os.environ/NAME")
        return url

    @field_validator("api_key", mode="before")
    @classmethod
    def _key_from_environment(cls, key: object) -> object:
        if not isinstance(key, str) or not key.startswith("os.environ/"):
            return key
        name = key.removeprefix("os.environ/")
        if not os.environ.get(name):
            raise ValueError(f"environment variable {name} is not set; export it before starting")
        return os.environ[name]


class MemberOptions(Section):
    """`model_info.muster`: how Muster runs this member of the pool.

    Without `engine`, a member with an `api_base` or `api_key` is `remote`, any other one runs
    in-process with `transformers`. Without `max_model_len`, the context of a `server` or `remote` member is
    left to its server.
    """

    engine: str = "transformers"
    adapter: Literal["lora"] | None = None
    roles: tuple[Literal["expert", "aggregator", "annotator"], ...] = ("expert",)
    prompt: str = "instruct"
    synthesize_prompt: str = "full"
    system_prompt: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    max_model_len: int = Field(default=4096, ge=16, le=10_000_000)
    chat_template: str | None = None
    revision: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)


class ModelInfo(Section):
    id: str | None = None
    mode: Literal["chat", "completion"] = "chat"
    base_model: str | None = None
    input_cost_per_token: float = Field(default=0.0, ge=0)
    output_cost_per_token: float = Field(default=0.0, ge=0)
    max_input_tokens: int | None = Field(default=None, gt=0)
    max_output_tokens: int | None = Field(default=None, gt=0)
    params_b: float | None = Field(default=None, gt=0)
    muster: MemberOptions = MemberOptions()


class Member(Section):
    """One row of `model_list`."""

    model_name: str = Field(min_length=1, max_length=256)
    litellm_params: LitellmParams
    model_info: ModelInfo = ModelInfo()


class RouterSettings(Section):
    """LiteLLM's section, accepted so that a file can be pasted; used by remote experts."""

    routing_strategy: str | None = None
    num_retries: int = Field(default=2, ge=0, le=10)
    timeout: float | None = Field(default=None, gt=0)
    allowed_fails: int = Field(default=3, ge=0)
    cooldown_time: float = Field(default=30, ge=0)
    fallbacks: list[dict[str, list[str]]] = Field(default_factory=list)
    context_window_fallbacks: list[dict[str, list[str]]] = Field(default_factory=list)


class GeneralSettings(Section):
    """LiteLLM's section."""

    master_key: SecretStr | None = None
    database_url: str | None = None


class EmbedderSettings(Section):
    """`minilm` (weights from a package, offline), `hash` (no model), or a directory or hub id."""

    model: str = "minilm"
    cache_size: int = Field(default=20_000, ge=0)


class SkillSettings(Section):
    """How queries get their skills.

    `vocabulary`: `induced` from the profile questions, `builtin`, or a file with one skill a line.
    `floor`: smallest cosine similarity that still means the skill, in [0, 1]; `relative_floor`: share
    of the best skill's similarity that a further one needs.
    """

    annotator: Literal["embedding", "llm"] = "embedding"
    annotator_expert: str | None = None
    vocabulary: str = "induced"
    n_induced: int | None = Field(default=None, ge=2, le=5000)
    floor: float = Field(default=0.25, ge=0, le=1)
    relative_floor: float = Field(default=0.85, ge=0, le=1)
    max_skills: int = Field(default=3, ge=1, le=10)
    match_floor: float = Field(default=0.4, ge=0, le=1)


class CompositionSettings(Section):
    """A named way to answer: who is recruited, and how their responses become one answer.

    `waves`: ask the router's reserves as long as these options say (`waves.WaveOptions`); None = ask the
    recruits only.
    `temperature`: of the recruits' sampling, unless a job sets its own; None = each expert's.
    `experts`: ids of those that may be recruited; None = every one of the pool that answers.
    `abstain_below`: an answer with less confidence is withheld; one that states none never is. None = never.
    """

    router: str
    router_options: dict[str, JsonValue] = Field(default_factory=dict)
    aggregator: str
    aggregator_options: dict[str, JsonValue] = Field(default_factory=dict)
    waves: dict[str, JsonValue] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    experts: tuple[str, ...] | None = Field(default=None, min_length=1)
    abstain_below: float | None = Field(default=None, ge=0, le=1)


class FeedbackSettings(Section):
    """How users' feedback counts. `half_life_days`: an observation of that age counts half on the cards.

    Drift is looked for in the last `window_days`, where at least `min_answers` were judged.
    """

    half_life_days: float = Field(default=30, gt=0, le=10_000)
    window_days: int = Field(default=7, ge=1, le=365)
    min_answers: int = Field(default=20, ge=1)


class SchedulerSettings(Section):
    """Times in seconds; see docs/decisions (0013) for the defaults.

    `max_resident`: engines that one device may hold at once, while its memory allows. What a worker held
    that died on another host is taken up after at most `lease_s` + `sweep_s`.
    """

    max_wait_s: float = Field(default=300, gt=0)
    lease_s: float = Field(default=15, ge=1, le=3600)
    shard_s: float = Field(default=5, gt=0, le=600)
    max_attempts: int = Field(default=3, ge=1, le=100)
    hang_timeout_s: float = Field(default=300, gt=0)
    max_resident: int = Field(default=1, ge=1, le=64)
    sweep_s: float = Field(default=5, gt=0, le=30)


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    request_timeout_s: float = Field(default=120, gt=0, le=86_400)
    max_body_bytes: int = Field(default=2_000_000, ge=1024, le=200_000_000)
    max_upload_bytes: int = Field(default=200_000_000, ge=1024, le=200_000_000)
    max_in_flight: int = Field(default=256, ge=1, le=100_000)


class MusterSettings(BaseSettings):
    """The `muster:` section and its environment variables."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data_dir: Path = Path(".muster")
    database_url: str | None = None
    broker_url: str | None = None
    device: str = "auto"
    seed: int = 0
    profile_set: Path | None = None
    embedder: EmbedderSettings = EmbedderSettings()
    skills: SkillSettings = SkillSettings()
    compositions: dict[str, CompositionSettings] = Field(default_factory=dict)
    feedback: FeedbackSettings = FeedbackSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    server: ServerSettings = ServerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- pydantic-settings calls by position
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings


class Settings(Section):
    """Everything a process is configured by. `base_dir` is what relative paths of the file refer to."""

    model_list: tuple[Member, ...] = Field(min_length=1)
    router_settings: RouterSettings = RouterSettings()
    general_settings: GeneralSettings = GeneralSettings()
    muster: MusterSettings = Field(default_factory=MusterSettings)
    base_dir: Path = Path()
    source: str = ""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        seen: set[str] = set()
        for member in self.model_list:
            if member.model_name in seen:
                raise ValueError(f"model_name '{member.model_name}' stands twice; rename one")
            seen.add(member.model_name)
        return self

    @property
    def is_stack(self) -> bool:
        """Whether other processes do the work: a broker is configured."""
        return self.muster.broker_url is not None

    @property
    def database_url(self) -> str:
        configured = self.muster.database_url or self.general_settings.database_url
        return configured or f"sqlite:///{self.muster.data_dir / 'muster.sqlite3'}"


def load_settings(path: Path) -> Settings:
    """Read, check and merge the file and the environment.

    Raises:
        ConfigError: with file, line, and the nearest valid key or what is wrong with the value.
    """
    document = load_yaml(path)
    _check_environment(os.environ)
    _refuse_shared_secrets(path, document)
    data: dict[str, object] = dict(document.data)
    try:
        section = data.pop("muster", None) or {}
        if not isinstance(section, dict):
            raise ConfigError(
                "`muster` must be a mapping.", file=str(path), line=document.line_of(("muster",))
            )
        muster = _validated_section(section, document, path)
        if "base_dir" in data or "source" in data:
            raise _unknown_key(("base_dir" if "base_dir" in data else "source",), Settings, document, path)
        return Settings.model_validate(
            {**data, "muster": muster, "base_dir": path.resolve().parent, "source": str(path)}
        )
    except ValidationError as error:
        raise _config_error(error, (), Settings, document, path) from error


def _validated_section(section: Mapping[str, JsonValue], document: Document, path: Path) -> MusterSettings:
    try:
        return MusterSettings(**section)  # type: ignore[arg-type]
    except ValidationError as error:
        raise _config_error(error, ("muster",), MusterSettings, document, path) from error


def _config_error(
    error: ValidationError, prefix: KeyPath, model: type[BaseModel], document: Document, path: Path
) -> ConfigError:
    first = error.errors(include_url=False, include_input=False)[0]
    inner = tuple(first["loc"])
    place: KeyPath = prefix + inner
    if first["type"] == "extra_forbidden":
        return _unknown_key(place, _model_at(model, inner[:-1]), document, path)
    in_file = document.line_of(place)
    if in_file is None and prefix:
        variable = ENV_PREFIX + "__".join(str(part).upper() for part in inner)
        return ConfigError(f"{variable}: {first['msg']}.", param=variable)
    key = ".".join(str(part) for part in place) or "file"
    if not place and "model_name" in first["msg"]:
        key = "model_list"
    if first["type"] in ("missing", "too_short") and place == ("model_list",):
        reason = "is missing" if first["type"] == "missing" else "has no member"
        message = f"the pool is empty: `model_list` {reason}. List at least one model."
        return ConfigError(message, file=str(path), line=in_file, param=key)
    return ConfigError(f"{key}: {_plain(first['msg'])}.", file=str(path), line=in_file, param=key)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def _unknown_key(
    place: KeyPath, model: type[BaseModel] | None, document: Document, path: Path
) -> ConfigError:
    key = str(place[-1])
    valid = sorted(set(model.model_fields) - {"base_dir", "source"}) if model else []
    near = get_close_matches(key, valid, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'?" if near else f"Valid here: {', '.join(valid)}."
    full = ".".join(str(part) for part in place)
    return ConfigError(
        f"unknown key '{full}'.", file=str(path), line=document.line_of(place), param=full, remedy=hint
    )


def _model_at(model: type[BaseModel], place: KeyPath) -> type[BaseModel] | None:
    """The section that the path leads to, through lists and optional sections."""
    current: type[BaseModel] | None = model
    for part in place:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = _section_of(field.annotation) if field else None
        if field is None and model is Settings and part == "muster":
            current = MusterSettings
    return current


def _section_of(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_of(inner)
        if found is not None:
            return found
    return None


def _check_environment(environment: Mapping[str, str]) -> None:
    """Refuse misspelt MUSTER_ variables: a setting that silently does nothing is worse than an error."""
    valid = set(_variables())
    for name in environment:
        if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES or name.upper() in valid:
            continue
        if name.upper().startswith(f"{ENV_PREFIX}COMPOSITIONS__"):
            continue
        near = get_close_matches(name, sorted(valid), n=1, cutoff=0.4)
        hint = f"Did you mean {near[0]}?" if near else "Unset it."
        raise ConfigError(f"unknown environment variable {name}.", param=name, remedy=hint)


def _variables() -> Iterable[str]:
    for name, field in MusterSettings.model_fields.items():
        variable = ENV_PREFIX + name.upper()
        yield variable
        section = _section_of(field.annotation)
        for inner in section.model_fields if section else ():
            yield f"{variable}__{inner.upper()}"


def _refuse_shared_secrets(path: Path, document: Document) -> None:
    """A file that holds a literal key must not be readable by everyone on the machine."""
    for index, member in enumerate(_members(document.data)):
        params = member.get("litellm_params")
        key = params.get("api_key") if isinstance(params, dict) else None
        if not isinstance(key, str) or key.startswith("os.environ/"):
            continue
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise ConfigError(
                "holds an api_key and other users can read it.",
                file=str(path),
                line=document.line_of(("model_list", index, "litellm_params", "api_key")),
                remedy="Use `api_key: os.environ/NAME`, or `chmod 600` the file.",
            )


def _members(data: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    members = data.get("model_list")
    return [m for m in members if isinstance(m, dict)] if isinstance(members, list) else []
