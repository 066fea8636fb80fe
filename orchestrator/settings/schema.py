"""Settings: one YAML file in LiteLLM's form plus a `muster:` section, over it the environment.

Precedence: `MUSTER_…` variables (nested with `__`, e.g. `MUSTER_SERVER__PORT`), then the file, then
the defaults below. Unknown keys are refused with file, line and the nearest valid key.

Docstrings and descriptions here are what docs/configuration.md says of a key: `settings.reference`.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from orchestrator.redaction import redact
from orchestrator.settings.environment import ENV_PREFIX, NESTED, KnownVariables
from orchestrator.settings.members import Member
from orchestrator.settings.section import PathOrName, SecretUrl, Section, UserPath
from orchestrator.settings.shots import ShotSettings


class RouterSettings(Section):
    """LiteLLM's section, accepted so that a file can be pasted; used by remote experts."""

    num_retries: int = Field(default=2, ge=0, le=10)
    """Attempts after the first one, for failures that pass."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of one call, where the member says nothing."""
    allowed_fails: int = Field(default=3, ge=0)
    """Outages in a row before an engine is left alone."""
    cooldown_time: float = Field(default=30, ge=0)
    """For how many seconds it is left alone."""


class GeneralSettings(Section):
    """LiteLLM's section."""

    database_url: SecretUrl | None = None
    """Used where `muster.database_url` is not set."""


class EmbedderSettings(Section):
    """`minilm` (weights from a package, offline), `hash` (no model), or a directory or hub id."""

    model: PathOrName = "minilm"
    """`minilm` (weights from a package, offline), `hash` (no model), or a directory or hub id."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit, tag or branch of a hub id, which needs one; a branch moves, and vectors with it."""
    cache_size: int = Field(default=20_000, ge=0)
    """Texts whose vectors are kept in memory."""


class SkillSettings(Section):
    """Annotation: how queries get their skills.

    `vocabulary`: `induced` from the profile questions, `builtin`, or a file with one skill a line.
    `floor`: smallest cosine similarity that still means the skill, in [0, 1]; `relative_floor`: share
    of the best skill's similarity that a further one needs.
    """

    annotator: Literal["embedding", "llm"] = "embedding"
    """Annotator that names the skills of a question: `embedding` (the nearest of the vocabulary) or `llm`."""
    annotator_expert: str | None = None
    """The member that annotates, for `llm`."""
    vocabulary: PathOrName = "induced"
    """`induced` from the profile questions, `builtin`, or a file with one skill a line."""
    n_induced: int | None = Field(default=None, ge=2, le=5000)
    """Skills to induce. None = by the number of questions."""
    floor: float = Field(default=0.25, ge=0, le=1)
    """Smallest cosine similarity that still means the skill."""
    relative_floor: float = Field(default=0.85, ge=0, le=1)
    """Share of the best skill's similarity that a further one needs."""
    max_skills: int = Field(default=3, ge=1, le=10)
    """Most skills of one question."""
    match_floor: float = Field(default=0.4, ge=0, le=1)
    """Similarity from which a free name of the `llm` annotator is one of the cards'."""


class GradingSettings(Section):
    """Grading: what the sandbox of code answers must have."""

    isolation: Literal["required", "available"] = "required"
    """`available` grades code although layers of the sandbox are missing: what they stop is then open."""


