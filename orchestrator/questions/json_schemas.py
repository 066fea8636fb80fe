"""JSON schemas from strangers: refused where they could cost more than they say, and kept to by answers.

What a schema may cost is counted before it is used, in time linear in the schema for each place that others
refer to: how often its parts would be looked at in all, references followed; whether it refers to itself at
the same place; and, where it refers to itself further in, how deep a value may be. Patterns are matched in
linear time.
"""

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

import jsonschema_rs
from pydantic import JsonValue

from orchestrator.errors import InputError

MAX_CHARS = 200_000
MAX_PARTS = 5_000
MAX_TARGETS = 100
MAX_LOOKS = 100_000
MAX_DEPTH = 64
SHOWN_CHARS = 300

_MAPS = ("properties", "patternProperties")
_LISTS = ("prefixItems",)
_INNER = (
    *("items", "additionalItems", "unevaluatedItems", "contains", "propertyNames"),
    *("additionalProperties", "unevaluatedProperties", "contentSchema"),
)
_SAME_MAPS = ("dependentSchemas", "dependencies")
_SAME_LISTS = ("allOf", "anyOf", "oneOf")
_SAME = ("not", "if", "then", "else")
_STORED = ("$defs", "definitions")
_REFUSED = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$anchor")

Schema = Mapping[str, JsonValue]


class Part(NamedTuple):
    """A schema inside a schema. `is_same`: it is about the same value, not about one inside it; `is_used`: it
    counts where it stands, not only where somebody refers to it."""

    schema: JsonValue
    is_same: bool
    is_used: bool = True


class Target(NamedTuple):
    """A place of a schema that is referred to: parts that are looked at for it, and references in them."""

    n_parts: int
    refs: tuple[str, ...]
    same_refs: frozenset[str]


class SchemaError(InputError):
    """A JSON schema that cannot be used."""


