"""Settings: one YAML file in LiteLLM's form plus a `muster:` section, over it the environment.

Precedence: `MUSTER_…` variables (nested with `__`, e.g. `MUSTER_SERVER__PORT`), then the file, then
the defaults below. Unknown keys are refused with file, line and the nearest valid key.

Docstrings and descriptions here are the reference of the keys.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from orchestrator.settings.environment import ENV_PREFIX, NESTED, REFERENCE, KnownVariables, referred

_UNSET = re.compile(r"\$(\w+|\{[^}]*\})")


def _expanded(path: object) -> object:
    """A path with its `~` and `$VAR`."""
    if not isinstance(path, str):
        return path
    full = os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 -- what may be a hub id is no Path
    unset = _UNSET.search(full)
    if unset is not None:
        raise ValueError(f"environment variable {unset[1].strip('{}')} is not set; export it before starting")
    return full


UserPath = Annotated[Path, BeforeValidator(_expanded)]
PathOrName = Annotated[str, BeforeValidator(_expanded)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LitellmParams(Section):
    """Place of a model and how it is called; keys as in LiteLLM."""

    model: PathOrName = Field(min_length=1)
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
        if not isinstance(key, str) or not key.startswith(REFERENCE):
            return key
        value = referred(key)
        if value is None:
            raise ValueError(f"environment variable {key.removeprefix(REFERENCE)} is not set; export it")
        return value


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
    mode: Literal["chat", "completion", "responses"] = "chat"
    base_model: PathOrName | None = None
    input_cost_per_token: float = Field(default=0.0, ge=0)
    output_cost_per_token: float = Field(default=0.0, ge=0)
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

    num_retries: int = Field(default=2, ge=0, le=10)
    timeout: float | None = Field(default=None, gt=0)
    allowed_fails: int = Field(default=3, ge=0)
    cooldown_time: float = Field(default=30, ge=0)


class GeneralSettings(Section):
    """LiteLLM's section."""

    database_url: str | None = None


class EmbedderSettings(Section):
    """`minilm` (weights from a package, offline), `hash` (no model), or a directory or hub id."""

    model: PathOrName = "minilm"
    cache_size: int = Field(default=20_000, ge=0)


class SkillSettings(Section):
    """Annotation: how queries get their skills.

    `vocabulary`: `induced` from the profile questions, `builtin`, or a file with one skill a line.
    `floor`: smallest cosine similarity that still means the skill, in [0, 1]; `relative_floor`: share
    of the best skill's similarity that a further one needs.
    """

    annotator: Literal["embedding", "llm"] = "embedding"
    annotator_expert: str | None = None
    vocabulary: PathOrName = "induced"
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
    """Weight of users' feedback. `half_life_days`: an observation of that age counts half on the cards.

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
        env_prefix=ENV_PREFIX, env_nested_delimiter=NESTED, env_ignore_empty=True, extra="forbid", frozen=True
    )

    data_dir: UserPath = Path(".muster")
    database_url: str | None = None
    broker_url: str | None = None
    device: str = "auto"
    seed: int = 0
    profile_set: UserPath | None = None
    embedder: EmbedderSettings = EmbedderSettings()
    skills: SkillSettings = SkillSettings()
    compositions: dict[str, CompositionSettings] = Field(default_factory=dict)
    feedback: FeedbackSettings = FeedbackSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    server: ServerSettings = ServerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return KnownVariables(settings_cls), init_settings


class Settings(Section):
    """Everything a process is configured by.

    `base_dir`: what relative paths of the file refer to. `remarks`: what of the file and the environment
    does nothing, one line each.
    """

    model_list: tuple[Member, ...] = Field(min_length=1)
    router_settings: RouterSettings = RouterSettings()
    general_settings: GeneralSettings = GeneralSettings()
    muster: MusterSettings = Field(default_factory=MusterSettings)
    base_dir: Path = Path()
    source: str = ""
    remarks: tuple[str, ...] = ()

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
        """True if other processes do the work: a broker is configured."""
        return self.muster.broker_url is not None

    @property
    def database_url(self) -> str:
        configured = self.muster.database_url or self.general_settings.database_url
        return configured or f"sqlite:///{self.muster.data_dir / 'muster.sqlite3'}"
