"""Keys of callers, as plain ASGI middleware: who calls is known before a body is read."""

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import error_response
from orchestrator.domain.keys import ANYBODY, ApiKey
from orchestrator.errors import MusterError
from orchestrator.runtime.context import bound
from orchestrator.services.keys import Keys, caller_of

OPEN_PATHS = frozenset({"/", "/health", "/health/live", "/health/ready"})
"""Where things are, and whether they are well: for everybody."""

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
        if scope["path"] in OPEN_PATHS:
            state.update(caller=ANYBODY, key=None)
        else:
            try:
                key = await self._key(scope)
            except MusterError as error:
                await error_response(error)(scope, receive, send)
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


def secret_of(headers: Headers) -> str | None:
    """Secret that a call gives: as a bearer token, or under the names that other services use.

    What cannot be one is "", which is nobody's; None = nothing is given.
    """
    bearers = headers.getlist("authorization")
    if not bearers:
        given = [value for name in OTHER_HEADERS for value in headers.getlist(name)]
        return given[0].strip()[:MOST_CHARS] if len(given) == 1 else "" if given else None
    scheme, _, secret = bearers[0].strip().partition(" ")
    if len(bearers) > 1 or scheme.lower() != BEARER:
        return ""
    return secret.strip()[:MOST_CHARS]
