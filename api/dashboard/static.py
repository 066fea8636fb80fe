"""Files of the pages: style, scripts and pictures of our own."""

from fastapi import APIRouter, Request, Response

from api.dashboard.rendering import SECURITY_HEADERS, STATIC, PageRoute
from orchestrator.errors import NotFoundError

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOREVER = "public, max-age=31536000, immutable"

router = APIRouter(route_class=PageRoute, include_in_schema=False, tags=["files of pages"])


@router.get("/static/{digest}/{name}")
def static_file(digest: str, name: str, request: Request) -> Response:
    """A file as it is now, whatever content its address was made for."""
    del digest, request
    if name not in {path.name for path in STATIC.iterdir()}:
        raise NotFoundError("there is no such file.", param="name")
    path = STATIC / name
    headers = {**SECURITY_HEADERS, "cache-control": FOREVER}
    return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix], headers=headers)


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """The icon, under the address that browsers try by themselves."""
    return static_file("", "icon.svg", request)
