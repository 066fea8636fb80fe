"""Wire types of `/v1/models`."""

from typing import Literal

from api.schemas.base import Wire


class ModelView(Wire):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(Wire):
    object: Literal["list"] = "list"
    data: list[ModelView]
