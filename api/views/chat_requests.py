"""Demands of a chat request beside its question: the same rules for a request and a batch's line."""

from typing import NamedTuple

from pydantic import ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.views.chat_fields import Unknown, require_known
from api.views.chat_history import chat_content
from api.views.chat_terms import options_of
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError
from orchestrator.questions.fields import INFERRED


class Line(NamedTuple):
    """Demands of one line of a batch.

    Attributes:
        options: its model and terms.
        fields: of its query.
    """

    options: AskOptions
    fields: dict[str, object]


def chat_options(request: ChatRequest, *, unknown: Unknown = "refuse") -> AskOptions:
    """Demands of a chat request on its answer.

    Args:
        unknown: what becomes of fields that nobody knows.

    Raises:
        UnsupportedParameterError: fields that would have to be ignored although they change the answer, or
            that nobody knows.
        InputError: fields that contradict each other.
    """
    require_known(request, unknown=unknown)
    return options_of(request)


def chat_line(body: dict[str, object]) -> Line:
    """Demands of the body of a batch's line.

    Raises:
        InputError: what is wrong with the line.
    """
    return line_of(_validated(body))


def line_of(request: ChatRequest) -> Line:
    """Demands of a batch's line that asks for what this chat does.

    Raises:
        InputError: what a line cannot have.
    """
    options = chat_options(request)
    if request.n not in (None, 1):
        raise UnsupportedParameterError("body.n: a line has one answer; write the line again", param="body.n")
    if request.muster.timeout_s is not None:
        raise InputError("body.muster.timeout_s: a batch has no time limit; leave it out")
    if request.muster.max_wait_s is not None:
        raise InputError("body.muster.max_wait_s: a batch waits for no place; leave it out")
    extras = {"options": request.muster.options, "answer_type": request.muster.answer_type}
    given = {name: value for name, value in extras.items() if value is not None}
    return Line(options, {**chat_content(request.messages), **(given or INFERRED)})


def _validated(body: dict[str, object]) -> ChatRequest:
    try:
        return ChatRequest.model_validate(body)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="body.") from None
