"""Errors on the wire: OpenAI's error object, and the one table from error codes to HTTP statuses.

Whatever is wrong with a request is 400, as clients of OpenAI's API expect. A timeout is 504, not 408: the
caller did nothing wrong, the experts were too slow. OpenAI's SDK retries 408, 409, 429 and every status from
500 on unless told otherwise, and a question that failed would only repeat the same work: `x-should-retry`
says false except where waiting helps. Some clients do not look at it, so what no repeat can heal is a 4xx.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import JsonValue
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from orchestrator.errors import InputError, InternalError, MusterError, UnknownNameError
from orchestrator.questions.files import QuestionFileError

log = logging.getLogger(__name__)

CONTEXT_LENGTH = "context_length_exceeded"
SHOWN_FIELDS = 12
"""Fields at fault that a message names."""


class MalformedBodyError(InputError):
    """A body that cannot be read as one JSON document."""

    code = "invalid_json"


class UnsupportedParameterError(InputError):
    """Fields that Muster does not know, or has no way to honour as they are."""

    code = "unsupported_parameter"


class MediaTypeError(InputError):
    code = "unsupported_media_type"


class BodyTooLargeError(InputError):
    code = "request_too_large"


class IdempotencyKeyError(InputError):
    """An Idempotency-Key that cannot be one."""

    code = "invalid_idempotency_key"


class IdempotencyMismatchError(InputError):
    """An Idempotency-Key that came with another content before."""

    code = "idempotency_key_reused"


class HostError(InputError):
    """A request under a name that is not this server's."""

    code = "host_not_allowed"


class OriginError(InputError):
    """A request of a page that may not use this server."""

    code = "origin_not_allowed"


class SlowRequestError(InputError):
    """A body that took too long to come."""

    code = "request_timeout"


class ClientLeftError(MusterError):
    """A client that went away before its answer; nobody reads this."""

    code = "client_left"


class OverloadedError(MusterError):
    """As many requests as allowed are being answered.

    Args:
        retry_after_s: when there should be a place.
    """

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, remedy: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class ErrorStatus(NamedTuple):
    """Status of an error on the wire.

    `retry_after_s` None = asking again does not help. `code` replaces ours where OpenAI has a name.
    """

    status: int
    type: str
    retry_after_s: int | None = None
    code: str | None = None


_REQUEST, _MISSING, _SERVER = "invalid_request_error", "not_found_error", "server_error"
_UNAVAILABLE = "service_unavailable_error"

