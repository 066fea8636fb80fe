"""Usage: what was asked and what it took, summed by day, owner, model and role."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestrator.domain.assignments import CallRole, Response

DAY_S = 86_400

QUESTION, LINE = "question", "line"
"""Roles of sums over questions: single ones, and those of batches. All other roles are those of calls."""

QUESTION_ROLES = (QUESTION, LINE)
ROLES = (*QUESTION_ROLES, *(role.value for role in CallRole))


class UsageKey(NamedTuple):
    """`day`: UTC, counted from 1970, or `ALL_TIME`; `owner`: whose jobs; `model`: the expert of calls, the
    name that questions were asked under; `role`: one of `ROLES`."""

    day: int
    owner: str
    model: str
    role: str


ALL_TIME = 0
"""The day under which sums over all days and owners are kept."""


def today() -> int:
    """The day of now, UTC, counted from 1970."""
    return int(time.time() // DAY_S)


class UsageSums(NamedTuple):
    """Sums over calls, or over questions.

    Attributes:
        n_completed, n_failed, n_cancelled, n_expired: how many ended so.
        prompt_tokens, completion_tokens, cost_usd, engine_s: of calls; `engine_s`: seconds of a device, of
            those that ran side by side each its share.
        single_prompt_tokens, single_completion_tokens: of questions, tokens of one expert's call for each:
            the mean over the experts that were asked.
    """

    n_completed: int = 0
    n_failed: int = 0
    n_cancelled: int = 0
    n_expired: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    engine_s: float = 0.0
    single_prompt_tokens: int = 0
    single_completion_tokens: int = 0

    def plus(self, other: "UsageSums") -> "UsageSums":
        """Both together, number by number."""
        return UsageSums._make(mine + theirs for mine, theirs in zip(self, other, strict=True))

    @property
    def n(self) -> int:
        """Number that ended, however they did."""
        return self.n_completed + self.n_failed + self.n_cancelled + self.n_expired


NO_USAGE = UsageSums()


def usage_of_calls(responses: Sequence[Response]) -> UsageSums:
    """Usage of calls, summed."""
    n_failed = sum(response.failed for response in responses)
    used = [response.usage for response in responses]
    return UsageSums(
        n_completed=len(responses) - n_failed,
        n_failed=n_failed,
        prompt_tokens=sum(usage.prompt_tokens for usage in used),
        completion_tokens=sum(usage.completion_tokens for usage in used),
        cost_usd=sum(usage.cost_usd for usage in used),
        engine_s=sum(response.engine_s for response in responses),
    )


def usage_of_question(responses: Iterable[Response], *, failed: bool) -> UsageSums:
    """Usage of one question that ended: what one of its experts read and wrote for it."""
    own = [r.usage for r in responses if r.role is CallRole.EXPERT and not r.failed]
    return UsageSums(
        n_completed=int(not failed),
        n_failed=int(failed),
        single_prompt_tokens=_mean([usage.prompt_tokens for usage in own]),
        single_completion_tokens=_mean([usage.completion_tokens for usage in own]),
    )


def _mean(counts: list[int]) -> int:
    return round(sum(counts) / len(counts)) if counts else 0
