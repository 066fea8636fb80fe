"""Demands of a chat request beside its question: the same rules for a request and a batch's line."""

from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.views.chat import chat_content
from orchestrator.domain.names import AUTO
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.terms import Terms
from orchestrator.errors import InputError
from orchestrator.questions.files import BodyReader


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
    """Reads the `body` of each OpenAI line of one file (`questions.files.BodyReader`): every line is answered
    on its own terms.

    Args:
        resolve: the composition that a model names.
        any_model: the lines' own models do not count.

    Attributes:
        compositions: that the lines read so far name.
    """

    def __init__(self, resolve: Callable[[str], str], *, any_model: bool) -> None:
        self.compositions: set[str] = set()
        self._first: AskOptions | None = None
        self._agree = True
        self._resolve = resolve
        self._any_model = any_model

    def __call__(self, body: dict[str, object]) -> dict[str, object]:
        """Fields of the query; raises InputError with what is wrong with the line."""
        request = _validated(body)
        if request.stream:
            raise UnsupportedParameterError("body.stream: a batch is not streamed; leave it out")
        options = chat_options(request)
        if self._any_model:
            options = options.model_copy(update={"model": AUTO})
        if request.muster.timeout_s is not None:
            raise InputError("body.muster.timeout_s: a batch has no time limit; leave it out")
        if request.muster.max_wait_s is not None:
            raise InputError("body.muster.max_wait_s: a batch waits for no place; leave it out")
        composition = None if self._any_model else self._resolve(options.model)
        if composition is not None:
            self.compositions.add(composition)
        self._first = self._first or options
        self._agree = self._agree and options == self._first
        extras = {"options": request.muster.options, "answer_type": request.muster.answer_type}
        given = {name: value for name, value in extras.items() if value is not None}
        terms = Terms(**{**options.said, "composition": composition})
        return {**chat_content(request.messages), **given, "terms": terms}

    @property
    def agreed(self) -> AskOptions | None:
        """Options of every line read so far; None = they differ, or there are none."""
        return self._first if self._agree else None


def without_terms(read: BodyReader) -> BodyReader:
    """The reader of a file whose lines agree: their terms are the job's."""
    return lambda body: {name: value for name, value in read(body).items() if name != "terms"}


def _validated(body: dict[str, object]) -> ChatRequest:
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="body.") from None