STATUSES: Mapping[str, ErrorStatus] = {
    # what the caller sent
    "invalid_request": ErrorStatus(400, _REQUEST),
    "invalid_json": ErrorStatus(400, _REQUEST),
    "invalid_jsonl": ErrorStatus(400, _REQUEST),
    "invalid_json_line": ErrorStatus(400, _REQUEST),
    "unsupported_parameter": ErrorStatus(400, _REQUEST),
    "previous_response_not_found": ErrorStatus(400, _REQUEST),
    "unsupported_media_type": ErrorStatus(415, _REQUEST),
    "request_too_large": ErrorStatus(413, _REQUEST),
    "limit_exceeded": ErrorStatus(413, _REQUEST),
    "host_not_allowed": ErrorStatus(403, _REQUEST),
    "origin_not_allowed": ErrorStatus(403, _REQUEST),
    "request_timeout": ErrorStatus(408, _REQUEST),
    "client_left": ErrorStatus(499, _REQUEST),
    "invalid_idempotency_key": ErrorStatus(400, _REQUEST),
    "idempotency_key_reused": ErrorStatus(422, _REQUEST),
    "invalid_api_key": ErrorStatus(401, "authentication_error"),
    "insufficient_quota": ErrorStatus(429, "insufficient_quota"),
    "missing_scope": ErrorStatus(403, "permission_error"),
    "already_judged": ErrorStatus(409, _REQUEST),
    "merges_closed": ErrorStatus(403, _REQUEST),
    "too_many_merges": ErrorStatus(429, "rate_limit_error", retry_after_s=30),
    "file_in_use": ErrorStatus(409, _REQUEST),
    "job_running": ErrorStatus(409, _REQUEST),
    "profile_running": ErrorStatus(409, _REQUEST),
    "method_not_allowed": ErrorStatus(405, _REQUEST),
    "unknown_name": ErrorStatus(404, _MISSING),
    "not_found": ErrorStatus(404, _MISSING),
    "context_exceeded": ErrorStatus(400, _REQUEST, code=CONTEXT_LENGTH),
    "no_capable_expert": ErrorStatus(400, _REQUEST),
    "unsupported": ErrorStatus(400, _REQUEST, code="unsupported_parameter"),
    "incompatible_models": ErrorStatus(400, _REQUEST),
    "merge_failed": ErrorStatus(422, _REQUEST),
    "rate_limit_exceeded": ErrorStatus(429, "rate_limit_error", retry_after_s=1),
    # the experts
    "backend_error": ErrorStatus(502, _SERVER),
    "engine_crashed": ErrorStatus(502, _SERVER),
    "aggregation_failed": ErrorStatus(502, _SERVER),
    "no_answer": ErrorStatus(422, _REQUEST),
    "poison": ErrorStatus(422, _REQUEST),
    "request_refused": ErrorStatus(400, _REQUEST),
    "limit_too_low": ErrorStatus(400, _REQUEST),
    "invalid_output": ErrorStatus(422, _REQUEST),
    "cancelled": ErrorStatus(409, _REQUEST),
    "rate_limited": ErrorStatus(503, _UNAVAILABLE, retry_after_s=5),
    "engine_load_failed": ErrorStatus(503, _UNAVAILABLE),
    "expert_unavailable": ErrorStatus(503, _UNAVAILABLE),
    "card_invalid": ErrorStatus(503, _UNAVAILABLE),
    "not_profiled": ErrorStatus(503, _UNAVAILABLE),
    "generation_timeout": ErrorStatus(504, _SERVER),
    # the service
    "store_unavailable": ErrorStatus(503, _UNAVAILABLE, retry_after_s=5),
    "server_stopping": ErrorStatus(503, _UNAVAILABLE, retry_after_s=5),
    "schema_changed": ErrorStatus(503, _UNAVAILABLE, retry_after_s=30),
    "answer_changed": ErrorStatus(502, _SERVER),
    "muster_error": ErrorStatus(500, _SERVER),
    "config_invalid": ErrorStatus(500, _SERVER),
    "skill_error": ErrorStatus(500, _SERVER),
    "routing_failed": ErrorStatus(500, _SERVER),
    "composition_failed": ErrorStatus(500, _SERVER),
    "merge_stopped": ErrorStatus(500, _SERVER),
    "store_error": ErrorStatus(500, _SERVER),
    "stale_lease": ErrorStatus(500, _SERVER),
    "internal_error": ErrorStatus(500, _SERVER),
}

FAILED = ErrorStatus(502, _SERVER)
"""An answer's error code that has no row: the experts failed in a way only their backend names."""

_STATUS_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}


def error_body(error: MusterError) -> dict[str, JsonValue]:
    """`{"error": {message, type, param, code}}`; `code` is always a string.

    Bad lines of a question set are listed beside them: `lines`, with number and message of each.
    """
    status = STATUSES.get(error.code, FAILED)
    code = status.code or error.code
    if isinstance(error, UnknownNameError) and error.kind == "model":
        code = "model_not_found"
    message = str(error)
    if code == CONTEXT_LENGTH and code not in message:
        message = f"{message} ({code})"  # some clients know it by its message alone
    body: dict[str, JsonValue] = {
        "message": message,
        "type": status.type,
        "param": error.param,
        "code": code,
    }
    if isinstance(error, QuestionFileError):
        body["lines"] = [{"line": bad.line, "message": bad.message} for bad in error.errors]
    return {"error": body}


def status_of(error: MusterError) -> int:
    """HTTP status of an error."""
    return STATUSES.get(error.code, FAILED).status


