"""Wire types of `/v1/usage`."""

from datetime import date
from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from api.schemas.base import Wire

_ROW: dict[str, JsonValue] = {
    "object": "muster.usage.row",
    "day": None,
    "key": None,
    "model": "auto",
    "role": "question",
    "questions": 120,
    "failed_questions": 1,
    "calls": 0,
    "failed_calls": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cost_usd": 0.0,
    "engine_seconds": 0.0,
    "best_single": {"expert": "qwen2.5-coder-1.5b", "cost_usd": 0.0, "engine_seconds": 41.5},
}
_TOTAL = {**_ROW, "model": None, "role": None, "calls": 391, "input_tokens": 61400, "output_tokens": 18730}
_USAGE: dict[str, JsonValue] = {
    "object": "muster.usage",
    "from": "2026-11-01",
    "to": "2026-11-27",
    "data": [_ROW],
    "total": _TOTAL,
}


class SingleView(Wire):
    """Estimate of what `expert`, the best by its card, would have cost alone for the same questions: one call
    each, of as many tokens as the experts that were asked took on average, at its prices, and at the seconds
    of a device that its calls have taken per token. None = not known."""

    expert: str
    cost_usd: float | None
    engine_seconds: float | None


class UsageRowView(Wire):
    """Usage of one group. `day`, `key`, `model`, `role`: None where usage is not grouped by it. Questions
    stand under the name that they were asked under, with the roles `question` and `line` (of a batch);
    calls under their expert and role."""

    object: Literal["muster.usage.row"] = "muster.usage.row"
    day: date | None
    key: str | None
    model: str | None
    role: str | None
    questions: int
    failed_questions: int
    calls: int
    failed_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    engine_seconds: float
    best_single: SingleView | None


class UsageView(Wire):
    """Usage of some days, both included; UTC."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        json_schema_extra={"example": _USAGE},
    )

    object: Literal["muster.usage"] = "muster.usage"
    first: date = Field(alias="from")
    last: date = Field(alias="to")
    data: list[UsageRowView]
    total: UsageRowView
