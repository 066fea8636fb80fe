"""Demands of a chat request beside its question: the same rules for a request and a batch's line."""

from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationError

from api.errors import UnsupportedParameterError, field_error
from api.schemas.chat import ChatRequest
from api.views.chat import chat_content
from orchestrator.domain.names import AUTO
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError

AGREED = {
    "model": "model",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "seed": "seed",
    "trace": "muster.trace",
}
"""Options that a batch has one of, and the fields of a body that hold them."""


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


class BatchBodies:
    """Reads the `body` of each OpenAI line of one file (`questions.files.BodyReader`).

    A job has one composition and one way to sample, so every line must ask for the same.

    Attributes:
        options: what the lines read so far ask for; None before the first.

    Args:
        any_model: the lines' own models do not count.
    """

    def __init__(self, *, any_model: bool) -> None:
        self.options: AskOptions | None = None
        self._any_model = any_model

    def __call__(self, body: dict[str, object]) -> dict[str, object]:
        """Fields of the query; raises InputError with what is wrong with the line."""
        request = _validated(body)
        if request.stream:
            raise UnsupportedParameterError("body.stream: a batch is not streamed; leave it out")
        self._agree(chat_options(request))
        if request.muster.timeout_s is not None:
            raise InputError("body.muster.timeout_s: a batch has no time limit; leave it out")
        extras = {"options": request.muster.options, "answer_type": request.muster.answer_type}
        given = {name: value for name, value in extras.items() if value is not None}
        return {**chat_content(request.messages), **given}

    def _agree(self, options: AskOptions) -> None:
        if self._any_model:
            options = options.model_copy(update={"model": AUTO})
        before = self.options = self.options or options
        for name, field in AGREED.items():
            here, there = getattr(options, name), getattr(before, name)
            if here != there:
                raise InputError(
                    f"body.{field} is {_shown(here)} here and {_shown(there)} on the lines before; "
                    "a batch has one, so split the file"
                )


def _validated(body: dict[str, object]) -> ChatRequest:
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        raise field_error(error.errors(include_url=False)[0], prefix="body.") from None


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value)
