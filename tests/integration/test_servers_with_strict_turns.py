"""Servers whose chat template takes few conversations: a refusal teaches how to say the next ones."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.domain.tools import ToolCall
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Engine, Failed, Finished, GenerationRequest
from tests.fakes.openai_server import LocalServer, QuietHandler
from tests.odd.making import assistant, system, user
from workers.backends.registry import get_backend

Turns = Sequence[tuple[str, str]]
Rule = Callable[[Turns], str | None]


class Refusal(NamedTuple):
    """What a server says, and when."""

    status: int
    body: str
    rule: Rule


def takes_no_system(turns: Turns) -> bool:
    return any(role == "system" for role, _ in turns)


def alternates(turns: Turns) -> bool:
    return [role for role, _ in turns] != [("user", "assistant")[n % 2] for n in range(len(turns))]


def refusing(status: int, says: str, *rules: Callable[[Turns], bool]) -> Refusal:
    body = json.dumps({"error": {"message": says}})
    return Refusal(status, body, lambda turns: body if any(rule(turns) for rule in rules) else None)


SERVERS = {
    "no system (vLLM)": refusing(400, "System role not supported", takes_no_system),
    "alternation (vLLM)": refusing(
        400, "Conversation roles must alternate user/assistant/user/assistant/...", alternates
    ),
    "alternation (llama.cpp)": refusing(
        400, "Jinja Exception: After the optional system message", alternates
    ),
    "alternation (llama.cpp of old)": refusing(
        500, "Value is not callable: null at chat template", alternates
    ),
    "no system (TGI)": refusing(422, "Template error: unknown method", takes_no_system),
}
CONVERSATIONS = {
    "a system message": [system(), user()],
    "two questions": [user("Hi"), user()],
    "a later system message": [user("Hi"), assistant(), system(), user()],
    "all of it": [system(), user("Hi"), user(), assistant(), assistant("No."), system("Be kind."), user()],
}


class Asked(NamedTuple):
    """An engine, and the conversations that its server has been sent."""

    engine: Engine
    seen: list[Turns]

    def end(self, messages: Sequence[Message], **more: object) -> Finished | Failed:
        request = GenerationRequest("q", tuple(messages), Sampling(max_tokens=8), None, 0)
        self.engine.submit(request._replace(**more))  # type: ignore[arg-type]
        while True:
            for event in self.engine.poll(0.1):
                if isinstance(event, Finished | Failed):
                    return event


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    refusal: Refusal = request.param
    seen: list[Turns] = []

    class Strict(QuietHandler):
        def do_GET(self) -> None:
            self.reply(200, b'{"data": [{"id": "m"}]}')

        def do_POST(self) -> None:
            turns = [(turn["role"], turn["content"]) for turn in json.loads(self.read_body())["messages"]]
            seen.append(turns)
            if (body := refusal.rule(turns)) is not None:
                self.reply(refusal.status, body.encode())
                return
            said = {"message": {"content": " | ".join(text for _, text in turns)}, "finish_reason": "stop"}
            self.reply(200, json.dumps({"choices": [said]}).encode())

    with LocalServer(Strict) as server:
        access = EngineAccess(api_base=server.url, retries=0)
        spec = EngineSpec(id="e", backend="server", model="m", options={"stream": False})
        engine = get_backend("server", {"e": access}).load(spec, ())
        seen.clear()
        yield Asked(engine, seen)
        engine.close()


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("asked", SERVERS.values(), ids=SERVERS, indirect=True)
def test_every_conversation_is_answered_and_what_was_learnt_is_not_tried_again(
    asked: Asked, conversation: str
) -> None:
    messages = CONVERSATIONS[conversation]
    first, n_tried = asked.end(messages), len(asked.seen)
    again = asked.end(messages)

    assert isinstance(first, Finished), first
    assert isinstance(again, Finished), again
    assert first.text == again.text
    assert all(message.content in first.text for message in messages)
    assert 1 <= n_tried <= 3
    assert len(asked.seen) == n_tried + 1


@pytest.mark.parametrize("asked", [SERVERS["alternation (vLLM)"]], indirect=True)
def test_what_nothing_helps_fails_with_the_first_refusal_and_teaches_nothing(asked: Asked) -> None:
    end = asked.end([assistant("Hello!"), user()])
    assert isinstance(end, Failed)
    assert (end.error_code, end.blame) == ("request_refused", "prompt")
    assert "must alternate" in end.error
    asked.seen.clear()
    asked.end([user("Hi"), assistant(), user()])
    assert asked.seen == [[("user", "Hi"), ("assistant", "Yes."), ("user", user().content)]]


@pytest.mark.parametrize("asked", [refusing(400, "temperature is too high", alternates)], indirect=True)
def test_refusal_of_something_else_is_not_answered_with_other_turns(asked: Asked) -> None:
    end = asked.end([system(), user()])
    assert isinstance(end, Failed)
    assert len(asked.seen) == 1


@pytest.mark.parametrize("asked", [SERVERS["alternation (vLLM)"]], indirect=True)
def test_calls_of_tools_and_their_results_are_never_joined(asked: Asked) -> None:
    call = ToolCall(id="c1", name="add", arguments="{}")
    called = Message(role="assistant", content="", tool_calls=(call,))
    results = [Message(role="tool", content=text, tool_call_id="c1") for text in ("1", "2")]
    end = asked.end([user(), called, *results])
    assert isinstance(end, Failed)
    assert [role for role, _ in asked.seen[0]] == ["user", "assistant", "tool", "tool"]
    assert len(asked.seen) == 1


@pytest.mark.parametrize("asked", [SERVERS["alternation (vLLM)"]], indirect=True)
def test_a_system_that_the_server_takes_is_still_sent_as_one(asked: Asked) -> None:
    """Neighbours are joined; nobody's role changes before that is found to be needed."""
    asked.end([user("Hi"), user()])
    asked.seen.clear()
    asked.end([system(), user()])
    assert asked.seen[0][0] == ("system", "Be brief.")
