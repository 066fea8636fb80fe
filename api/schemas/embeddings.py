"""Wire types of `/v1/embeddings`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

from api.schemas.base import Wire

MOST_TEXTS = 2048


def _as_texts(value: object) -> object:
    """One text as a list of it. Tokens are some model's numbers, and this one reads text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and any(isinstance(part, int | list) for part in value):
        raise ValueError("lists of tokens are not read; send texts")
    return value


Texts = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_TEXTS),
    BeforeValidator(_as_texts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MOST_TEXTS},
            ]
        }
    ),
]


class EmbeddingRequest(Wire):
    """`POST /v1/embeddings`. `dimensions`: only what the embedder has; `user` changes nothing."""

    model: str = Field(min_length=1, max_length=512)
    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None


class EmbeddingView(Wire):
    """`embedding`: numbers, or the base64 of their bytes as little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Wire):
    """Tokens as estimated from the texts' lengths."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Wire):
    object: Literal["list"] = "list"
    data: list[EmbeddingView]
    model: str
    usage: EmbeddingUsage


class ModerationRequest(Wire):
    """`POST /v1/moderations`, as it is refused."""

    input: JsonValue = None
    model: str | None = None
