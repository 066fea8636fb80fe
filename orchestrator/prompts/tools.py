"""Tools as models read of them: what describes them is text of others."""

from pydantic import JsonValue

from orchestrator.domain.tools import Tool, ToolUse
from orchestrator.prompts.defusing import defuse


def defused_tools(use: ToolUse | None) -> ToolUse | None:
    """The tools with control strings broken up, wherever they stand in descriptions and schemas."""
    if use is None:
        return None
    return use.model_copy(update={"tools": tuple(_defused(tool) for tool in use.tools)})


def _defused(tool: Tool) -> Tool:
    return tool.model_copy(
        update={
            "description": None if tool.description is None else defuse(tool.description),
            "parameters": _plain(tool.parameters),
        }
    )


def _plain(value: JsonValue) -> JsonValue:
    """Nesting is bounded where documents come in (`questions.json_checks`)."""
    if isinstance(value, dict):
        return {defuse(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return defuse(value) if isinstance(value, str) else value
