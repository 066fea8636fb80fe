"""Pages of lists: how many items, after which one, in which order."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from orchestrator.errors import InputError

T = TypeVar("T")


class PageRequest(NamedTuple):
    """Request for up to `limit` items: those after the item with the id `after` (None = from the beginning),
    the newest first or the oldest."""

    limit: int = 20
    after: str | None = None
    is_newest_first: bool = True


class Page(NamedTuple, Generic[T]):
    """Items of one page, and whether there are further ones after them."""

    items: Sequence[T]
    has_more: bool


def page_of(items: Sequence[T], request: PageRequest, id_of: Callable[[T], str]) -> Page[T]:
    """A page of a list that is in memory, in its order or the reverse.

    Raises:
        InputError: there is no item `after`.
    """
    ordered = list(items) if request.is_newest_first else list(reversed(items))
    start = 0
    if request.after is not None:
        ids = [id_of(item) for item in ordered]
        if request.after not in ids:
            raise nothing_after(request.after)
        start = ids.index(request.after) + 1
    return cut(ordered[start : start + request.limit + 1], request.limit)


def cut(items: Sequence[T], limit: int) -> Page[T]:
    """The first `limit` of items that were looked for with one more."""
    return Page(items[:limit], len(items) > limit)


def nothing_after(item_id: str) -> InputError:
    """The error for a page after an item that there is not."""
    return InputError(
        f"after: there is no '{item_id[:100]}' in this list.",
        param="after",
        remedy="Give the `last_id` of a page.",
    )
