"""Pages of lists as they are shown."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from api.schemas.base import Wire
from api.schemas.pages import PageView

V = TypeVar("V", bound=Wire)


def page_view(items: Sequence[V], *, id_of: Callable[[V], str], has_more: bool) -> PageView[V]:
    """One page of a list.

    Args:
        id_of: of an item, by which the next page is asked for.
        has_more: further pages follow.
    """
    return PageView(
        data=list(items),
        first_id=id_of(items[0]) if items else None,
        last_id=id_of(items[-1]) if items else None,
        has_more=has_more,
    )
