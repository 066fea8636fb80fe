"""JSON from strangers: read once, strictly, before any model sees it.

Refused with 400 (cannot be read): not UTF-8, broken, empty, repeated keys, nesting beyond
`MAX_DEPTH`, integers of thousands of digits, lone surrogates. Refused with 422 (readable, but no
value a field may have): NaN, Infinity, numbers beyond float64, NUL characters. A byte order mark is
accepted.
"""

import json
from collections.abc import Callable, Coroutine
from typing import NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import JsonValue

from api.errors import MalformedBodyError, MediaTypeError
from orchestrator.errors import InputError
from orchestrator.questions.json_checks import (
    MAX_DEPTH,
    TOO_DEEP,
    Flaw,
    RepeatedKeyError,
    first_flaw,
    unique_keys,
)

__all__ = ["MAX_DEPTH", "StrictRequest", "StrictRoute", "loads"]


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
            raw.decode("utf-8-sig"), object_pairs_hook=unique_keys, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not UTF-8 text.") from None
    except RecursionError:
        raise MalformedBodyError(f"the body {TOO_DEEP}.") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RepeatedKeyError as error:
        raise MalformedBodyError(f"{error}.", remedy="Keep one of them.") from None
    except ValueError:
        raise MalformedBodyError("the body holds a number with too many digits.") from None
    flaw = first_flaw(document)
    if flaw is not None:
        raise _refusal(flaw)
    return document


def _refusal(flaw: Flaw) -> InputError:
    kind = MalformedBodyError if flaw.is_unreadable else InputError
    if flaw.text == TOO_DEEP:
        return kind(f"the body {TOO_DEEP}.", param=flaw.place)
    return kind(f"{flaw.place}: {flaw.text}.", param=flaw.place, remedy="Remove it.")


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"{name} is not a JSON number.")


class StrictRequest(Request):
    """Reads its JSON through `loads`; FastAPI would accept NaN and answer 400 without saying where."""

    async def json(self) -> JsonValue:
        """The document of the body, read once; raises as `loads` does."""
        if not hasattr(self, "_document"):
            self._document = loads(await self.body())
        return self._document


class StrictRoute(APIRoute):
    """A route whose body, if it takes one, is `application/json` and read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        """FastAPI's handler, after the body was read strictly."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            if self.body_field is None:
                return await handle(request)
            wrapped = StrictRequest(request.scope, request.receive)
            if not self.body_field.field_info.is_required() and not await wrapped.body():
                return await handle(wrapped)
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
