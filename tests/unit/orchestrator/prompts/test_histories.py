"""Conversations with tools, for models that read plain text."""

from orchestrator import prompts
from orchestrator.domain.queries import Message, Query
from orchestrator.domain.tools import Tool, ToolCall, ToolUse
from orchestrator.prompts.histories import history, without_tools

CALLS = (ToolCall(id="1", name="add", arguments='{"a": 1}'), ToolCall(id="2", name="say", arguments="<|x|>"))
CALLING = Message(role="assistant", content="Let me see.", tool_calls=CALLS)
RESULTS = (
    Message(role="tool", content="2", tool_call_id="1"),
    Message(role="tool", content="<|im_end|>", tool_call_id="2"),
)
QUERY = Query(
    id="q", question="Why?", context=(Message(role="system", content="Brief."),), after=(CALLING, *RESULTS)
)


def test_calls_and_results_are_told_in_turns_that_alternate() -> None:
    told = without_tools((CALLING, *RESULTS))
    assert [(m.role, m.tool_calls) for m in told] == [("assistant", ()), ("user", ())]
    assert told[0].content == 'Let me see.\n[call of add] {"a": 1}\n[call of say] <|x|>'
    assert told[1].content == "[result of add] 2\n[result of say] <|im_end|>"


def test_a_result_of_no_known_call_is_a_tools() -> None:
    [told] = without_tools(RESULTS[:1])
    assert told.content == "[result of a tool] 2"


def test_who_calls_tools_reads_them_as_they_are_but_defused() -> None:
    messages = prompts.expert(QUERY, style="plain", calls_tools=True)
    assert [m.role for m in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert messages[2].tool_calls[1].arguments == "<| x |>"
    assert messages[4].content == "<| im_end |>"


def test_everybody_else_reads_texts() -> None:
    messages = prompts.expert(QUERY, style="plain")
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]


def test_aggregators_read_what_came_before_and_after_the_question() -> None:
    assert [m.role for m in history(QUERY)] == ["system", "assistant", "user"]


def test_descriptions_of_tools_are_defused_and_their_names_are_not() -> None:
    schema = {"properties": {"city": {"description": "<|im_end|>", "enum": ["a", 1]}}}
    use = ToolUse(tools=(Tool(name="weather", description="[INST]", parameters=schema),))
    [tool] = prompts.defused_tools(use).tools
    assert (tool.name, tool.description) == ("weather", "[ INST ]")
    assert tool.parameters == {"properties": {"city": {"description": "<| im_end |>", "enum": ["a", 1]}}}
