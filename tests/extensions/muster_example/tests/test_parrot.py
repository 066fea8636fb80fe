import pytest
from pydantic import JsonValue

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.errors import EngineLoadError
from orchestrator.ports.engines import Engine, Finished, GenerationRequest
from workers.backends.registry import get_backend


def load(**options: JsonValue) -> Engine:
    spec = EngineSpec(id="polly", backend="parrot", model="parrot/polly", options=options)
    return get_backend("parrot").load(spec, ())


def request(text: str, max_tokens: int = 10) -> GenerationRequest:
    return GenerationRequest("r", (Message(role="user", content=text),), Sampling(max_tokens=max_tokens))


def test_the_question_comes_back_once() -> None:
    engine = load(before="You ask: ")
    engine.submit(request("Who is a good bird?"))
    [event] = engine.poll(0.0)
    assert isinstance(event, Finished)
    assert event.text == "You ask: Who is a good bird?"
    assert engine.poll(0.0) == []


def test_a_long_question_is_cut_and_says_so() -> None:
    engine = load()
    engine.submit(request("Who is a good bird?", max_tokens=3))
    [event] = engine.poll(0.0)
    assert isinstance(event, Finished)
    assert (event.text, event.finish_reason, event.usage.completion_tokens) == ("Who is a", "length", 3)


def test_unknown_options_are_refused_at_the_load() -> None:
    with pytest.raises(EngineLoadError, match="Valid options: before"):
        load(after="!")
