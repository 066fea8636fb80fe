"""Wire types of lists: all are asked for page by page."""

from typing import Generic, Literal, TypeVar

from api.schemas.base import Wire

T = TypeVar("T")


class PageView(Wire, Generic[T]):
    """A page of a list. `has_more`: there are further items; ask for them with `after` = `last_id`."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None
    last_id: str | None
    has_more: bool
