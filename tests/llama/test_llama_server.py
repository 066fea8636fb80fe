"""A real llama.cpp server with a real model, as an engine that a command starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.domain.assignments import INTERACTIVE, Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import StructuredOutput
from orchestrator.ports.engines import Failed, Finished, GenerationRequest, Tokens
from tests.llama.conftest import WEIGHTS
from tests.llama.served import options
from tests.unit.workers.backends.command.commands import await_end_of, ends, events, tagged
from workers.backends.command.backend import CommandBackend
from workers.backends.command.engine import CommandEngine
from workers.engine_host.memory import needed_gib


def spec(tag: str) -> EngineSpec:
    return EngineSpec(
        id="smol",
        backend="command",
        model=str(WEIGHTS),
        max_model_len=512,
        options=options(tag, slots=4, context=512),
    )


@pytest.fixture(scope="module")
def tag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = str(tmp_path_factory.mktemp("llama"))
    yield name
    await_end_of(name)


@pytest.fixture(scope="module")
def engine(tag: str) -> Iterator[CommandEngine]:
    engine = CommandBackend().load(spec(tag), ())
    yield engine
    engine.close()
    assert tagged(tag) == []


def ask(name: str, text: str, *, priority: int = 0, **sampling: object) -> GenerationRequest:
    asked = Sampling.model_validate({"max_tokens": 6, **sampling})
    return GenerationRequest(name, (Message(role="user", content=text),), asked, None, priority)


def answer(engine: CommandEngine, request: GenerationRequest) -> Finished:
    engine.submit(request)
    end = ends(engine, 1)[request.id]
    assert isinstance(end, Finished), end
    return end


def test_greedy_answers_are_the_same_each_time_and_beside_others(engine: CommandEngine) -> None:
    alone = answer(engine, ask("a", "Name a colour.")).text
    assert alone
    for number in range(6):
        engine.submit(ask(str(number), "Name a colour."))
    assert {end.text for end in ends(engine, 6).values() if isinstance(end, Finished)} == {alone}


def test_log_probabilities_come_with_each_token(engine: CommandEngine) -> None:
    end = answer(engine, ask("a", "Count: one, two,", logprobs=2))
    assert len(end.logprobs) == end.usage.completion_tokens
    assert all(token.chosen.logprob <= 0 for token in end.logprobs)


def test_output_of_a_schema_has_its_form(engine: CommandEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [7]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    wanted = StructuredOutput(json_schema=schema)
    end = answer(engine, ask("a", "Say seven as JSON.", max_tokens=32, structured_output=wanted.model_dump()))
    assert end.text.replace(" ", "").replace("\n", "") == '{"n":7}'


def test_text_is_told_as_it_grows(engine: CommandEngine) -> None:
    engine.submit(ask("a", "Count to ten.", priority=INTERACTIVE))
    found = events(engine, 1)
    pieces = [event.text for event in found if isinstance(event, Tokens)]
    end = found[-1]
    assert isinstance(end, Finished)
    assert len(pieces) > 1
    assert "".join(pieces) == end.text


def test_prompt_beyond_the_context_fails_alone(engine: CommandEngine) -> None:
    """A slot has 2,048 / 4 tokens."""
    engine.submit(ask("long", "word " * 3000))
    engine.submit(ask("short", "Name a colour."))
    found = ends(engine, 2)
    assert isinstance(found["long"], Failed)
    assert found["long"].error_code == "context_exceeded"
    assert isinstance(found["short"], Finished)


def test_memory_is_about_what_the_header_said(engine: CommandEngine, tag: str) -> None:
    """Before the first load the estimate decides what may stay: neither half nor twice of the truth."""
    memory, estimate = engine.weigh(), needed_gib(spec(tag))
    assert memory is not None
    assert estimate is not None
    assert 0.5 * memory.peak_gib < estimate < 2 * memory.peak_gib
    assert Path(f"/proc/{engine.pid}").exists()
