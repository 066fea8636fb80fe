"""Callers: names under which the API may be addressed, and pages that may use it from a browser.

A page of anywhere, open in the user's browser, reaches this machine too: by the address, and by a name of its
own that suddenly leads here (DNS rebinding). It cannot lie about either: the browser says the name as `Host`,
and the page as `Origin`, or that a request is foreign as `Sec-Fetch-Site`. Who is no browser says no origin.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import HostError, OriginError, error_response

ANY = "*"
PROBES = frozenset({"/health", "/health/live"})
"""Say that the process lives, and nothing else: whoever probes it may call it anything."""

_FOREIGN = ("cross-site", "same-site")


class AllowedHosts:
    """Refuses with 403 requests under a name that is not of this machine.

    Allowed are the loopback's names, the address at which a connection arrived, and `names`.

    Args:
        names: without ports; `*` = any.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str]) -> None:
        self.app = app
        self._names = frozenset(host_of(name) or name for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or self._is_allowed(scope):
            await self.app(scope, receive, send)
            return
        given = ", ".join(Headers(scope=scope).getlist("host"))
        error = HostError(
            f"this server is not called '{given[:80]}'." if given else "the request has no Host header.",
            param="Host",
            remedy="Use an address of the server, or add the name to muster.server.allowed_hosts.",
        )
        await error_response(error)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if ANY in self._names:
            return True
        given = Headers(scope=scope).getlist("host")
        host = host_of(given[0]) if len(given) == 1 else None
        if host is None:
            return False
        return host in self._names or is_loopback(host) or host == host_of(str((scope["server"] or ("",))[0]))


class AllowedOrigins:
    """Refuses with 403 what a foreign page asks for.

    Allowed are pages of this server itself and `origins`, and following a link here.

    Args:
        origins: `https://name[:port]`; `*` = any page.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self.app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or self._is_allowed(scope):
            await self.app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin", "another site")
        error = OriginError(
            f"pages of '{origin[:200]}' may not use this server.",
            param="Origin",
            remedy="Add it to muster.server.allowed_origins if it is yours.",
        )
        await error_response(error)(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if ANY in self._origins:
            return True
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if origins:
            return len(origins) == 1 and (origins[0] in self._origins or _is_own(origins[0], headers, scope))
        if headers.get("sec-fetch-site", "none").strip().lower() not in _FOREIGN:
            return True
        is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        return is_link and scope["method"] in ("GET", "HEAD")


def host_of(value: str) -> str | None:
    """The host of a `Host` header in its one spelling: lower case, without port, brackets and last dot.

    None = it is none.
    """
    if not value or any(c.isspace() or c in "/@\\?#," for c in value):
        return None
    if value.count(":") > 1 and not value.startswith("["):  # an address without brackets
        value = "" if "]" in value else f"[{value}]"
    try:
        parts = urlsplit(f"//{value}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return (host or "").removesuffix(".") or None


def is_loopback(host: str) -> bool:
    """True for a name of the machine itself, as `host_of` spells it."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    except ValueError:
        return False


def _is_own(origin: str, headers: Headers, scope: Scope) -> bool:
    """Whether a page is of this very server: its name and port are those that the request is for."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{headers.get('host', '')}")
        ports = (page.port or _port(page.scheme), here.port or _port(page.scheme))
    except ValueError:
        return False
    if page.scheme not in ("http", "https") or not page.hostname or scope["type"] != "http":
        return False
    return host_of(page.netloc) == host_of(here.netloc) and ports[0] == ports[1]


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
