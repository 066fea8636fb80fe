"""Queries whose type nobody said."""

import pytest

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


@pytest.mark.parametrize("answer_type", AnswerType)
def test_a_typed_query_is_as_if_it_had_been_written_so(answer_type: AnswerType) -> None:
    options = ("one", "two") if answer_type is AnswerType.CHOICE else ()
    written = Query(
        id="q", question="Which?\nA) one\nB) two", options=(), answer_type=AnswerType.OPEN, infers=True
    )
    assert written.text, written.content_hash  # what is kept of the old one must not be the new one's
    typed = written.typed(answer_type)
    question = "Which?" if options else written.question
    asked = Query(id="q", question=question, options=options, answer_type=answer_type, infers=True)
    assert (typed, typed.text, typed.content_hash) == (asked, asked.text, asked.content_hash)


def test_a_query_is_not_typed_as_what_it_cannot_be() -> None:
    checked = UNSAID.replaced(rubric=("Polite?",))
    with pytest.raises(ValueError, match="rubric"):
        checked.typed(AnswerType.TEXT)
    with pytest.raises(ValueError, match="choice"):
        UNSAID.typed(AnswerType.CHOICE)


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
