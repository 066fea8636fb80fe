"""Memory: questions of one key that were answered, with what is known of how well."""

from typing import NamedTuple, Protocol

from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query


class Remembered(NamedTuple):
    """A question that was answered.

    Attributes:
        score: mean of its users' judgements, in [0, 1]; None = nobody judged the answer.
        age_days: since it was answered; >= 0.
    """

    query: Query
    answer: Answer
    score: float | None
    age_days: float


class MemoryReader(Protocol):
    """Answered questions, as the books have them."""

    def latest_answered(self, owner: str, *, limit: int) -> list[Remembered]:
        """The latest questions that were answered without an error, single ones and those of batches; the
        newest first. What was deleted is not among them.

        Args:
            owner: whose: nobody is told what another key asked. "" = what was asked without a key.
        """