def checked(schema: Schema) -> dict[str, JsonValue]:
    """The schema as it is used: what only says where it comes from (`$schema`, `$id` at its top) left out.

    Raises:
        SchemaError: what is wrong with it, or too much about it.
    """
    plain = {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
    if len(json.dumps(plain, ensure_ascii=False)) > MAX_CHARS:
        raise SchemaError(f"the schema is longer than {MAX_CHARS:,} characters.")
    _depth_of(plain)
    try:
        _validator(_text(plain))
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        message = " ".join(str(getattr(error, "message", error)).split())[:SHOWN_CHARS]
        raise SchemaError(f"the schema is none: {message}.") from None
    return plain


def fault(schema: Schema, value: JsonValue) -> str | None:
    """The first way in which a value does not keep to a checked schema, and where; None = it does."""
    if not _is_within(value, _depth_of(schema)):
        return "it is nested too deep"
    error = next(iter(_validator(_text(schema)).iter_errors(value)), None)
    if error is None:
        return None
    place = ".".join(str(part) for part in error.instance_path)
    message = error.message if len(error.message) <= SHOWN_CHARS else f"{error.message[:SHOWN_CHARS]}…"
    return f"{place}: {message}" if place else message


def _text(schema: Schema) -> str:
    return json.dumps(schema, sort_keys=True, ensure_ascii=False)


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator(
        json.loads(schema), pattern_options=jsonschema_rs.RegexOptions(), validate_formats=False
    )


def _depth_of(schema: Schema) -> int:
    """How deep a value may be nested.

    Raises:
        SchemaError: it refers to what is not there, or would be looked at too often.
    """
    return _depth_of_text(_text(schema))


@lru_cache(maxsize=64)
def _depth_of_text(text: str) -> int:
    schema = json.loads(text)
    targets = _targets(schema)
    looks: dict[str, int] = {}
    branching, sound = 1, set[str]()
    for name in targets:
        _require_progress(name, targets, sound, ())
        n_back = _count(name, targets, looks, ())
        branching = max(branching, n_back)
    if looks["#"] > MAX_LOOKS:
        raise SchemaError("the schema refers to its parts too often.", remedy="Make it simpler.")
    return MAX_DEPTH if branching < 2 else max(4, int(math.log(MAX_LOOKS) / math.log(branching)))


def _targets(schema: JsonValue) -> dict[str, Target]:
    """The schema itself (`#`), and each place that it refers to."""
    found: dict[str, Target] = {}
    waiting = ["#"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if len(found) >= MAX_TARGETS:
            raise SchemaError(f"the schema refers to more than {MAX_TARGETS} places.")
        found[name] = _target(_resolved(schema, name))
        waiting += found[name].refs
    return found


def _target(schema: JsonValue) -> Target:
    n_parts = 0
    refs: list[str] = []
    same: set[str] = set()
    waiting = [Part(schema, True)]
    while waiting:
        part = waiting.pop()
        n_parts += 1
        if n_parts > MAX_PARTS:
            raise SchemaError(f"the schema has more than {MAX_PARTS:,} parts.")
        if not isinstance(part.schema, dict):
            continue
        for key in _REFUSED:
            if key in part.schema:
                raise SchemaError(
                    f"the schema uses {key}.", remedy="Refer to places by $ref: '#/$defs/NAME'."
                )
        if "$id" in part.schema and part.schema is not schema:
            raise SchemaError("a schema inside the schema has an $id.", remedy="Leave it out.")
        ref = part.schema.get("$ref")
        if isinstance(ref, str):
            refs.append(ref)
            if part.is_same:
                same.add(ref)
        inner = [p for p in _parts(part.schema) if p.is_used]
        waiting += [p._replace(is_same=p.is_same and part.is_same) for p in inner]
    return Target(n_parts, tuple(refs), frozenset(same))


def _parts(schema: Mapping[str, JsonValue]) -> Iterator[Part]:
    for key, value in schema.items():
        if key in (*_SAME_LISTS, *_LISTS) or (key == "items" and isinstance(value, list)):
            if isinstance(value, list):
                yield from (Part(item, key in _SAME_LISTS) for item in value)
        elif key in (*_SAME_MAPS, *_MAPS, *_STORED):
            if isinstance(value, dict):
                yield from (Part(item, key in _SAME_MAPS, key not in _STORED) for item in value.values())
        elif key in (*_SAME, *_INNER):
            yield Part(value, key in _SAME)


def _resolved(schema: JsonValue, ref: str) -> JsonValue:
    if ref != "#" and not ref.startswith("#/"):
        raise SchemaError(
            f"the schema refers to '{ref[:SHOWN_CHARS]}', which is not in it.", remedy="Put it into $defs."
        )
    value = schema
    for part in ref.split("/")[1:]:
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise SchemaError(f"the schema refers to '{ref[:SHOWN_CHARS]}', which is not there.")
    return value


def _require_progress(
    name: str, targets: Mapping[str, Target], sound: set[str], before: tuple[str, ...]
) -> None:
    """Refuse a schema that is about a value if it is about that value; those that are not become `sound`."""
    if name in before:
        raise SchemaError(f"the schema at '{name[:SHOWN_CHARS]}' refers to itself at the same place.")
    if name not in sound:
        for ref in targets[name].same_refs:
            _require_progress(ref, targets, sound, (*before, name))
        sound.add(name)


def _count(name: str, targets: Mapping[str, Target], looks: dict[str, int], before: tuple[str, ...]) -> int:
    """References back to a place that is being looked at; `looks` gets how often parts are, for it."""
    if name in looks:
        return 0
    total, n_back = targets[name].n_parts, 0
    for ref in targets[name].refs:
        if ref == name or ref in before:
            n_back += 1
            continue
        n_back += _count(ref, targets, looks, (*before, name))
        total = min(total + looks.get(ref, 1), MAX_LOOKS + 1)
    looks[name] = total
    return n_back


def _is_within(value: JsonValue, depth: int) -> bool:
    level = [value]
    while level and depth > 0:
        depth -= 1
        level = [
            item
            for held in level
            if isinstance(held, dict | list)
            for item in (held.values() if isinstance(held, dict) else held)
        ]
    return not level
