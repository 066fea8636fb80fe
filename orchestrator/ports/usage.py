"""Sums of usage, as those who report them see them."""

from typing import Protocol

from orchestrator.domain.usage import UsageKey, UsageSums


class UsageReader(Protocol):
    """Sums of usage. What a call costs in time does not depend on how many calls were counted."""

    def usage(self, *, first_day: int, last_day: int, owner: str | None = None) -> dict[UsageKey, UsageSums]:
        """Sums of these days, both included; of one owner's jobs, or of everybody's.

        Args:
            first_day, last_day: counted since 1970 (UTC).
        """

    def totals(self) -> dict[UsageKey, UsageSums]:
        """Sums over all days and owners, under the day `ALL_TIME` and no owner."""
