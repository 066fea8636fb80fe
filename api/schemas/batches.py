"""Wire types of `/v1/batches`."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import Wire

MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
MIN_KEPT_S, MAX_KEPT_S = 3600, 30 * 86_400


class ExpiresAfter(Wire):
    """Seconds after a file was made at which it is deleted."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=MIN_KEPT_S, le=MAX_KEPT_S)


class BatchRequest(Wire):
    """`POST /v1/batches`. `completion_window`: hours or days, up to 30 days."""

    input_file_id: str = Field(min_length=1, max_length=512)
    endpoint: str = Field(max_length=64)
    completion_window: str = Field(default="24h", max_length=8)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    output_expires_after: ExpiresAfter | None = None


class BatchProblemView(Wire):
    code: str
    line: int | None
    message: str
    param: str | None


class BatchProblems(Wire):
    object: Literal["list"] = "list"
    data: list[BatchProblemView]


class BatchCounts(Wire):
    total: int
    completed: int
    failed: int


class CachedTokens(Wire):
    cached_tokens: int = 0


class ReasoningTokens(Wire):
    reasoning_tokens: int = 0


class BatchUsage(Wire):
    """Tokens of all lines, those of every expert that was asked."""

    input_tokens: int
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens: int
    output_tokens_details: ReasoningTokens = ReasoningTokens()
    total_tokens: int


class BatchView(Wire):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: BatchProblems | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating",
        "failed",
        "in_progress",
        "finalizing",
        "completed",
        "expired",
        "cancelling",
        "cancelled",
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    usage: BatchUsage | None
    metadata: dict[str, str] | None


class BatchList(Wire):
    object: Literal["list"] = "list"
    data: list[BatchView]
    first_id: str | None
    last_id: str | None
    has_more: bool
