"""Keys of callers, as plain ASGI middleware: who calls is known before a body is read."""

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import error_response
from orchestrator.domain.keys import ANYBODY, ApiKey
from orchestrator.errors import InvalidKeyError, MusterError
from orchestrator.runtime.context import bound
from orchestrator.services.keys import Keys, caller_of

OPEN_PATHS = frozenset({"/v1", "/health", "/health/live", "/health/ready", "/login", "/logout"})
"""Where things are, whether they are well, and where a key is given: for everybody."""
OPEN_PREFIX = "/static/"
LOGIN = "/login"
KEY_COOKIE = "muster_key"
"""The key of whoever reads the pages: sent by a browser to this host only, at any port; read by no script."""

BEARER = "bearer"
OTHER_HEADERS = ("api-key", "x-api-key")
MOST_CHARS = 512


class ApiKeys:
    """Refuses with 401 whoever needs a key and has none; leaves `caller` and `key` in the request's state."""

    def __init__(self, app: ASGIApp, *, keys: Keys) -> None:
        self.app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if is_open(scope["path"]):
            state.update(caller=ANYBODY, key=None)
        else:
            try:
                key = await self._key(scope)
            except MusterError as error:
                gave = _kept(Headers(scope=scope)) is not None
                response = to_login(scope, wrong=gave) if isinstance(error, InvalidKeyError) else None
                await (response or error_response(error))(scope, receive, send)
                return
            state.update(caller=caller_of(key), key=key)
        with bound(key=state["caller"].owner_id):
            await self.app(scope, receive, send)

    async def _key(self, scope: Scope) -> ApiKey | None:
        """
        Raises:
            InvalidKeyError: one is needed, and there is none that is valid.
        """
        if self._keys.are_known_not_to_be_needed():
            return None
        secret = secret_of(Headers(scope=scope))
        known = self._keys.recall(secret)
        return known if known is not None else await run_in_threadpool(self._keys.identify, secret)


def is_open(path: str) -> bool:
    """True if nobody is asked for a key there."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def to_login(scope: Scope, *, wrong: bool = False) -> RedirectResponse | None:
    """Redirection of a browser that wants a page to where a key is given; None = it wants something else.

    Args:
        wrong: it sent a key, which is none any more: the page says so.
    """
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    if not wants_page or scope["path"].startswith("/v1"):
        return None
    return RedirectResponse(
        LOGIN + "?wrong=true" * wrong, status_code=303, headers={"cache-control": "no-store"}
    )


def secret_of(headers: Headers) -> str | None:
    """Secret that a call gives: as a bearer token, under the names that other services use, or as the cookie
    of the pages.

    What cannot be one is "", which is nobody's; None = nothing is given.
    """
    bearers = headers.getlist("authorization")
    if not bearers:
        given = [value for name in OTHER_HEADERS for value in headers.getlist(name)]
        if not given:
            return _kept(headers)
        return given[0].strip()[:MOST_CHARS] if len(given) == 1 else ""
    scheme, _, secret = bearers[0].strip().partition(" ")
    if len(bearers) > 1 or scheme.lower() != BEARER:
        return ""
    return secret.strip()[:MOST_CHARS]


def _kept(headers: Headers) -> str | None:
    """Key that a browser keeps."""
    cookies = cookie_parser("; ".join(headers.getlist("cookie")))
    return cookies[KEY_COOKIE].strip()[:MOST_CHARS] if KEY_COOKIE in cookies else None
