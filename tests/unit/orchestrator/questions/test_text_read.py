"""Questions as their skills are read: alone, or with what they lean on."""

from orchestrator.domain.queries import AnswerType, Message, Query
from orchestrator.questions.chats import EARLIER_CHARS, LEANING_CHARS, text_read


def turn(text: str, *before: tuple[str, str]) -> Query:
    context = tuple(Message.model_validate({"role": role, "content": said}) for role, said in before)
    return Query(id="q", question=text, context=context)


def test_a_question_that_stands_alone_is_read_as_it_is() -> None:
    assert text_read(turn("Why?")) == "Why?"
    assert text_read(turn("Why?", ("system", "Be brief."), ("assistant", "Hello."))) == "Why?"


def test_a_short_question_is_read_with_the_latest_one_that_is_not() -> None:
    first, second = "Please calculate 936 plus 7.", "What is the reverse of 'uamnd'?"
    before = (("user", first), ("assistant", "943"), ("user", second), ("assistant", "dnmau"))
    assert text_read(turn("And 'xq'?", *before)) == f"And 'xq'?\n{second}"
    assert text_read(turn("And 'yz'?", *before, ("user", "And 'xq'?"))) == f"And 'yz'?\n{second}"
    assert text_read(turn("And 'yz'?", ("user", "Hi"), ("user", "Hm"))) == "And 'yz'?\nHm"


def test_a_question_that_says_what_it_is_about_is_read_alone() -> None:
    before = (("user", "What is the reverse of the word 'uamnd'?"),)
    long = "q" * LEANING_CHARS
    assert text_read(turn(long, *before)) == long
    assert text_read(turn(long[1:], *before)) != long[1:]


def test_only_the_beginning_of_what_was_said_is_read() -> None:
    assert text_read(turn("And?", ("user", "a" * 10_000))) == "And?\n" + "a" * EARLIER_CHARS


def test_a_choice_is_read_alone() -> None:
    choice = Query(
        id="q",
        question="Which?",
        options=("one", "two"),
        answer_type=AnswerType.CHOICE,
        context=(Message(role="user", content="Hello"),),
    )
    assert text_read(choice) == "Which?\nA) one\nB) two"
