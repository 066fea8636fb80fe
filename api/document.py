"""The OpenAPI document of the server: what FastAPI reads off the routes, and which of these need a key."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.middleware.keys import BEARER, is_open

SCHEME = "key"
_DESCRIPTION = (
    "A key of `muster keys create`, as a bearer token. A server that has made none asks nobody for one. "
    "`api-key` and `x-api-key` are read as well."
)


class Documented(FastAPI):
    """A FastAPI application whose document says where a key is needed, as `middleware.keys.is_open` does."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes[SCHEME] = {"type": "http", "scheme": BEARER, "description": _DESCRIPTION}
            for operation in _closed(document):
                operation["security"] = [{SCHEME: []}]
        return super().openapi()


def _closed(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Operations that need a key."""
    for path, methods in document["paths"].items():
        if not is_open(path):
            yield from methods.values()
