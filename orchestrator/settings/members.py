"""Members of the pool: rows of `model_list` in LiteLLM's form, and how Muster runs them."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, SecretStr, field_validator

from orchestrator.redaction import remember
from orchestrator.settings.environment import REFERENCE, referred
from orchestrator.settings.section import PathOrName, Section


class LitellmParams(Section):
    """Place of a model and how it is called; keys as in LiteLLM."""

    model: PathOrName = Field(min_length=1)
    """Directory of weights (relative to this file; `~` and `$VAR` are filled in), hub id, or the name
    that a server or provider knows."""
    api_base: str | None = None
    """URL of an OpenAI-compatible server, without credentials."""
    api_key: SecretStr | None = None
    """Write `os.environ/NAME`; a literal key needs a file that only you can read."""
    rpm: int | None = Field(default=None, gt=0)
    """Requests a minute that may be sent. None = no limit."""
    tpm: int | None = Field(default=None, gt=0)
    """Tokens a minute that may be sent. None = no limit."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds of one call. None = `router_settings.timeout`, or the engine's own."""
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Longest response, in tokens. None = `model_info.max_output_tokens`, or 512."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Temperature of this expert's sampling. None = 0: the same question gives the same response."""

    @field_validator("api_base")
    @classmethod
    def _no_credentials_in_url(cls, url: str | None) -> str | None:
        if url and (urlsplit(url).username or urlsplit(url).password):
            raise ValueError("api_base holds credentials; put them in api_key: os.environ/NAME")
        return url

    @field_validator("api_key", mode="before")
    @classmethod
    def _key_from_environment(cls, key: object) -> object:
        value = referred(key) if isinstance(key, str) and key.startswith(REFERENCE) else key
        if value is None and isinstance(key, str):
            raise ValueError(f"environment variable {key.removeprefix(REFERENCE)} is not set; export it")
        if isinstance(value, str):
            remember(value, shown="[api_key]")
        return value


class ReasoningMarks(Section):
    """`reasoning` of a member: marks around what its model thinks."""

    open: str = Field(min_length=1, max_length=64)
    """Text that begins a thought, such as `<think>`."""
    close: str = Field(min_length=1, max_length=64)
    """Text that ends it, such as `</think>`."""


class MemberOptions(Section):
    """`model_info.muster`: how Muster runs this member of the pool.

    Without `engine`, a member with an `api_base` or `api_key` is `remote`, any other one runs
    in-process with `transformers`. Without `max_model_len`, the context of a `server`, `remote` or `command`
    member is left to its server.
    """

    engine: str = "transformers"
    """Name of its backend: `transformers` loads it in Muster's own process, `vllm` in a child process;
    `fusion` has several models write one text (docs/fusion.md); `command` starts an OpenAI-compatible server
    (docs/engines.md), `server` asks one that somebody else runs, `remote` a provider over litellm; `scripted`
    is for tests.
    Default with `api_base`, `api_key` or a provider's prefix (`bedrock/…`): `remote`."""
    adapter: Literal["lora"] | None = None
    """`lora`: `model` is an adapter over `base_model`, whose engine it shares."""
    roles: tuple[Literal["expert", "aggregator", "annotator", "judge"], ...] = ("expert",)
    """`expert` answers, `aggregator` writes one answer from several, `annotator` names skills, `judge` scores
    answers to open questions."""
    prompt: str = "instruct"
    """`instruct` says how to answer; `plain` is the question alone."""
    synthesize_prompt: str = "full"
    """Form in which an aggregator is asked: `full`, or `compact` for small contexts."""
    system_prompt: str | None = None
    """System message of every call. None = none."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the weights. `auto` = as the engine finds best."""
    tensor_parallel_size: int = Field(default=1, ge=1, le=64)
    """Devices that share the weights."""
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    """Memory of the loaded engine. None = not known."""
    max_model_len: int = Field(default=4096, ge=16, le=10_000_000)
    """Longest prompt plus response, in tokens. Default of `server`, `remote` and `command`: left to
    the server."""
    chat_template: str | None = None
    """In place of the tokenizer's own template: a Jinja text, a file of one (relative to this file), or the
    name of one of the model's, where it has several. None = its default one."""
    reasoning: ReasoningMarks | None = None
    """Marks around the model's thoughts, which are told apart from its answer (docs/chat.md). None = those
    that its tokenizer or chat template shows, or as its server tells them apart."""
    revision: str | None = Field(default=None, min_length=1)
    """Commit, tag or branch of a hub id, which needs one; a branch moves, and the expert with it."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options that only this engine understands; see docs/vllm.md for `vllm`, docs/fusion.md for `fusion`,
    docs/engines.md for `command`."""


class ModelInfo(Section):
    mode: Literal["chat", "completion", "responses"] = "chat"
    """All three are chats here. Members of other modes (`embedding`, …) are left out of the pool."""
    base_model: PathOrName | None = None
    """Base weights of an adapter."""
    input_cost_per_token: float = Field(default=0.0, ge=0)
    """USD; for reports and for routers with a budget."""
    output_cost_per_token: float = Field(default=0.0, ge=0)
    """USD."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    """Used where `litellm_params.max_tokens` is not set."""
    supports_function_calling: bool = False
    """The model calls tools: requests with `tools` go to such experts only (engines `server`,
    `remote`, `command`)."""
    supports_response_schema: bool | None = None
    """Output of a given JSON schema. None = as the engine can; false = it is asked for in the prompt only."""
    supports_reasoning: bool = False
    """The model thinks before it answers, and takes `reasoning_effort`."""
    supports_assistant_prefill: bool | None = None
    """The model goes on with an answer that is begun. None = in-process engines do."""
    params_b: float | None = Field(default=None, gt=0)
    """Billions of active parameters; the router `category` needs it."""
    muster: MemberOptions = MemberOptions()
    """Options of how Muster runs this member."""


class Member(Section):
    """One row of `model_list`."""

    model_name: str = Field(min_length=1, max_length=256)
    """The expert's id: `model` of a request, name on the cards. Put it in quotes where YAML reads
    something else (`"no"`, `"4"`)."""
    litellm_params: LitellmParams
    """Place of the model, and how it is called."""
    model_info: ModelInfo = ModelInfo()
    """Facts about the model."""
