import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.answers import FinishReason, Usage
from orchestrator.domain.assignments import MOST_TOKENS, Sampling
from orchestrator.domain.queries import Message
from orchestrator.domain.terms import SamplingExtras, StructuredOutput
from orchestrator.domain.tools import Tool, ToolCall, ToolUse
from orchestrator.ports.engines import GenerationRequest
from workers.backends.http.failures import CallError
from workers.backends.http.sse import SseDecoder
from workers.backends.http.wire import (
    StreamReader,
    read_completion,
    read_models,
    sampling_params,
    wire_messages,
)


def request(**sampling: object) -> GenerationRequest:
    return GenerationRequest("r", (Message(role="user", content="Why?"),), Sampling.model_validate(sampling))


def completion(text: str | None = "fine", *, reason: str | None = "stop", **more: object) -> bytes:
    choice = {"message": {"content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice], **more}).encode()


def delta(text: str | None = None, *, reason: str | None = None) -> str:
    return json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]})


def reader(*data: str, seen: list[str] | None = None) -> StreamReader:
    result = StreamReader(prompt_chars=40, on_text=(seen if seen is not None else []).append)
    for item in data:
        result.feed(item)
    return result


def test_parameters_that_say_nothing_are_left_out() -> None:
    assert sampling_params(request(max_tokens=5), drop=()) == {"max_tokens": 5, "temperature": 0.0}


def test_every_parameter_that_decides_the_text_is_sent() -> None:
    asked = request(max_tokens=5, temperature=0.5, top_p=0.9, seed=7, stop=("a", "", "b", "c", "d", "e"))
    sent = sampling_params(asked, drop={"top_p"})
    assert sent == {"max_tokens": 5, "temperature": 0.5, "seed": 7, "stop": ["a", "b", "c", "d"]}


def test_a_completion_is_read_with_its_usage() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    reply = read_completion(completion("fine", reason="length", usage=usage, id="x"), prompt_chars=0)
    assert reply[:3] == ("fine", FinishReason.LENGTH, Usage(prompt_tokens=12, completion_tokens=3))


def test_missing_usage_is_estimated_from_the_characters() -> None:
    """40 characters of prompt and 8 of text at 4 a token."""
    usage = read_completion(completion("12345678"), prompt_chars=40).usage
    assert usage == Usage(prompt_tokens=10, completion_tokens=2)


ESTIMATED = Usage(prompt_tokens=10, completion_tokens=2)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (None, ESTIMATED),
        ({}, ESTIMATED),
        ("none", ESTIMATED),
        ([3, 4], ESTIMATED),
        ({"prompt_tokens": None, "completion_tokens": "n/a"}, ESTIMATED),
        ({"prompt_tokens": -1, "completion_tokens": 10**30}, ESTIMATED),
        ({"prompt_tokens": True, "completion_tokens": {"text": 3}}, ESTIMATED),
        ({"prompt_tokens": 2.5, "completion_tokens": "9" * 5000}, ESTIMATED),
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, Usage(prompt_tokens=12, completion_tokens=3)),
        ({"prompt_tokens": 0, "completion_tokens": "²"}, Usage(prompt_tokens=0, completion_tokens=2)),
    ],
)
def test_usage_that_is_no_count_is_estimated_and_fails_nobody(usage: object, counted: Usage) -> None:
    """40 characters of prompt and 8 of text at 4 a token; each of the two for itself."""
    assert read_completion(completion("12345678", usage=usage), prompt_chars=40).usage == counted
    end = json.dumps({"choices": [], "usage": usage})
    assert reader(delta("12345678"), delta(reason="stop"), end, "[DONE]").reply().usage == counted


