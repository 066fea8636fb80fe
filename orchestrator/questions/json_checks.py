"""Checks of JSON from strangers: keys that repeat, and text or numbers that nothing behind could keep.

Every check takes time linear in the document, whatever is in it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

MAX_DEPTH = 64
SHOWN_CHARS = 200

Place = tuple[str | int, ...]


class RepeatedKeyError(ValueError):
    """A key that stands twice in one object; `key` is fit to be shown."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key '{shown(key)}' stands twice")
        self.key = shown(key)


class Flaw(NamedTuple):
    """A value that no field may have.

    Attributes:
        place: its path, `messages.0.content`; None = the document itself.
        is_unreadable: it is no text at all, rather than one that is refused.
    """

    place: str | None
    text: str
    is_unreadable: bool = False


def unique_keys(pairs: Sequence[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """The object of these pairs: an `object_pairs_hook`.

    Raises:
        RepeatedKeyError: which of two values counts is for nobody to guess.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedKeyError(name)
            seen.add(name)
    return found


def first_flaw(document: JsonValue) -> Flaw | None:
    """The first value, or key, with NUL, a lone surrogate, or beyond float64; or nested too deep."""
    for place, value in _leaves(document):
        text = TOO_DEEP if len(place) > MAX_DEPTH else _flaw(value)
        if text is not None:
            path = ".".join(shown(str(part)) for part in place[:MAX_DEPTH])
            return Flaw(shown(path) or None, text, is_unreadable=text in (TOO_DEEP, SURROGATE))
    return None


TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
SURROGATE = "the text holds a lone surrogate (no valid unicode)"
NUL = "the text holds a NUL character"
INFINITE = "the number is beyond the range of float64"


def shown(text: str) -> str:
    """The beginning of a text, as UTF-8 can carry it."""
    return text[:SHOWN_CHARS].encode(errors="replace").decode()


def _leaves(document: JsonValue) -> Iterator[tuple[Place, JsonValue]]:
    """Keys and scalar values with where they stand; iterative, so that depth costs no stack."""
    waiting: list[tuple[Place, JsonValue]] = [((), document)]
    while waiting:
        place, value = waiting.pop()
        if len(place) > MAX_DEPTH or not isinstance(value, dict | list):
            yield place, value
        elif isinstance(value, dict):
            for key in value:
                yield place, key
            waiting.extend(((*place, key), item) for key, item in value.items())
        else:
            waiting.extend(((*place, index), item) for index, item in enumerate(value))


def _flaw(value: JsonValue) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return INFINITE
    if not isinstance(value, str):
        return None
    if "\x00" in value:
        return NUL
    return None if value.isascii() or _is_unicode(value) else SURROGATE


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
