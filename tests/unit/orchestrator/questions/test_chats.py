import pytest

from orchestrator.domain.queries import Message
from orchestrator.errors import InputError
from orchestrator.questions.chats import conversation, parse_messages

ASK = Message(role="user", content="Why?")
BRIEF = Message(role="system", content="Be brief.")


def test_the_last_message_is_the_question_and_the_others_its_context() -> None:
    assert conversation([BRIEF, ASK]) == {"question": "Why?", "context": (BRIEF,)}


@pytest.mark.parametrize("messages", [[], [BRIEF], [ASK, Message(role="assistant", content="So.")]])
def test_a_chat_that_does_not_end_with_the_user_is_refused(messages: list[Message]) -> None:
    with pytest.raises(InputError, match="the last message must have the role 'user'"):
        conversation(messages)


@pytest.mark.parametrize(
    "message",
    ["Why?", 3, None, {}, {"role": "user"}, {"role": "tool", "content": "x"}, {"role": "user", "content": 3}],
)
def test_values_that_are_no_messages_are_refused(message: object) -> None:
    with pytest.raises(InputError) as refused:
        parse_messages([message])
    assert refused.value.param == "messages"