def test_usage_that_says_nothing_takes_none_back() -> None:
    told = json.dumps({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    read = reader(delta("so."), told, json.dumps({"choices": [], "usage": {}}), delta(reason="stop"))
    assert read.reply().usage == Usage(prompt_tokens=4, completion_tokens=2)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_usage_of_numbers_that_are_none_is_estimated(number: str) -> None:
    body = completion("12345678", usage={"prompt_tokens": 10, "completion_tokens": "X"})
    assert read_completion(body.replace(b'"X"', number.encode()), prompt_chars=40).usage == ESTIMATED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices": [{"message": {"content": "ha',
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}',
        b"[" * 100_000,
        completion(None),
        completion(reason=None),
        completion(reason="content_filter"),
        completion(None, reason="tool_calls"),
    ],
)
def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    with pytest.raises(CallError) as caught:
        read_completion(body, prompt_chars=0)
    assert caught.value.code == "bad_response"
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("body", "blame"),
    [
        (b"<html>Please log in</html>", "unclear"),
        (b"", "unclear"),
        (b'{"choices": [{"mess', "unclear"),
        (b'{"choices": []}', "prompt"),
        (completion(reason="content_filter"), "prompt"),
    ],
)
def test_who_does_not_speak_the_api_is_not_blamed_on_the_prompt(body: bytes, blame: str) -> None:
    """A proxy's page in place of every answer would fail all that waits, one after the other."""
    with pytest.raises(CallError) as caught:
        read_completion(body, prompt_chars=0)
    assert (caught.value.blame, caught.value.transient) == (blame, False)


def test_a_stream_gives_its_text_in_pieces_and_then_the_whole() -> None:
    seen: list[str] = []
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}})
    read = reader(delta(""), delta("So "), delta("so."), delta(reason="stop"), usage, "[DONE]", seen=seen)
    assert seen == ["", "So ", "so."]
    assert read.reply()[:3] == ("So so.", FinishReason.STOP, Usage(prompt_tokens=4, completion_tokens=2))


def test_a_finish_reason_or_done_ends_a_text_and_nothing_else_does() -> None:
    assert reader(delta("a"), delta(reason="length")).reply().finish_reason is FinishReason.LENGTH
    assert reader(delta("a"), "[DONE]").reply().finish_reason is FinishReason.STOP
    with pytest.raises(CallError, match="ended before") as caught:
        reader(delta("a"), delta("b")).reply()
    assert caught.value.transient


def test_what_comes_after_the_end_is_no_part_of_the_text() -> None:
    seen: list[str] = []
    late = reader(delta("4"), delta(reason="stop"), "[DONE]", delta("2"), "no chunk at all", seen=seen)
    assert (late.reply().text, seen) == ("4", ["4"])


def test_of_several_choices_the_first_by_number_is_read() -> None:
    """One is asked for; a server that writes more may write them in any order."""
    both = '{"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "4"}}]}'
    other = '{"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}'
    last = reader(other, both, delta(reason="stop")).reply()
    assert (last.text, last.finish_reason) == ("4", FinishReason.STOP)
    whole = (
        b'{"choices": [{"index": 1, "message": {"content": "no"}, "finish_reason": "stop"},'
        b' {"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}]}'
    )
    assert read_completion(whole, prompt_chars=4).text == "4"


def test_contents_in_parts_are_their_texts() -> None:
    """Mistral's form: what the model thought is a part of its own."""
    parts = (
        '[{"type": "thinking", "thinking": [{"type": "text", "text": "2 and 2"}]},'
        ' {"type": "text", "text": "The answer"}, {"type": "text", "text": " is 4"}, 5, {"type": "text"}]'
    )
    streamed = reader(f'{{"choices": [{{"delta": {{"content": {parts}}}}}]}}', delta(reason="stop"))
    assert streamed.reply().text == "The answer is 4"
    whole = f'{{"choices": [{{"message": {{"content": {parts}}}, "finish_reason": "stop"}}]}}'
    assert read_completion(whole.encode(), prompt_chars=4).text == "The answer is 4"


def test_a_message_that_is_streamed_at_once_is_read() -> None:
    seen: list[str] = []
    event = '{"choices": [{"index": 0, "message": {"content": "4"}, "finish_reason": "stop"}]}'
    assert (reader(event, "[DONE]", seen=seen).reply().text, seen) == ("4", ["4"])