def error_response(error: MusterError) -> JSONResponse:
    """The response of an error, with headers that say whether and when to try again."""
    status = STATUSES.get(error.code, FAILED)
    return JSONResponse(error_body(error), status_code=status.status, headers=_retry_headers(error, status))


def _retry_headers(error: MusterError, status: ErrorStatus) -> dict[str, str]:
    after_s = getattr(error, "retry_after_s", status.retry_after_s)
    if after_s is not None:
        seconds, ms = str(math.ceil(after_s)), str(math.ceil(1000 * after_s))
        return {"retry-after": seconds, "retry-after-ms": ms, "x-should-retry": "true"}
    return {} if status.status == 408 else {"x-should-retry": "false"}


def install_error_handlers(app: FastAPI) -> None:
    """All that a route raises is answered by OpenAI's error object; what is none of ours is logged and
    hidden."""
    app.add_exception_handler(MusterError, _on_muster_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_fields)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, _on_bug)


async def _on_muster_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MusterError)
    response = error_response(error)
    level = logging.ERROR if response.status_code >= 500 else logging.INFO
    log.log(level, "%s %s: %s (%s)", request.method, request.url.path, error, _request_id(request))
    return response


async def _on_invalid_fields(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(fields_error(error.errors()))


def _near_address(request: Request) -> str | None:
    """The address with `/v1` in front of it just once and no slash behind it, if that leads somewhere."""
    path = "/" + request.url.path.strip("/")
    while path.startswith("/v1/"):
        path = path.removeprefix("/v1")
    near = f"/v1{path}"
    if near == request.url.path:
        return None
    scope = {**request.scope, "path": near, "root_path": ""}
    leads = any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    return near if leads else None


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """The response to an address that leads nowhere, or that has no such method."""
    assert isinstance(error, HTTPException)
    code = _STATUS_CODES.get(error.status_code, "invalid_request")
    message = f"{request.method} {request.url.path}: {error.detail}."
    near = _near_address(request) if error.status_code == 404 else None
    if near is not None:
        message = f"{message} Did you mean {near}? The base URL of OpenAI clients ends with /v1."
    status = STATUSES[code]
    body = {"error": {"message": message, "type": status.type, "param": None, "code": code}}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed (%s)", request.method, request.url.path, _request_id(request), exc_info=error)
    failure = InternalError("internal error.", remedy=f"The log has it under {_request_id(request)}.")
    response = error_response(failure)
    response.headers["x-request-id"] = _request_id(request)
    return response


def fields_error(complaints: Sequence[Mapping[str, Any]], *, prefix: str = "") -> InputError:
    """Pydantic's complaints about fields, as one for the caller: all of them, `param` is the first's.

    Args:
        complaints: at least one.
        prefix: of the fields' paths, e.g. `body.`.
    """
    params = [_param(complaint, prefix) for complaint in complaints]
    told = [f"{param or 'the body'}: {_said(each)}" for param, each in zip(params, complaints, strict=True)]
    told = list(dict.fromkeys(told))
    more = f"; and {len(told) - SHOWN_FIELDS} more" if len(told) > SHOWN_FIELDS else ""
    unknown = all(complaint["type"] == "extra_forbidden" for complaint in complaints)
    kind = UnsupportedParameterError if unknown else InputError
    return kind(f"{'; '.join(told[:SHOWN_FIELDS])}{more}.", param=params[0])


def _param(complaint: Mapping[str, Any], prefix: str) -> str | None:
    path = field_path(complaint["loc"])
    return f"{prefix}{path}" if path else prefix.rstrip(".") or None


def _said(complaint: Mapping[str, Any]) -> str:
    if complaint["type"] == "extra_forbidden":
        return "unknown field"
    if complaint["type"] in ("model_type", "model_attributes_type"):
        return "must be a JSON object"
    return str(complaint["msg"]).removeprefix("Value error, ").rstrip(".")


def field_path(location: Sequence[int | str]) -> str | None:
    """`("body", "messages", 0, "role")` -> `messages.0.role`; None for the body as a whole."""
    parts = location[1:] if location and location[0] in ("body", "query", "path", "header") else location
    return ".".join(str(part) for part in parts) or None


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", "-"))
