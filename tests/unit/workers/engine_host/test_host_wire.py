from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.fusions import FusionStep, FusionTrace
from orchestrator.domain.logprobs import TokenLogprob, TokenLogprobs
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import StructuredOutput
from orchestrator.errors import EngineCrashedError
from orchestrator.ports.engines import (
    Blame,
    Failed,
    Finished,
    GenerationRequest,
    Tokens,
)
from workers.engine_host import wire

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LOGPROB = st.builds(TokenLogprob, TEXT, st.floats(max_value=0, allow_infinity=False))
LOGPROBS = st.builds(TokenLogprobs, LOGPROB, st.lists(LOGPROB, max_size=2).map(tuple))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
STEPS = st.builds(
    FusionStep,
    token_id=st.integers(0, 9),
    alpha=st.none() | FINITE | st.lists(FINITE, max_size=2).map(tuple),
    loss=st.none() | FINITE,
)
TRACES = st.builds(
    FusionTrace,
    rule=TEXT,
    steps=st.lists(STEPS, max_size=2).map(tuple),
    passes=st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
    seconds=FINITE,
)
EVENTS = st.one_of(
    st.builds(Tokens, TEXT, TEXT),
    st.builds(
        Failed,
        TEXT,
        TEXT,
        TEXT,
        blame=st.sampled_from(get_args(Blame)),
        rest_s=st.none() | st.floats(0, 1e9),
    ),
    st.builds(
        Finished,
        TEXT,
        TEXT,
        st.sampled_from(FinishReason),
        st.builds(Usage, prompt_tokens=st.integers(0, 9), cost_usd=st.floats(0, 1)),
        st.lists(LOGPROBS, max_size=2).map(tuple),
        st.none() | TRACES,
    ),
)


@given(st.lists(EVENTS), st.integers(1, 20))
def test_events_survive_the_wire_in_order_however_it_is_cut(
    events: list[Tokens | Failed | Finished], piece: int
) -> None:
    data = b"".join(wire.encode(wire.as_report(event)) for event in events)
    buffer = wire.FrameBuffer()
    bodies = [body for i in range(0, len(data), piece) for body in buffer.feed(data[i : i + piece])]
    reports = [wire.decode_report(body) for body in bodies]
    assert [r.event for r in reports if isinstance(r, wire.EventReport)] == events


def test_request_survives_the_wire() -> None:
    message = Message(role="user", content="wie heißt 二?\n\x00")
    schema = StructuredOutput(json_schema={"enum": [1, None, "x"]})
    sampling = Sampling(
        temperature=0.7, top_p=0.9, seed=2**40, stop=("\n",), logprobs=0, structured_output=schema
    )
    request = GenerationRequest("7.1", (message,), sampling, "adapters/x", 10)
    (body,) = wire.FrameBuffer().feed(wire.encode(wire.Submit(request=request)))
    command = wire.decode_command(body)
    assert isinstance(command, wire.Submit)
    assert command.request == request


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b'{"kind":"dance"}', b'{"kind":"abort"}', b"\xff"])
def test_body_that_is_no_command_is_garbage(body: bytes) -> None:
    with pytest.raises(EngineCrashedError, match="garbage"):
        wire.decode_command(body)


def test_text_instead_of_a_frame_is_garbage() -> None:
    with pytest.raises(EngineCrashedError, match="Traceback"):
        wire.FrameBuffer().feed(b"Traceback (most recent call last):")