def test_a_stream_without_text_is_no_answer() -> None:
    with pytest.raises(CallError, match="without text"):
        reader(delta(reason="stop"), "[DONE]").reply()


@pytest.mark.parametrize(
    "event",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"id": "1", "object": "chat.completion.chunk"}',
        '{"choices": null}',
        '{"choices": [null]}',
        '{"choices": [], "error": null}',
        '{"choices": [], "prompt_filter_results": [{"index": 0}]}',
        '{"type": "ping"}',
    ],
)
def test_events_that_say_nothing_are_passed_over(event: str) -> None:
    seen: list[str] = []
    read = reader(event, delta("So "), event, delta("so."), event, delta(reason="stop"), event, seen=seen)
    assert (read.reply().text, seen) == ("So so.", ["So ", "so."])


def test_text_that_speaks_of_errors_is_a_text() -> None:
    assert reader(delta('{"error": "none"}'), delta(reason="stop")).reply().text == '{"error": "none"}'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"error": {"message": "maximum context length", "code": 400}}', "context_exceeded"),
        ('{"choices": [], "error": {"message": "out of memory"}}', "expert_unavailable"),
        ('{"object": "error", "message": "maximum context length", "code": 400}', "context_exceeded"),
        ('{"detail": "the engine is dead"}', "expert_unavailable"),
        ('{"error": {"message": "out of memory", "code": null}}', "expert_unavailable"),
        ('{"error": "oops"}', "expert_unavailable"),
        ('{"choices": 3}', "bad_response"),
        ("half a li", "bad_response"),
    ],
)
def test_errors_inside_a_stream_keep_their_kind(data: str, code: str) -> None:
    with pytest.raises(CallError) as caught:
        reader(delta("a"), data)
    assert caught.value.code == code


def test_models_are_read_by_id() -> None:
    assert read_models(b'{"object": "list", "data": [{"id": "a", "x": 1}, {"id": "b"}]}') == ["a", "b"]
    with pytest.raises(CallError, match="not a list of models"):
        read_models(b"<html>")


# ── server-sent events ────────────────────────────────────────────────────────────────────────────

STREAM = (
    ": ping\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: zwö\n\n\nid: 3\n\ndata: [DONE]\n\ndata: unended"
).encode()


def test_data_of_each_event_is_joined_and_the_rest_ignored() -> None:
    assert SseDecoder().feed(STREAM) == ["one", "two\nzwö", "[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.sampled_from([b"\r", b"\n", b"\r\n", None]))
def test_events_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int], ends: bytes | None) -> None:
    """With the ends of lines as they are, mixed, or all of one of the three kinds."""
    stream = STREAM if ends is None else STREAM.replace(b"\r\n", b"\n").replace(b"\n", ends)
    places = [0, *sorted(cuts), len(stream)]
    decoder = SseDecoder()
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert [data for piece in pieces for data in decoder.feed(piece)] == ["one", "two\nzwö", "[DONE]"]


