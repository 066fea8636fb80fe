"""Questions of both kinds in one composition: each goes to the parts of its kind, by the terms that hold."""

from collections.abc import Sequence

import pytest

from orchestrator.compositions.typed import Typed
from orchestrator.domain.answers import Decision
from orchestrator.domain.assignments import Job, QueryState, Step
from orchestrator.domain.queries import AnswerType, Query
from orchestrator.domain.terms import StructuredOutput, Terms

SCHEMA = StructuredOutput(json_schema={"type": "object"})
WARM = Terms(temperature=0.5)


class Kind:
    """A composition that says in its decisions which one it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, states: Sequence[QueryState]) -> list[Step]:
        raise NotImplementedError

    def route(self, queries: Sequence[Query]) -> list[Decision]:
        return [Decision(router=self.name, recruits=()) for _ in queries]


def chosen(job: Job, *queries: Query) -> list[str]:
    typed = Typed(Kind("exact"), lambda: Kind("open"), job=job)
    return [decision.router for decision in typed.route(queries)]


def question(answer_type: AnswerType = AnswerType.OPEN, terms: Terms | None = None) -> Query:
    return Query(id="q", question="Why?", answer_type=answer_type, terms=terms)


def test_each_question_goes_to_its_kind_and_their_order_stays() -> None:
    exact = question(AnswerType.NUMBER)
    assert chosen(Job(id="j", composition="any"), question(), exact, question()) == ["open", "exact", "open"]


@pytest.mark.parametrize("terms", [None, WARM])
def test_a_schema_of_the_whole_job_holds_for_lines_that_say_something_else(terms: Terms | None) -> None:
    job = Job(id="j", composition="any", structured_output=SCHEMA)
    assert chosen(job, question(terms=terms)) == ["exact"]


def test_a_schema_of_one_line_holds_for_that_line() -> None:
    lines = (question(terms=Terms(structured_output=SCHEMA)), question(terms=WARM))
    assert chosen(Job(id="j", composition="any"), *lines) == ["exact", "open"]
