"""Wire types of `/v1/completions`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

from api.schemas.base import Wire
from api.schemas.chat_request import Stops, StreamOptions
from api.schemas.chat_response import MusterView, UsageView

MOST_PROMPTS = 128


def _as_prompts(value: object) -> object:
    """One prompt as a list of it. Tokens are some model's numbers; prompts are texts here."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(part, int | list) for part in value):
        raise ValueError("lists of tokens are not read; send texts")
    return value


Prompts = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_PROMPTS),
    BeforeValidator(_as_prompts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_PROMPTS},
            ]
        }
    ),
]


class CompletionRequest(Wire):
    """`POST /v1/completions`: texts that one expert goes on with. Fields that a chat has, too, mean what they
    mean there; `max_tokens` is 16 where nothing is said, as in OpenAI's API."""

    model: str = Field(min_length=1, max_length=512)
    prompt: Prompts
    max_tokens: int | None = Field(default=None, ge=0, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, le=2**31)
    min_p: float | None = Field(default=None, ge=0, le=1)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    logit_bias: dict[str, float] | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: Stops | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    best_of: int | None = Field(default=None, ge=1, le=128)
    echo: bool | None = None
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: dict[str, JsonValue] | None = None


class CompletionLogprobs(Wire):
    """Tokens of a text, in lists of equal lengths; `text_offset`: characters before each."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CompletionChoice(Wire):
    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(Wire):
    """Choices prompt by prompt, those of one together."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageView | None = None
    system_fingerprint: str | None = None
    muster: MusterView | None = None
