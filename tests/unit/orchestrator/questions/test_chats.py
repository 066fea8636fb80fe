import pytest

from orchestrator.domain.queries import Message
from orchestrator.errors import InputError
from orchestrator.questions.chats import conversation, parse_messages

ASK = Message(role="user", content="Why?")
BRIEF = Message(role="system", content="Be brief.")


def test_the_last_message_is_the_question_and_the_others_its_context() -> None:
    assert conversation([BRIEF, ASK]) == {"question": "Why?", "context": (BRIEF,)}


@pytest.mark.parametrize("messages", [[], [BRIEF], [Message(role="assistant", content="So.")]])
def test_a_chat_in_which_the_user_says_nothing_is_refused(messages: list[Message]) -> None:
    with pytest.raises(InputError, match="a message with the role 'user' is needed"):
        conversation(messages)


def test_an_answer_that_was_begun_comes_after_the_question() -> None:
    begun = Message(role="assistant", content="So.")
    assert conversation([ASK, begun]) == {"question": "Why?", "context": (), "after": (begun,)}


def test_a_system_message_after_the_question_is_refused() -> None:
    with pytest.raises(InputError, match="must not be the system's"):
        conversation([ASK, BRIEF])


@pytest.mark.parametrize(
    "message",
    ["Why?", 3, None, {}, {"role": "user"}, {"role": "b", "content": "x"}, {"role": "user", "content": 3}],
)
def test_values_that_are_no_messages_are_refused(message: object) -> None:
    with pytest.raises(InputError) as refused:
        parse_messages([message])
    assert refused.value.param == "messages"