class CompositionSettings(Section):
    """A named way to answer: who is recruited, and how their responses become one answer.

    `waves`: ask the router's reserves as long as these options say (`waves.WaveOptions`); None = ask the
    recruits only.
    `temperature`: of the recruits' sampling, unless a job sets its own; None = each expert's.
    `experts`: ids of those that may be recruited; None = every one of the pool that answers.
    `abstain_below`: an answer with less confidence is withheld; one that states none never is. None = never.
    `answer_floor`: votes with less confidence are set aside: the best expert that was asked answers.
    """

    router: str
    """Router that recruits; docs/routers.md lists the routers and their options."""
    router_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the router."""
    aggregator: str
    """Aggregator that makes one answer of the responses; docs/aggregators.md lists the aggregators and their
    options."""
    aggregator_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the aggregator."""
    waves: dict[str, JsonValue] | None = None
    """Ask the router's reserves as long as these options say. None = ask the recruits only."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Temperature of the recruits' sampling, unless a job sets its own. None = each expert's."""
    experts: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Ids of those that may be recruited. None = every one of the pool that answers."""
    mixture: str | None = None
    """Member that answers in the recruits' place: its model is a store by `twin` (docs/merging.md), and the
    recruits' adapters are composed by their weights; or it is a fusion by `upscale` or `average`
    (docs/fusion.md), and their weights are the strengths of its members. None = the recruits are asked."""
    abstain_below: float | None = Field(default=None, ge=0, le=1)
    """An answer with less confidence is withheld; one that states none never is. None = never."""
    shots: ShotSettings | None = None
    """Solved questions that each expert is shown before the one that it is asked. None = none."""
    answer_floor: float | None = Field(default=None, ge=0, le=1)
    """Votes with less confidence are set aside: the best expert that was asked answers, and a note says that
    nobody is known to be good at this. None = a tenth of the accuracy of the profile's best expert; 0 = not
    at all."""


class FeedbackSettings(Section):
    """Weight of users' feedback. `half_life_days`: an observation of that age counts half on the cards.

    Drift is looked for in the last `window_days`, where at least `min_answers` were judged.
    """

    half_life_days: float = Field(default=30, gt=0, le=10_000)
    """A judgement of that age counts half on the cards."""
    window_days: int = Field(default=7, ge=1, le=365)
    """Drift is looked for in these last days."""
    min_answers: int = Field(default=20, ge=1)
    """Judged answers in the window, before drift is spoken of."""


class RetentionSettings(Section):
    """Retention: days after its end for which a job is kept, with its questions, prompts, responses, answers
    and feedback. None = until a person deletes it."""

    question_days: float | None = Field(default=30, gt=0, le=36_500)
    """Single questions, and dry runs of routing."""
    batch_days: float | None = Field(default=None, gt=0, le=36_500)
    """Question sets, those of profiles included."""
    file_days: float | None = Field(default=30, gt=0, le=36_500)
    """Files at `/v1/files` that do not say themselves for how long; from their upload, or their writing."""
    idempotency_hours: float = Field(default=24, gt=0, le=8760)
    """Hours after its beginning for which a request with an `Idempotency-Key` is known, with its reply."""


class MergesSettings(Section):
    """Merges. Those over REST are off unless both `read` and `write` are set. They need a key with the
    scope `admin`; where no key was made, whoever may call the server may fill the folder `write`."""

    held_out: UserPath | None = None
    """Labelled questions, relative to this file, on which a merge is compared with its parents. Without it, a
    half of `profile_set` is held out for that."""
    read: tuple[UserPath, ...] = ()
    """Folders below which recipes may name models, relative to this file."""
    write: UserPath | None = None
    """Folder in which results appear, relative to this file; recipes may name what is in it, too."""
    max_live: int = Field(default=4, ge=1, le=100)
    """Merges that may wait or run at once; further ones get 429."""
    max_gib: float = Field(default=200, gt=0)
    """Most GiB in `write`: with as many there, nothing new is merged."""


class SchedulerSettings(Section):
    """Times in seconds; see docs/decisions (0013) for the defaults.

    What a worker held that died on another host is taken up after at most `lease_s` + `sweep_s`.
    """

    max_wait_s: float = Field(default=300, gt=0)
    """Seconds that waiting work of another engine may be passed over."""
    lease_s: float = Field(default=15, ge=1, le=3600)
    """Seconds for which a worker holds what it took, unless it renews it."""
    shard_s: float = Field(default=5, gt=0, le=600)
    """Seconds of work taken at once."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Times that a call is taken before it fails."""
    engine_down_s: float = Field(default=3600, gt=0)
    """Seconds that batch work waits for an engine that no worker can serve, before it fails."""
    engine_down_interactive_s: float = Field(default=10, gt=0)
    """Seconds of that after which a question goes on without the engine."""
    interactive_wait_s: float = Field(default=10, gt=0)
    """Seconds that a question waits for a batch on the device, before that is put back."""
    hang_timeout_s: float = Field(default=300, gt=0)
    """Seconds without a token after which an engine is started anew."""
    max_resident: int | None = Field(default=None, ge=1, le=64)
    """Engines that one device may hold at once, while memory allows. None = as many as are known to fit."""
    memory_gib: float | None = Field(default=None, gt=0)
    """Memory that the engines of one device may take together. None = what the device has."""
    read_ahead: bool = True
    """Whether weights of the next engine are read into the page cache while another one works."""
    sweep_s: float = Field(default=5, gt=0, le=30)
    """Seconds between looks for workers that died."""


def _host_name(name: str) -> str:
    if name != "*" and (not name.strip() or any(c in "/@?# " for c in name)):
        raise ValueError("is no name of a host; write it without scheme and path")
    return name.lower()


