"""Queries whose type nobody said."""

from orchestrator.domain.answers import Answer, Decision, as_answered, as_typed
from orchestrator.domain.queries import AnswerType, Query

UNSAID = Query(id="q", question="What is 1 + 1?", answer_type=AnswerType.OPEN, infers=True)
SAID = Query(id="q", question="What is 1 + 1?", answer_type=AnswerType.OPEN)


def decided(answer_type: AnswerType | None) -> Decision:
    return Decision(router="any", recruits=(), answer_type=answer_type)


def test_a_query_has_the_type_that_its_decision_inferred() -> None:
    assert as_typed(UNSAID, decided(AnswerType.NUMBER)).answer_type is AnswerType.NUMBER
    assert as_typed(UNSAID, decided(None)) is UNSAID
    assert as_typed(UNSAID, None) is UNSAID


def test_a_type_that_was_said_stays() -> None:
    assert as_typed(SAID, decided(AnswerType.NUMBER)) is SAID


def test_what_was_not_said_is_another_question_than_what_was() -> None:
    """Reuse and seeds go by the content: what was inferred may be something else another time."""
    typed = UNSAID.typed(AnswerType.NUMBER)
    assert len({query.content_hash for query in (UNSAID, SAID, typed)}) == 3
    assert typed.infers


def test_a_plain_question_keeps_the_hash_that_it_had() -> None:
    assert Query(id="q", question="What is 1 + 1?").content_hash == "b428f1e013c5e846"


def test_old_decisions_and_answers_have_no_type() -> None:
    assert Decision.model_validate_json('{"router": "any", "recruits": []}').answer_type is None
    assert Answer.model_validate_json('{"text": "x"}').answer_type is None


def test_an_answer_says_as_what_its_question_was_read() -> None:
    read = Answer(text="2", answer_type=AnswerType.NUMBER)
    assert as_answered(UNSAID, read) == UNSAID.typed(AnswerType.NUMBER)
    assert as_answered(UNSAID, Answer(text="2")) is UNSAID
    assert as_answered(SAID, read) is SAID
