"""Failures of calls, and what follows: retry, wait, or give up. One table for every provider."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from orchestrator.domain.engines import Blame
from orchestrator.errors import (
    BackendError,
    ContextExceededError,
    ExpertUnavailableError,
    GenerationTimeoutError,
)

MISCONFIGURED = "expert_misconfigured"
RATE_LIMITED = "rate_limited"
BAD_RESPONSE = "bad_response"
REFUSED = "request_refused"

SHOWN_CHARS = 300
LONGEST_RETRY_AFTER_S = 86_400.0

_CONTEXT = re.compile(
    r"context[ _]?(length|window|size|exceeded)|maximum context|max_model_len"
    r"|prompt is too long|too many tokens",
    re.IGNORECASE,
)
_KNOWN_WORDS = "This model's maximum context length"
_HOPELESS_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class CallError(BackendError):
    """One attempt that yielded no answer.

    Args:
        code: `error_code` of the Failed event, unless another attempt succeeds.
        transient: the same call may succeed later.
        outage: nobody answered, or not sensibly: counts against the endpoint, not the request.
        away: of outages, those that are surely none of the request's: nobody there, a gateway says so, or
            the call was never made.
        lasting: no call can succeed until somebody repairs the configuration.
        retry_after_s: the endpoint's own wish.
        param: the field of the request that the endpoint complains about.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        transient: bool = False,
        outage: bool = False,
        away: bool = False,
        lasting: bool = False,
        retry_after_s: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.code = code
        self.transient = transient
        self.outage = outage
        self.away = away
        self.lasting = lasting
        self.retry_after_s = retry_after_s

    @property
    def blame(self) -> Blame:
        """Cause of the failure, as a `Failed` event names it."""
        if self.lasting:
            return "setup"
        if self.away or (self.code == RATE_LIMITED and self.transient):
            return "engine"
        return "unclear" if self.outage else "prompt"


class ErrorDetails(NamedTuple):
    """Message of an error body; "" and None where it says nothing."""

    message: str
    code: str
    param: str | None
    status: int | None


# ── by what happened ──────────────────────────────────────────────────────────────────────────────


def bad_response(message: str) -> CallError:
    """The endpoint answered, but not with a completion."""
    return CallError(message, code=BAD_RESPONSE)


def no_json(message: str) -> CallError:
    """Failure of an endpoint that does not speak this API: it sent a proxy's page, half a body, or nothing.

    Whether that is its state or comes of the request shows in what becomes of others.
    """
    return CallError(message, code=BAD_RESPONSE, outage=True)


def cut_stream() -> CallError:
    """A stream ended before the text did: an outage, worth another try."""
    return CallError("the stream ended before the text did.", code=BAD_RESPONSE, transient=True, outage=True)


def timed_out(what: str) -> CallError:
    """Nothing came in time: an outage, worth another try. Args: what: a sentence for people."""
    return CallError(what, code=GenerationTimeoutError.code, transient=True, outage=True)


def unreachable(reason: str) -> CallError:
    """Nobody was there: an outage that no request caused, worth another try."""
    return CallError(
        f"cannot be reached: {shortened(reason)}.",
        code=ExpertUnavailableError.code,
        transient=True,
        outage=True,
        away=True,
    )


def error_of_status(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> CallError:
    """The failure behind an HTTP status other than 200.

    Args:
        headers: names in lower case.
        now: with time zone, for `Retry-After` dates; None = the present.
    """
    details = error_details(body)
    says = f"HTTP {status}" + (f": {details.message}" if details.message else "")
    wait_s = retry_after_s(headers, now=now or datetime.now(UTC))
    final = headers.get("x-should-retry") == "false"
    if _is_context(status, details, final=final):
        return CallError(_too_long(says), code=ContextExceededError.code)
    if 300 <= status < 400:
        return CallError(
            f"{says}: redirects are not followed. Set api_base to the final address.",
            code=MISCONFIGURED,
            lasting=True,
        )
    if status in (401, 403):
        return CallError(f"{says} (check api_key)", code=MISCONFIGURED, lasting=True)
    if status == 404:
        return CallError(f"{says} (check api_base and the model's name)", code=MISCONFIGURED)
    if status == 429:
        hopeless = details.code in _HOPELESS_CODES
        return CallError(
            says, code=RATE_LIMITED, transient=not hopeless, lasting=hopeless, retry_after_s=wait_s
        )
    if status in (408, 504):
        return CallError(
            says, code=GenerationTimeoutError.code, transient=not final, outage=True, retry_after_s=wait_s
        )
    if status >= 500:
        return CallError(
            says,
            code=ExpertUnavailableError.code,
            transient=not final,
            outage=not final,
            away=not final and status in (502, 503),
            retry_after_s=wait_s,
        )
    if status >= 400:
        return CallError(says, code=REFUSED, param=details.param)
    return bad_response(f"{says}: not a completion.")


def _too_long(says: str) -> str:
    """In the words by which clients know it, whatever the server's are."""
    return says if _KNOWN_WORDS in says else f"{_KNOWN_WORDS} is exceeded: {says}"


def _is_context(status: int, details: ErrorDetails, *, final: bool) -> bool:
    """Servers say it with 400, 413 or 422; one that is itself a pool of experts, with a final 5xx."""
    if not (status in (400, 413, 422) or (status >= 500 and final)):
        return False
    return bool(_CONTEXT.search(details.code) or _CONTEXT.search(details.message))


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def error_details(body: bytes) -> ErrorDetails:
    """Reads OpenAI's error object and the forms near it; anything else becomes a short message."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorDetails(shortened(body.decode("utf-8", "replace")), "", None, None)
    error = document.get("error", document) if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return ErrorDetails(shortened(str(error)), "", None, None)
    message = error.get("message") or error.get("detail") or ""
    code, param = error.get("code"), error.get("param")
    return ErrorDetails(
        message=shortened(str(message)),
        code=str(code) if isinstance(code, str | int) else "",
        param=param if isinstance(param, str) else None,
        status=code if isinstance(code, int) else None,
    )


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Seconds to wait, from `retry-after-ms`, else `Retry-After` (seconds or a date); a day at most. None =
    neither says a time. Args: headers: names in lower case."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in headers:
            seconds = _number(headers[name], unit)
            if seconds is None and name == "retry-after":
                seconds = _seconds_until(headers[name], now)
            if seconds is not None:
                return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)
    return None


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return (then - now).total_seconds()


def shortened(text: str) -> str:
    """One line of at most `SHOWN_CHARS`."""
    line = " ".join(text[: 10 * SHOWN_CHARS].split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
