"""Rendering of pages: templates, the words that they share, and what a browser may do with them."""

import hashlib
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.deps import caller_of_request
from api.digits import digits
from api.errors import error_body, fields_error, on_http_error, status_of
from orchestrator.domain.keys import ANYBODY, Scope
from orchestrator.domain.names import PUBLIC_PREFIX, short_name
from orchestrator.errors import InvalidKeyError, MusterError

STATIC = Path(__file__).with_name("static")
ICON = "icon.svg"

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Of every page: nothing from outside, nothing inline, in no frame, kept nowhere."""

MINUTE_S = 60
UNITS = ((86_400, "d"), (3600, "h"), (MINUTE_S, "min"), (1, "s"))


def page(request: Request, name: str, *, status: int = 200, **context: object) -> HTMLResponse:
    """A page from a template; it knows who calls, and which part of the site it is.

    Args:
        name: the template's file.
        status: the HTTP status.
    """
    caller = caller_of_request(request)
    text = (
        _templates()
        .get_template(name)
        .render(
            caller=caller,
            is_admin=caller.is_admin,
            may_ask=caller.may((Scope.ASK,)),
            may_batch=caller.may((Scope.BATCH,)),
            has_key=caller.key_id not in (None, ANYBODY.key_id),
            version=request.app.version,
            static=static_url,
            path=request.url.path,
            **context,
        )
    )
    return HTMLResponse(text, status_code=status, headers=dict(SECURITY_HEADERS))


def see_other(path: str) -> RedirectResponse:
    """Redirection to where to look after a form was taken."""
    return RedirectResponse(path, status_code=303, headers={"cache-control": "no-store"})


class PageRoute(APIRoute):
    """A route whose errors are pages, too; who needs a key is led to where one is given."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with a page in answer to errors of ours and of fields."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except MusterError as error:
                return error_page(request, error)
            except RequestValidationError as error:
                return error_page(request, fields_error(error.errors()))

        return handled


def error_page(request: Request, error: MusterError) -> Response:
    """A page that says what is wrong, and what to do."""
    if isinstance(error, InvalidKeyError):
        return see_other("/login")
    body = error_body(error)["error"]
    assert isinstance(body, dict)
    return page(
        request,
        "error.html",
        status=status_of(error),
        message=str(error),
        code=body["code"],
        lines=body.get("lines", []),
    )


def install_page_errors(web: FastAPI) -> None:
    """Errors of addresses that lead nowhere are pages, too, where a browser asks for one."""

    async def on_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        is_api = request.url.path.startswith("/v1")
        if is_api or "text/html" not in request.headers.get("accept", ""):
            return await on_http_error(request, error)
        message = f"There is no page {request.url.path}." if error.status_code == 404 else error.detail
        return page(request, "error.html", status=error.status_code, message=message, code="", lines=[])

    web.add_exception_handler(HTTPException, on_error)


@cache
def _templates() -> Environment:
    env = Environment(
        loader=PackageLoader("api.dashboard", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        percent=percent,
        digits=digits,
        duration=duration,
        ago=ago,
        clock=clock,
        day=day,
        count=count,
        memory=memory,
        usd=usd,
        short=short,
        shade=shade,
    )
    return env


@cache
def static_url(name: str) -> str:
    """Address of a file of ours; it changes with the content of any, so that browsers may keep it for good: a
    script names others beside it."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:12]
    assert (STATIC / name).is_file(), name
    return f"/static/{digest}/{name}"


# ── words ─────────────────────────────────────────────────────────────────────────────────────────


def percent(share: float | None) -> str:
    """`83 %`; a dash for nothing."""
    return "–" if share is None else f"{100 * share:.0f} %"


def shade(share: float | None) -> str:
    """Class of a cell by a share in [0, 1]: `h0` to `h10`."""
    return "none" if share is None else f"h{round(10 * min(max(share, 0.0), 1.0))}"


def count(number: float) -> str:
    """`1,234`; of fractions one digit. Args: number: of anything."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def short(model: str) -> str:
    """The name of a composition or expert alone: `knn` of `muster/knn`, `roman` of `expert:roman`."""
    return short_name(model).removeprefix(PUBLIC_PREFIX)


def memory(gib: float) -> str:
    """`19.8 GiB`; below one, `26 MiB`."""
    return f"{gib:.1f} GiB" if gib >= 1 or gib == 0 else f"{max(1024 * gib, 1):.0f} MiB"


def usd(amount: float) -> str:
    """`$0.0012`: enough digits to see something. Args: amount: >= 0, in USD."""
    if amount == 0:
        return "$0"
    return f"${amount:,.2f}" if amount >= 0.1 else f"${digits(amount, 2)}"


def duration(seconds: float | None) -> str:
    """`340 ms`, `12 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`. Args: seconds: None = not known: a dash."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * max(seconds, 0):.0f} ms"
    if seconds < MINUTE_S:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for (size, name), (part, small) in pairwise(UNITS):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def ago(then: float | None) -> str:
    """`4 min ago`; a dash for nothing. Args: then: seconds since 1970."""
    if then is None:
        return "–"
    passed = time.time() - then
    return "just now" if passed < 2 else f"{duration(float(round(passed)))} ago"


def clock(then: float | None) -> str:
    """Date and time in UTC; a dash for nothing. Args: then: seconds since 1970."""
    return "–" if then is None else datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(then: float | None) -> str:
    """Date in UTC: `2026-11-28`; a dash for nothing. Args: then: seconds since 1970."""
    return clock(then)[:10]
