"""Texts for a terminal: what others wrote is shown, and steers nothing."""

import re

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but the tab and the line feed: a terminal obeys them. So it does those that turn the
direction of what comes after them, whosever that is."""


def plain(text: str) -> str:
    """The text with control characters written as Python would (`\\x1b`, `\\u202e`)."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def literal_console(width: int | None = None) -> Console:
    """A console on stdout that takes no text for markup: an answer may hold what looks like it.

    Args:
        width: in characters; None = the terminal's.
    """
    return Console(width=width, markup=False, emoji=False)


class Plain:
    """A renderable whose texts are plain; its colours stay."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
