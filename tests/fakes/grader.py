"""A grader of plain values: the text after the last `answer:`, compared without case and as numbers."""

from orchestrator.domain.assignments import Response
from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.queries import Query
from orchestrator.ports.skills import Grade


class FakeGrader:
    """`answer: 0.5` reads as `0.5`; numbers that are equal as floats are equivalent."""

    def read(self, query: Query, response: Response) -> str | None:
        _, mark, value = response.text.rpartition("answer:")
        return value.strip() or None if mark else None

    def equivalent(self, query: Query, a: str, b: str) -> bool:
        try:
            return float(a) == float(b)
        except ValueError:
            return a.casefold() == b.casefold()

    def grade(self, query: Query, response: Response) -> Grade:
        value = self.read(query, response)
        if value is None:
            return Grade(ABSTAINED, None)
        return Grade(RIGHT if self.equivalent(query, value, str(query.answer)) else WRONG, value)
