"""Domain values to JSON text and back. JSON escapes what a text column refuses (NUL)."""

from collections.abc import Sequence
from functools import lru_cache

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from orchestrator.domain.answers import Answer, Decision, FinishReason
from orchestrator.domain.assignments import CallRole, Response, Sampling
from orchestrator.domain.queries import Message
from orchestrator.domain.values import Value
from orchestrator.errors import StoreError

SHOWN_CHARS = 512

_MESSAGES: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])


def to_json(value: Value) -> str:
    """Value as JSON text; fields that hold their default are left out.

    Raises:
        StoreError: a text has a lone surrogate.
    """
    try:
        return value.model_dump_json(exclude_defaults=True)
    except PydanticSerializationError as error:
        raise StoreError(f"a {type(value).__name__} cannot be stored: {error}.") from error


def messages_to_json(messages: Sequence[Message]) -> str:
    """Messages as JSON text; equal messages, equal text. Fields that hold their default are left out.

    Raises:
        StoreError: a text that no JSON can hold.
    """
    try:
        return _MESSAGES.dump_json(tuple(messages), exclude_defaults=True).decode()
    except PydanticSerializationError as error:
        raise StoreError(f"a prompt cannot be stored: {error}.") from error


@lru_cache
def sampling_from_json(text: str) -> Sampling:
    """Sampling as `to_json` wrote it; equal texts give one object."""
    return Sampling.model_validate_json(text)


def messages_from_json(text: str) -> tuple[Message, ...]:
    """Messages as `messages_to_json` wrote them."""
    return _MESSAGES.validate_json(text)


def answer_to_json(answer: Answer, decision: Decision | None) -> tuple[str, bool]:
    """The answer, without its decision where that is the query's own; whether it was left out."""
    own = answer.decision
    is_queries = decision is not None and (own is decision or own == decision)
    return to_json(answer.model_copy(update={"decision": None}) if is_queries else answer), is_queries


def answer_from_json(text: str, *, decision: str | None) -> Answer:
    """Answer as `answer_to_json` wrote it; `decision`: JSON of the query's decision when the answer's was
    left out."""
    answer = Answer.model_validate_json(text)
    if decision is None:
        return answer
    return answer.model_copy(update={"decision": Decision.model_validate_json(decision)})


def failed_response(
    *, expert_id: str, role: str, stage: int, sample_ix: int, code: str, error: str
) -> Response:
    """The response to a call that nobody will answer.

    Args:
        stage: of the assignment.
        code: of an error of ours (`errors`), `error`: its message.
    """
    return Response(
        expert_id=expert_id,
        role=CallRole(role),
        stage=stage,
        sample_ix=sample_ix,
        finish_reason=FinishReason.ERROR,
        error_code=code,
        error=error,
    )


def checked_name(kind: str, name: str) -> str:
    """A name for a text column.

    Raises:
        StoreError: it holds NUL or a lone surrogate.
    """
    if not is_name(name):
        raise StoreError(f"{kind} {name!r} has characters that cannot be stored.", remedy="Rename it.")
    return name


def is_name(name: str) -> bool:
    """False if no row can have this name: it holds NUL or a lone surrogate."""
    return "\x00" not in name and (name.isascii() or _is_unicode(name))


def shown(name: str) -> str:
    """The beginning of any name, for a message: without lone surrogates, which no reply can carry."""
    return name[:SHOWN_CHARS].encode(errors="replace").decode()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