def _origin(origin: str) -> str:
    """As browsers write it."""
    if origin == "*":
        return origin
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("is no origin; write https://name or https://name:port")
    return f"{parts.scheme}://{parts.netloc}".lower()


HostName = Annotated[str, AfterValidator(_host_name)]
Origin = Annotated[str, AfterValidator(_origin)]


class ServerSettings(Section):
    host: str = "127.0.0.1"
    """Address to listen on. Another than the loopback's needs a key to exist (`muster keys create`)."""
    port: int = Field(default=8321, ge=0, le=65535)
    """0 = any free one."""
    request_timeout_s: float = Field(default=120, gt=0, le=86_400)
    """Most seconds that a request may wait; `muster.timeout_s` of a request may be shorter."""
    max_body_bytes: int = Field(default=2_000_000, ge=1024, le=200_000_000)
    """Largest request."""
    max_upload_bytes: int = Field(default=200_000_000, ge=1024, le=200_000_000)
    """Largest question set at `/v1/jobs`."""
    max_in_flight: int = Field(default=256, ge=1, le=100_000)
    """Questions that are answered at once, and as many look-ups; further ones wait."""
    max_queued: int = Field(default=1024, ge=0, le=100_000)
    """Questions that wait for their place, in order, and as many look-ups; further ones get 429 with a
    `Retry-After` by the measured rate of answers."""
    max_wait_s: float = Field(default=60, ge=0, le=86_400)
    """Most seconds of that; `muster.max_wait_s` of a request may be shorter."""
    max_streams: int = Field(default=2048, ge=1, le=100_000)
    """Event streams of jobs at once; further ones get 429."""
    max_uploads: int = Field(default=8, ge=1, le=1000)
    """Question sets that come in at once, each on disk until it is stored; further ones wait."""
    max_connections: int = Field(default=4096, ge=8, le=1_000_000)
    """Connections at once; for a further one, that which has said nothing for longest is closed."""
    header_timeout_s: float = Field(default=10, gt=0, le=3600)
    """Seconds in which the head of a request must have come."""
    body_timeout_s: float = Field(default=30, gt=0, le=3600)
    """Seconds in which a body must have come, and longest pause in it; at 16 KiB/s it has more. Also the
    longest pause of a client that reads its response."""
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    """Fields of a chat request that nobody knows: `refuse`, or `ignore` those that are no slip of a known
    name; a response names what it ignored."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Names under which the server may be called, beside the loopback's and its own address, without ports;
    `*` = any, which lets pages of any site use it by a name of their own."""
    allowed_origins: tuple[Origin, ...] = ()
    """Origins (`https://name:port`) whose pages may use the server from a browser (CORS); `*` = any."""


class LogSettings(Section):
    """Logs on stderr: how they are written."""

    format: Literal["console", "json"] = "console"
    """Lines for people, or a JSON object a line."""


class TracingSettings(Section):
    """Traces by OpenTelemetry (extra `otel`), over HTTP to a collector. Off unless `endpoint` is set, or the
    variable OTEL_EXPORTER_OTLP_ENDPOINT."""

    endpoint: SecretUrl | None = None
    """Base URL of a collector that speaks OTLP over HTTP (`http://localhost:4318`)."""
    service_name: str = Field(default="muster", min_length=1)
    """Name under which the collector shows the processes."""


class SessionSettings(Section):
    """Conversations: their turns stay with their experts while these are about as good."""

    within: float = Field(default=0.1, ge=0, le=1)
    """Accuracy that the experts of the last turn may be expected to lack on this one, and still be kept."""
    fields: tuple[Literal["prompt_cache_key", "user", "safety_identifier"], ...] = ()
    """Fields of a request that name its conversation where `muster.session` does not; the first that is
    given counts."""


class ShadowSettings(Section):
    """Comparison on live traffic: some of what is asked is also answered by another composition, and nobody
    is given that answer (docs/responses.md)."""

    composition: str | None = None
    """Composition that shadows, by a name of `/v1/models`. None = nothing is shadowed."""
    share: float = Field(default=0.01, ge=0, le=1)
    """Part of the questions that are answered once more."""
    max_waiting: int = Field(default=32, ge=1, le=10_000)
    """Shadow jobs that may be under way; beyond, none is begun."""


