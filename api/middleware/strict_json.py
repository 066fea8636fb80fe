"""JSON from strangers: read once, strictly, before any model sees it.

Refused with 400 (cannot be read): not UTF-8, broken, empty, repeated keys, nesting beyond
`MAX_DEPTH`, integers of thousands of digits, lone surrogates. Refused with 422 (readable, but no
value a field may have): NaN, Infinity, numbers beyond float64, NUL characters. A byte order mark is
accepted.
"""

import json
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import JsonValue

from api.errors import MalformedBodyError, MediaTypeError
from orchestrator.errors import InputError

MAX_DEPTH = 64

Place = tuple[str | int, ...]


def loads(raw: bytes) -> JsonValue:
    """One JSON document.

    Raises:
        MalformedBodyError: unreadable.
        InputError: readable, with a value that no field may have; `param` is its path.
    """
    if not raw.strip():
        raise MalformedBodyError("the body is empty.", remedy="Send a JSON object.")
    try:
        document: JsonValue = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not UTF-8 text.") from None
    except RecursionError:
        raise MalformedBodyError(f"the body is nested deeper than {MAX_DEPTH} levels.") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except ValueError:
        raise MalformedBodyError("the body holds a number with too many digits.") from None
    for place, value in _leaves(document):
        _check_leaf(place, value)
    return document


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedBodyError(f"key '{_printable(twice)}' stands twice.", remedy="Keep one of them.")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"{name} is not a JSON number.")


def _leaves(document: JsonValue) -> Iterator[tuple[Place, JsonValue]]:
    """Keys and scalar values with where they stand; iterative, so that depth costs no stack."""
    waiting: list[tuple[Place, JsonValue]] = [((), document)]
    while waiting:
        place, value = waiting.pop()
        if len(place) > MAX_DEPTH:
            raise MalformedBodyError(f"the body is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            yield from ((place, key) for key in value)
            waiting.extend(((*place, key), item) for key, item in value.items())
        elif isinstance(value, list):
            waiting.extend(((*place, index), item) for index, item in enumerate(value))
        else:
            yield place, value


def _check_leaf(place: Place, value: JsonValue) -> None:
    param = ".".join(_printable(str(part)) for part in place) or None
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{param}: the number is beyond the range of float64.", param=param)
    if not isinstance(value, str):
        return
    if "\x00" in value:
        raise InputError(f"{param}: the text holds a NUL character.", param=param, remedy="Remove it.")
    if not value.isascii() and _printable(value) != value:
        raise MalformedBodyError(f"{param}: the text holds a lone surrogate.", param=param)


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()


class StrictRequest(Request):
    """Reads its JSON through `loads`; FastAPI would accept NaN and answer 400 without saying where."""

    async def json(self) -> JsonValue:
        if not hasattr(self, "_document"):
            self._document = loads(await self.body())
        return self._document


class StrictRoute(APIRoute):
    """A route whose body, if it takes one, is `application/json` and read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if self.body_field is None:
                return await handle(request)
            wrapped = StrictRequest(request.scope, request.receive)
            # FastAPI turns whatever its own reading raises into a bare 400; read before it does.
            if await wrapped.body():
                _require_json(wrapped)
            await wrapped.json()
            return await handle(wrapped)

        return strict


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise MediaTypeError(
            f"Content-Type is '{kind}', not 'application/json'.", remedy="Send JSON and say so."
        )
