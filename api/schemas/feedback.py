"""Wire types of `/v1/feedback`."""

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from api.schemas.base import Wire, shown_as
from api.schemas.experts import TallyView


class FeedbackRequest(Wire):
    """`POST /v1/feedback`: give `right` or `score` (0 to 1). `query` may be left out where a job has one."""

    model_config = shown_as(job="ask-9f2c41", right=True)

    job: str = Field(min_length=1, max_length=512)
    query: str | None = Field(default=None, min_length=1, max_length=512)
    right: bool | None = None
    score: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_verdict(self) -> Self:
        if (self.right is None) == (self.score is None):
            raise ValueError("give either right or score")
        return self

    @property
    def verdict(self) -> float:
        """In [0, 1]; 1 = right."""
        return float(bool(self.right)) if self.score is None else self.score


class FeedbackView(Wire):
    """A judgement as it counts: per expert, in shares of one observation."""

    object: Literal["muster.feedback"] = "muster.feedback"
    job: str
    query: str
    score: float
    experts: dict[str, TallyView]
