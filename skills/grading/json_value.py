"""JSON: canonical answer = the JSON value, keys sorted, integral numbers without a fraction.

The value is that of the first fenced block that holds one, else the whole text, else what is stated last as
the answer, else the first object or array.
"""

import json
import re
from collections.abc import Iterator

from pydantic import JsonValue

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.fences import fenced_blocks
from skills.grading.statements import Origin, statements

MAX_CHARS = 200_000
MAX_DEPTH = 64
MAX_STARTS = 64
"""Places in a text where a value is looked for: bounds the work on a text of open brackets."""

_TAG = re.compile(r"\A[A-Za-z0-9_-]*[ \t]*\Z")
_BRACKET = re.compile(r"[][{}]")


class JsonGrader:
    """Canonical form: compact `json.dumps` with sorted keys, so equal structure is equal text."""

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        if len(text) > MAX_CHARS:
            return Reading(None, f"longer than {MAX_CHARS} characters")
        fenced = (block.body for block in fenced_blocks(text) if block.is_closed and _TAG.match(block.tag))
        found = next((v for body in fenced if (v := _value_in(body))), None)
        found = found or _whole_value(text.strip(), scalars=not truncated)
        found = found or _stated_value(text, truncated=truncated) or _first_value(text)
        return Reading(found) if found else Reading(None, "no JSON value")

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        reference = _value_in(str(query.answer))
        if reference is None:
            raise SkillError(f"query '{query.id}': the reference answer is not JSON.", param="answer")
        return Verdict(value == reference)


def _value_in(text: str) -> str | None:
    return _whole_value(text.strip(), scalars=True) or _first_value(text)


def _stated_value(text: str, *, truncated: bool) -> str | None:
    """The value that the last statement is, but for a period: `The answer is [1, 2].`"""
    for said in reversed(statements(text, truncated=truncated)):
        if said.origin is Origin.FIELD:  # of an object, which is the value itself
            continue
        value = _whole_value(said.text, scalars=True)
        value = value or _whole_value(said.text.removesuffix("."), scalars=True)
        if value is not None:
            return value
    return None


def _whole_value(text: str, *, scalars: bool) -> str | None:
    """Canonical form of the value that a text is from its beginning to its end."""
    whole = _decode(_DECODER, text, 0) if text else None
    is_whole = whole is not None and whole[1] == len(text) and (scalars or text[0] in "[{")
    return whole[0] if whole is not None and is_whole else None


def _first_value(text: str) -> str | None:
    """Canonical form of the first object or array."""
    found = (value for start in _starts(text) if (value := _decode(_DECODER, text, start)))
    return next((value for value, _ in found), None)


def _starts(text: str) -> Iterator[int]:
    """Where an outermost bracket opens: what stands inside a broken value is not the answer."""
    depth = n_found = 0
    for match in _BRACKET.finditer(text):
        if match.group() in "[{":
            if depth == 0 and n_found < MAX_STARTS:
                n_found += 1
                yield match.start()
            depth += 1
        else:
            depth = max(0, depth - 1)


def _decode(decoder: json.JSONDecoder, text: str, start: int) -> tuple[str, int] | None:
    try:
        value, end = decoder.raw_decode(text, start)
        return json.dumps(_plain(value, MAX_DEPTH), sort_keys=True, separators=(",", ":")), end
    except (ValueError, RecursionError):
        return None


def _plain(value: JsonValue, depth: int) -> JsonValue:
    """1.0 -> 1, recursively; refuses deep nesting."""
    if depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {key: _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(literal: str) -> float:
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise ValueError("number out of range")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
