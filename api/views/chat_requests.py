"""Demands of a chat request beside its question: the same rules for a request and a batch's line."""

from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.views.chat import chat_content
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError


class Refusal(NamedTuple):
    """A value of OpenAI's API that is refused rather than ignored."""

    param: str
    applies: Callable[[ChatRequest], bool]
    message: str


REFUSALS = (
    Refusal(
        "stream_options",
        lambda r: r.stream_options is not None and not r.stream,
        "options of a stream that is not asked for. Set `stream` or leave them out.",
    ),
    Refusal("n", lambda r: r.n not in (None, 1), "one choice per request. Leave `n` out or ask again."),
    Refusal("top_p", lambda r: r.top_p not in (None, 1), "nucleus sampling is not supported. Leave it out."),
    Refusal("stop", lambda r: bool(r.stop), "stop sequences are not supported. Leave `stop` out."),
    Refusal(
        "response_format",
        lambda r: r.response_format is not None and r.response_format.type != "text",
        'only {"type": "text"} is supported. `muster.answer_type` "json" asks for JSON.',
    ),
)


class Line(NamedTuple):
    """Demands of one line of a batch.

    Attributes:
        options: its model and terms.
        fields: of its query.
    """

    options: AskOptions
    fields: dict[str, object]


def chat_options(request: ChatRequest) -> AskOptions:
    """
    Raises:
        UnsupportedParameterError: a value that would have to be ignored.
        InputError: `max_tokens` and its newer name `max_completion_tokens` differ.
    """
    for refusal in REFUSALS:
        if refusal.applies(request):
            raise UnsupportedParameterError(f"{refusal.param}: {refusal.message}", param=refusal.param)
    old, new = request.max_tokens, request.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise InputError("max_tokens and max_completion_tokens differ; give one.", param="max_tokens")
    return AskOptions(
        model=request.model,
        max_tokens=old if new is None else new,
        temperature=request.temperature,
        seed=request.seed,
        trace=request.muster.trace,
    )


def chat_line(body: dict[str, object]) -> Line:
    """Demands of the body of a batch's line.

    Raises:
        InputError: what is wrong with the line.
    """
    request = _validated(body)
    options = chat_options(request)
    if request.muster.timeout_s is not None:
        raise InputError("body.muster.timeout_s: a batch has no time limit; leave it out")
    if request.muster.max_wait_s is not None:
        raise InputError("body.muster.max_wait_s: a batch waits for no place; leave it out")
    extras = {"options": request.muster.options, "answer_type": request.muster.answer_type}
    given = {name: value for name, value in extras.items() if value is not None}
    return Line(options, {**chat_content(request.messages), **given})


def _validated(body: dict[str, object]) -> ChatRequest:
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="body.") from None