class MusterSettings(BaseSettings):
    """The `muster:` section and its environment variables."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    data_dir: UserPath = Path(".muster")
    """Folder of the database and the embedded texts, relative to the working directory."""
    database_url: SecretUrl | None = None
    """`sqlite:///…` or `postgresql://…`. None = `general_settings.database_url`, or SQLite in
    `data_dir`."""
    broker_url: SecretUrl | None = None
    """Redis, Valkey or RabbitMQ; makes every command a part of the stack. None = one process does all."""
    broker_password_file: UserPath | None = None
    """File with the broker's password, relative to this file, so that it stands in no URL and no environment;
    others must not be able to read it."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda:N`: the N-th GPU of those that are visible, in the order of `nvidia-smi`; the
    process and its engines see no other one; or `cuda`: all that are visible, for engines over several."""
    models_dir: UserPath | None = None
    """Folder in which this host has the weights, for a worker without a pool file: a path of the published
    pool that is not here is looked for below it, by as much of its end as there is. None = the working
    directory."""
    check_weights: Literal["full", "headers", "off"] = "headers"
    """Check of weights before a worker of the stack serves them, against those that were recorded first:
    `headers` reads the first and last MiB of each file, `full` all of it, once per file; `off` reads nothing
    (docs/hosts.md)."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Seed of sampling, induction and ties."""
    profile_set: UserPath | None = None
    """Labelled questions, relative to this file: what `muster profile` and `muster serve` measure on by
    default."""
    embedder: EmbedderSettings = EmbedderSettings()
    """Embedder by which questions are compared."""
    shadow: ShadowSettings = ShadowSettings()
    """Comparison on live traffic."""
    sessions: SessionSettings = SessionSettings()
    """Conversations, whose turns stay with their experts."""
    skills: SkillSettings = SkillSettings()
    """Skills of questions: how they are named."""
    grading: GradingSettings = GradingSettings()
    """Grading of answers."""
    infer_types: bool = True
    """Type of a chat's question that says none: inferred from the profile questions nearest to it, else
    `open` (docs/chat.md). False = it is `text`, and votes compare whole texts."""
    compositions: dict[str, CompositionSettings] = Field(default_factory=dict)
    """Named ways to answer, beside the stock ones."""
    feedback: FeedbackSettings = FeedbackSettings()
    """Feedback of users: how it counts."""
    retention: RetentionSettings = RetentionSettings()
    """Retention of jobs that have ended."""
    merges: MergesSettings = MergesSettings()
    """Merges over REST."""
    scheduler: SchedulerSettings = SchedulerSettings()
    """Times of the scheduler."""
    server: ServerSettings = ServerSettings()
    """The REST API."""
    log: LogSettings = LogSettings()
    """Logs."""
    tracing: TracingSettings = TracingSettings()
    """Traces."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment variables that are known, over the file; pydantic's own sources are left out."""
        return KnownVariables(settings_cls), init_settings

    def __repr__(self) -> str:
        return redact(super().__repr__())

    def __str__(self) -> str:
        return redact(super().__str__())


class Settings(Section):
    """Everything a process is configured by.

    `base_dir`: what relative paths of the file refer to. `remarks`: what of the file and the environment
    does nothing, one line each. `stated_weights`: identities of weights by member, as whoever published the
    pool read them; None = there is a file, and they are read here. `unreached`: why members of a published
    pool cannot be asked from this host.
    """

    model_list: tuple[Member, ...] = Field(min_length=1)
    """The pool: one member each."""
    router_settings: RouterSettings = RouterSettings()
    """Retries and pauses of engines elsewhere."""
    general_settings: GeneralSettings = GeneralSettings()
    """LiteLLM's section."""
    muster: MusterSettings = Field(default_factory=MusterSettings)
    """Everything that is no matter of a single member."""
    base_dir: Path = Path()
    source: str = ""
    remarks: tuple[str, ...] = ()
    stated_weights: dict[str, str] | None = None
    unreached: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        seen: set[str] = set()
        for member in self.model_list:
            if member.model_name in seen:
                raise ValueError(
                    f"model_name '{member.model_name}' stands twice; rename one "
                    "(deployments under one name are not balanced here)"
                )
            seen.add(member.model_name)
        return self

    @property
    def is_stack(self) -> bool:
        """True if other processes do the work: a broker is configured."""
        return self.muster.broker_url is not None

    @property
    def database_url(self) -> str:
        """Address of the database, as SQLAlchemy reads it; a file in `data_dir` where none is configured."""
        configured = self.muster.database_url or self.general_settings.database_url
        return configured or f"sqlite:///{self.muster.data_dir / 'muster.sqlite3'}"