def test_an_event_that_ends_with_cr_is_read_at_once() -> None:
    """What a server writes next may come much later."""
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\r\r") == ["one"]
    assert decoder.feed(b"\ndata: two\r\n") == []
    assert decoder.feed(b"\r\n") == ["two"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_line() -> None:
    assert SseDecoder().feed("\ufeffdata: one\n\ndata: \ufefftwo\n\n".encode()) == ["one", "\ufefftwo"]


TOOL = Tool(name="add", parameters={"type": "object"})


def wired(**sampling: object) -> dict[str, object]:
    request = GenerationRequest("r", (), Sampling.model_validate(sampling))
    return dict(sampling_params(request, drop=()))


def test_tools_are_sent_as_they_came() -> None:
    use = ToolUse(tools=(TOOL,), choice="named", name="add", parallel=False)
    sent = wired(tools=use)
    assert sent["tools"] == [
        {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    ]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert sent["parallel_tool_calls"] is False
    assert "tool_choice" not in wired(tools=ToolUse(tools=(TOOL,)))


def test_extras_are_sent_by_their_names() -> None:
    sent = wired(extras=SamplingExtras(top_k=3, logit_bias=((7, -1.5),)), logprobs=2, reasoning_effort="low")
    assert (sent["top_k"], sent["logit_bias"]) == (3, {"7": -1.5})
    assert (sent["logprobs"], sent["top_logprobs"], sent["reasoning_effort"]) == (True, 2, "low")
    assert "min_p" not in sent


def test_an_output_that_may_be_as_long_as_fits_has_no_bound() -> None:
    assert "max_tokens" not in wired(max_tokens=MOST_TOKENS, fits=True)
    assert wired(max_tokens=900, fits=True)["max_tokens"] == 900


def test_an_output_form_is_asked_for() -> None:
    free = wired(structured_output=StructuredOutput(json_schema={"type": "object"}))
    assert free["response_format"] == {"type": "json_object"}
    schema = {"type": "object", "properties": {"a": {}}}
    strict = wired(structured_output=StructuredOutput(json_schema=schema, name="n", strict=True))
    assert strict["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }


def test_turns_with_tools_are_sent_in_openais_form() -> None:
    call = ToolCall(id="1", name="add", arguments="{}")
    turns = (
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="2", tool_call_id="1"),
    )
    calling, result = wire_messages(GenerationRequest("r", turns, Sampling()))
    assert calling["content"] is None
    assert calling["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    ]
    assert result == {"role": "tool", "content": "2", "tool_call_id": "1"}


def called(**call: object) -> bytes:
    message = {"content": None, "tool_calls": [call]}
    return json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()


def test_calls_of_a_completion_are_read_unchanged() -> None:
    reply = read_completion(
        called(id="c1", type="function", function={"name": "add", "arguments": '{ "a":1}'}), prompt_chars=0
    )
    assert reply.tool_calls == (ToolCall(id="c1", name="add", arguments='{ "a":1}'),)
    assert (reply.text, reply.finish_reason) == ("", FinishReason.TOOL_CALLS)


def test_arguments_that_come_as_an_object_become_text() -> None:
    [call] = read_completion(
        called(function={"name": "add", "arguments": {"ü": 1}}), prompt_chars=0
    ).tool_calls
    assert (call.id, call.arguments) == ("call_0", '{"ü": 1}')


def test_calls_that_are_none_are_no_answer() -> None:
    with pytest.raises(CallError, match="does not say which"):
        read_completion(called(function={}), prompt_chars=0)
    with pytest.raises(CallError, match="cannot be one"):
        read_completion(called(function={"name": "n" * 300}), prompt_chars=0)


def test_parts_of_a_streamed_message_are_put_together() -> None:
    stream = reader()
    deltas = [
        {"reasoning_content": "hm, "},
        {"reasoning": "yes"},
        {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "say"}}]},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "add", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]
    for part in deltas:
        stream.feed(json.dumps({"choices": [{"delta": part}]}))
    stream.feed(json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
    reply = stream.reply()
    assert reply.reasoning == "hm, yes"
    assert [(c.id, c.name, c.arguments) for c in reply.tool_calls] == [
        ("a", "add", '{"a":1}'),
        ("b", "say", ""),
    ]
    assert reply.finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("raw", ["NaN", "-Infinity"])
def test_log_probabilities_are_finite(raw: str) -> None:
    body = (
        '{"choices": [{"message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": '
        f'[{{"token": "a", "logprob": {raw}, "top_logprobs": [{{"token": "b", "logprob": -0.5}}]}}]}}}}]}}'
    )
    [token] = read_completion(body.encode(), prompt_chars=0).logprobs
    assert token.chosen.logprob == -9999.0
    assert token.top[0] == ("b", -0.5)
