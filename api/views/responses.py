"""Answers as responses: the object that `/v1/responses` gives back."""

from typing import Literal

from pydantic import JsonValue

from api.schemas.responses import (
    IncompleteDetails,
    InputItems,
    Item,
    ResponseFailure,
    ResponseUsage,
    ResponseView,
)
from api.views.chat import muster_view
from orchestrator.domain.answers import Answer, FinishReason
from orchestrator.domain.exchanges import Exchange
from orchestrator.domain.tools import ToolCall
from orchestrator.errors import InputError, MusterError

Status = Literal["in_progress", "completed", "incomplete", "failed"]

_ECHOED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "previous_response_id", "prompt_cache_key"),
    *("safety_identifier", "service_tier", "temperature", "top_logprobs", "top_p", "user"),
)


def response_id(unique: str) -> str:
    """Id of a response. Args: unique: nobody else's."""
    return f"resp_{unique}"


def message_id(exchange_id: str) -> str:
    """Id of the message that an exchange ends with."""
    return f"msg_{exchange_id.removeprefix('resp_')}"


def status_of(answer: Answer | None) -> Status:
    """Status of a response by its answer; None = there is none yet."""
    if answer is None:
        return "in_progress"
    if answer.error_code is not None:
        return "failed"
    return "incomplete" if answer.finish_reason is FinishReason.LENGTH else "completed"


def output_items(answer: Answer, exchange_id: str) -> list[Item]:
    """Items of the output: the message, unless there is none, and calls of functions; none of a failure."""
    if answer.error_code is not None:
        return []
    status = "incomplete" if status_of(answer) == "incomplete" else "completed"
    calls = [_call_item(exchange_id, i, call) for i, call in enumerate(answer.tool_calls)]
    if calls and not answer.text:
        return calls
    return [message_item(exchange_id, [text_part(answer.text)], status), *calls]


def _call_item(exchange_id: str, place: int, call: ToolCall) -> Item:
    return {
        "id": f"fc_{exchange_id.removeprefix('resp_')}_{place}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def message_item(exchange_id: str, content: list[JsonValue], status: str) -> Item:
    """The message of a response. Args: exchange_id: the response's. content: parts as `text_part` makes
    them."""
    return {
        "id": message_id(exchange_id),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def text_part(text: str) -> Item:
    """A part of a message that is text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_view(
    exchange: Exchange, answer: Answer | None, *, stored: bool = True, error: MusterError | None = None
) -> ResponseView:
    """A response in OpenAI's form, whose fields repeat the request's.

    Args:
        answer: None = not there yet.
        stored: the exchange is kept.
        error: why there is no answer, and will be none; None = nothing of the kind.
    """
    said = exchange.request
    failure = _failure(answer, error)
    status = "failed" if failure is not None else status_of(answer)
    text, reasoning = said.get("text"), said.get("reasoning")
    fields: dict[str, object] = {
        **{name: said[name] for name in _ECHOED if said.get(name) is not None},
        "id": exchange.id,
        "created_at": exchange.created_at,
        "status": status,
        "error": failure,
        "incomplete_details": IncompleteDetails() if status == "incomplete" else None,
        "model": said.get("model", ""),
        "output": [] if answer is None else output_items(answer, exchange.id),
        "parallel_tool_calls": said.get("parallel_tool_calls", True),
        "reasoning": {"effort": None, "summary": None, **(reasoning if isinstance(reasoning, dict) else {})},
        "store": stored,
        "text": {"format": {"type": "text"}, **(text if isinstance(text, dict) else {})},
        "tool_choice": said.get("tool_choice", "auto"),
        "tools": said.get("tools", []),
        "truncation": said.get("truncation", "disabled"),
        "usage": None if answer is None else _usage(answer),
        "metadata": said.get("metadata", {}),
        "muster": None
        if answer is None
        else muster_view(answer, job_id=exchange.job_id, composition=exchange.composition),
    }
    return ResponseView.model_validate(fields)


def input_page(
    exchange: Exchange, *, after: str | None, limit: int, order: Literal["asc", "desc"]
) -> InputItems:
    """A page of what an exchange was asked.

    Raises:
        InputError: `after` is none of its items.
    """
    items = list(exchange.items) if order == "asc" else list(exchange.items)[::-1]
    ids = [str(item["id"]) for item in items]
    if after is not None and after not in ids:
        raise InputError(f"after: there is no item '{after[:64]}'.", param="after")
    start = 0 if after is None else ids.index(after) + 1
    page = items[start : start + limit]
    return InputItems(
        data=page,
        first_id=str(page[0]["id"]) if page else None,
        last_id=str(page[-1]["id"]) if page else None,
        has_more=start + limit < len(items),
    )


def _failure(answer: Answer | None, error: MusterError | None) -> ResponseFailure | None:
    if error is not None:
        return ResponseFailure(code=error.code, message=str(error))
    if answer is None or answer.error_code is None:
        return None
    return ResponseFailure(code=answer.error_code, message=answer.error or "no expert answered.")


def _usage(answer: Answer) -> ResponseUsage:
    usage = answer.usage
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
    )
