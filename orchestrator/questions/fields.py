"""Fields that came from outside, as queries."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import ValidationError

from orchestrator.domain.queries import MAX_ID_CHARS, AnswerType, Comparison, Query
from orchestrator.errors import InputError
from orchestrator.questions.references import plain_fields

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ON_THE_BOOKS = frozenset({"after", "terms", "endpoint", "infers"})
"""Fields of a query that only its stored form has; nobody gives them."""
_NOT_FROM_OUTSIDE = ON_THE_BOOKS | {"context", "candidates"}

INFERRED: Mapping[str, object] = {"answer_type": AnswerType.OPEN, "infers": True}
"""Fields of a question that says no type, where this is inferred."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and the separators of lines and paragraphs that many readers take for line ends."""


def parse_query(data: Mapping[str, object]) -> Query:
    """A query from untrusted fields.

    Raises:
        InputError: naming the first field at fault.
    """
    try:
        return Query.model_validate(plain_fields(data), strict=False)
    except ValidationError as error:
        first = _first_to_mend(error.errors(include_url=False, include_input=False))
        field = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            inside = first["loc"][0] == "comparison" and len(first["loc"]) > 1
            known = set(Comparison.model_fields) if inside else set(Query.model_fields) - _NOT_FROM_OUTSIDE
            near = get_close_matches(str(first["loc"][-1]).lower(), known, n=1, cutoff=0.75)
            hint = f" (did you mean {near[0]}?)" if near else ""
            message = f"unknown field{hint}; valid: {', '.join(sorted(known))}"
        elif first["type"] == "missing":
            message = "is missing"
        elif first["type"] == "model_type":
            message = 'must be an object, such as {"tolerance": 0.01}'
        raise InputError(f"{field}: {message}" if field else message, param=field) from None


def _first_to_mend(faults: "list[ErrorDetails]") -> "ErrorDetails":
    """The first fault; an unknown field goes before a missing one: that is how the latter was written."""
    if faults[0]["type"] != "missing":
        return faults[0]
    return next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])


def build_query(
    query_id: str,
    content: Mapping[str, object],
    *,
    options: list[str] | None,
    answer_type: str | None,
    infers: bool = False,
    prefix: str = "",
) -> Query:
    """A query from wire fields; options without an answer type make it a choice.

    Args:
        content: `question`, and `context` and `after` of a conversation.
        answer_type: a value of `AnswerType`; checked here.
        infers: the type of a question that says none, and has no options, is inferred; else it is `text`.
        prefix: of the fields named in errors, e.g. `muster.`.

    Raises:
        InputError: naming the wire field at fault.
    """
    default = AnswerType.TEXT if options is None else AnswerType.CHOICE
    fields = {**content, "id": query_id, "options": options or (), "answer_type": answer_type or default}
    if infers and options is None and answer_type is None:
        fields |= INFERRED
    try:
        return parse_query(fields)
    except InputError as error:
        # Rules about options and their type concern several fields, so they come without a name.
        inner = (error.param or "options").split(".")[0]
        param = inner if inner in content else f"{prefix}{inner}"
        if inner == "question" and "context" in content:
            param = "messages"
        raise InputError(str(error), param=param) from None


def check_id(name: str, field: str) -> None:
    """Refuse an id by which an answer could not be found.

    Args:
        field: that the id stands in, for the message.

    Raises:
        InputError: it is too long, or some reader of lines ends one in it.
    """
    if len(name) > MAX_ID_CHARS:
        raise InputError(f"{field} must have at most {MAX_ID_CHARS} characters, not {len(name)}", param=field)
    control = _CONTROL.search(name)
    if control is not None:
        raise InputError(
            f"{field} holds the control character U+{ord(control[0]):04X}; leave it out", param=field
        )
