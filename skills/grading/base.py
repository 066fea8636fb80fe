"""Protocol of a grader of one answer type."""

from typing import NamedTuple, Protocol

from orchestrator.domain.queries import Query


class Reading(NamedTuple):
    """A stated answer in canonical form, or None and the reason why there is none."""

    value: str | None
    reason: str | None = None


class Verdict(NamedTuple):
    """The grade of a canonical answer; `reason` says why it is wrong, where that is known."""

    right: bool
    reason: str | None = None


class TypeGrader(Protocol):
    """Reads and checks one answer type; holds no state of a query."""

    def read(self, query: Query, text: str, /, *, truncated: bool) -> Reading:
        """The answer that `text` states.

        Args:
            text: a response without its thinking block, not blank.
            truncated: the text ends where the token limit cut it; only an answer stated before
                the cut may count.
        """

    def equivalent(self, query: Query, a: str, b: str, /) -> bool:
        """True if two canonical answers of the query say the same; reflexive, symmetric and, unless the
        query's comparison sets a tolerance, transitive."""

    def check(self, query: Query, value: str) -> Verdict:
        """Grade a canonical answer against the query's reference.

        Raises:
            SkillError: the reference answer itself cannot be read.
        """
