"""Allowance of one rendering: what a chat template, a program of strangers, may take of time and memory.

Everything that a template makes is counted, and what one step may make is bounded before the step, for a
step in C is not interrupted. Containers count as the text that they would be written as: one that holds
another twice holds it twice, so that nothing small stands for something huge.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, cast

MOST_S = 5.0
"""Processor time of one rendering, which takes milliseconds: a template may be made to run for ever."""
MOST_MADE = 1 << 26
"""Bytes that one rendering makes, beside those that grow with what was said."""
MADE_OF_BYTE = 64
"""Bytes that it makes for each byte that was said."""
MOST_BITS = 1 << 16
"""Of a number."""
MOST_NUMBER = 1 << 20
"""That a text is made wide, long or many by."""
MOST_DEPTH = 200
"""Of containers in containers."""
MOST_SLOW = 1 << 13
"""Characters for what takes time or room that grows with their square."""
_SLOW = frozenset(("striptags", "unescape", "urlize", "wordwrap", "xmlattr", "pprint"))
_BY_ITEM = frozenset(("list", "sort", "slice", "groupby", "min", "max", "dictsort"))
"""Filters that take a text apart into its characters."""
_LAZY = frozenset(
    ("map", "select", "reject", "selectattr", "rejectattr", "first", "default", "batch", "unique")
)
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_ITEM_BYTES = 64
_REFERENCE_BYTES = 8
_STEPS_A_LOOK = 16
"""Steps for each look at the clock, which takes longer than most steps."""
_PLAIN = (str, bytes, int)
_CONTAINERS = (list, tuple, dict, set, frozenset, range, *map(type, ({}.keys(), {}.values(), {}.items())))
_DIGITS = re.compile(r"\d+")
Made = TypeVar("Made")


class BeyondAllowanceError(ValueError):
    """A template that takes more than it may."""


class Allowance:
    """Allowance of one rendering, which becomes less.

    Args:
        said: what is rendered.
        until_s: of this thread's processor time.
        is_opaque: True for what may hold anything and change: it may not stand in a container.
    """

    def __init__(self, said: object, until_s: float, is_opaque: Callable[[object], bool]) -> None:
        self._until_s, self._is_opaque = until_s, is_opaque
        self._n_steps = 0
        self._known: dict[int, tuple[object, int, int]] = {}
        self._left = sys.maxsize
        size = self.size(said)
        self._most = (MOST_MADE >> 2) + size * 8
        self._left = MOST_MADE + size * MADE_OF_BYTE

    def require_time(self) -> None:
        """Count a step, and look at the clock now and then.

        Raises:
            BeyondAllowanceError: the time is over.
        """
        self._n_steps += 1
        if not self._n_steps % _STEPS_A_LOOK and time.thread_time() > self._until_s:
            raise BeyondAllowanceError(f"it did not end within {MOST_S:g} s")

    def expect(self, n_bytes: int) -> None:
        """Look whether so much may be made.

        Raises:
            BeyondAllowanceError: it may not.
        """
        self.require_time()
        if n_bytes > self._left:
            raise BeyondAllowanceError("a template may not make anything so large, or so much")

    def spend(self, n_bytes: int) -> None:
        """Count bytes that were made. Raises: as `expect`."""
        self.expect(n_bytes)
        self._left -= n_bytes

    def made(self, value: Made) -> Made:
        """A new value, counted. Raises: as `expect`."""
        if isinstance(value, _PLAIN):
            self.spend(sys.getsizeof(value))
        elif isinstance(value, _CONTAINERS):
            self._measured(value)
        return value

    def listed(self, items: Iterable[Made]) -> Iterator[Made]:
        """Items, counted as they come. Raises: as `expect`."""
        for item in items:
            self.spend(_REFERENCE_BYTES)
            self.size(item)
            yield item

    def size(self, value: object) -> int:
        """Characters of a value when it is written, about. Raises: as `expect`."""
        return self._measured(value)[0]

    def written(self, value: object) -> str:
        """A value as text, counted. Raises: as `expect`."""
        if isinstance(value, str):
            return value
        self.require_time()
        self.size(value)
        return self.made(str(value))

    def joined(self, parts: Sequence[object], between: object = "") -> None:
        """Count parts that will be one text. Raises: as `expect`."""
        n = len(parts) if isinstance(parts, str) else sum(self.size(part) for part in parts)
        self.expect(max(_width(parts), _width(between)) * (n + len(parts) * self.size(between)))

    def formatted(self, text: str | bytes, values: object) -> None:
        """Look what the values make of a text with places for them. Raises: as `expect`."""
        source = text if isinstance(text, str) else text.decode("latin-1")
        digits = max((len(found) for found in _DIGITS.findall(source)), default=0)
        widest = int(max(_DIGITS.findall(source), key=lambda run: (len(run), run))) if 0 < digits < 10 else 0
        if digits > 9:
            widest = sys.maxsize
        if "*" in source or ":" in source:  # a width may be one of the values
            widest += max((abs(n) for n in _numbers(values)), default=0)
        places = source.count("%") + source.count("{")
        self.expect(len(source) + places * (self.size(values) * max(_width(values), 4) + widest))

    def operated(self, operator: str, left: object, right: object) -> None:
        """Look what an operator makes of two values. Raises: as `expect`."""
        if operator in ("+", "-", "/", "//"):  # no larger than both together
            self.require_time()
        elif operator == "%" and isinstance(left, str | bytes):
            self.formatted(left, right)
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            n = bits * abs(right) if operator == "**" else bits + right.bit_length()
            self.expect(0 if n <= MOST_BITS else sys.maxsize)
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | bytes | list | tuple) and isinstance(times, int):
                    self.expect(sys.getsizeof(many) * times)
                    self._require_small(self.size(many) * times)

    def filtered(self, name: str, value: object, args: Sequence[object], named: Mapping[str, object]) -> None:
        """Look what a filter makes of a value and its arguments. Raises: as `expect`."""
        given = (*args, *named.values())
        self._take(name, value, given)
        if name == "format" and isinstance(value, str):
            self.formatted(value, given)
        elif name == "replace":
            self._replaced(str(value), [*args, *(named[key] for key in ("old", "new") if key in named)])
        elif name == "join":
            self.joined(_items(value), given[0] if given else "")
        elif name == "indent":
            lines = str(value).count("\n") + 1
            self.expect(4 * lines * max((self._number_or_size(one) for one in given), default=4))
        elif name == "tojson":
            size, depth = self._measured(value)
            wide = max((self._number_or_size(one) for one in given), default=1)
            self.expect(size * (6 + wide * depth))
        elif name == "sum" and any(isinstance(item, list | tuple) for item in _items(value)):
            self.expect(self.size(value) * len(_items(value)))
        elif name == "round":
            self._bound(given, 1000)
        elif name in _BY_ITEM and isinstance(value, str | bytes):
            self.expect(len(value) * (_REFERENCE_BYTES if str(value).isascii() else _ITEM_BYTES))

    def called(self, name: str, owner: object, args: Sequence[object], named: Mapping[str, object]) -> None:
        """Look what a method makes of its owner and its arguments. Raises: as `expect`."""
        given = (*args, *named.values())
        if not isinstance(owner, str | bytes | int):
            self.require_time()
            for one in given:
                self.size(one)
            return
        self._take(name, owner, given)
        if not isinstance(owner, str):
            if name == "join" and args:
                self.joined(_items(args[0]), owner)
            elif name not in ("hex", "decode", "to_bytes", "count", "find", "startswith", "endswith"):
                self.expect(self.size(owner) * (1 + self.size(given)))
        elif name in ("format", "format_map"):
            self.formatted(owner, given)
        elif name == "replace":
            self._replaced(owner, args)
        elif name == "join" and args:
            self.joined(_items(args[0]), owner)
        elif name == "translate" and args:
            self.expect(4 * len(owner) * max((self.size(v) for v in _values(args[0])), default=1))
        elif name == "expandtabs":
            self.expect(4 * owner.count("\t") * max((abs(n) for n in _numbers(given)), default=8))
        elif name in ("split", "rsplit"):
            between = next((one for one in given if isinstance(one, str) and one), None)
            self.expect(_ITEM_BYTES * (owner.count(between) if between else len(owner) // 2))
        elif name == "splitlines":
            self.expect(_ITEM_BYTES * sum(owner.count(end) for end in _LINE_ENDS))

    def _take(self, name: str, value: object, given: Sequence[object]) -> None:
        """Look at what is handed to a function."""
        self.require_time()
        size = self.size(value) + sum(self.size(one) for one in given)
        if name in _SLOW and size > MOST_SLOW:
            raise BeyondAllowanceError(f"a template may not {name} anything so large")
        self._bound(given, MOST_NUMBER)

    def _bound(self, given: object, most: int) -> None:
        if any(abs(n) > most for n in _numbers(given)):
            self.expect(sys.maxsize)

    def _replaced(self, text: str, args: Sequence[object]) -> None:
        if len(args) > 1:
            old, new = str(args[0]), str(args[1])
            self.expect(_width((text, new)) * (len(text) + text.count(old) * len(new)))

    def _number_or_size(self, value: object) -> int:
        return abs(value) if isinstance(value, int) else self.size(value)

    def _require_small(self, size: int) -> None:
        if size > self._most:
            self.expect(sys.maxsize)

    def _measured(self, value: object) -> tuple[int, int]:
        """Characters, and how deep its containers go."""
        if isinstance(value, (str, bytes)):
            return len(value), 0
        if not isinstance(value, _CONTAINERS):
            return (value.bit_length() // 3 if isinstance(value, int) else 0) + 8, 0
        known = self._known.get(id(value))
        if known is not None:
            return known[1], known[2]
        self.spend(sys.getsizeof(value))
        size, depth = 2, 0
        for part in _parts(value):
            if self._is_opaque(part):
                raise BeyondAllowanceError("a template may not keep a namespace in a list")
            n, below = self._measured(part)
            size, depth = size + n + 2, max(depth, below)
        if depth >= MOST_DEPTH:
            raise BeyondAllowanceError("a template may not nest anything so deep")
        if self._left < sys.maxsize // 2:  # what was said is as large as it is
            self._require_small(size)
        self._known[id(value)] = (value, size, depth + 1)
        return size, depth + 1


def is_lazy(name: str) -> bool:
    """True for filters whose items are made as they are read, or that read few."""
    return name in _LAZY


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, _CONTAINERS):
        yield from cast(Iterable[object], value)


def _items(value: object) -> Sequence[object]:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return list(value)
    return list(_parts(value)) if isinstance(value, _CONTAINERS) else [value]


def _values(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()


def _numbers(value: object) -> Iterator[int]:
    """Numbers among values, and in what they hold at once."""
    for part in (value, *_parts(value)):
        for one in (part, *_parts(part)):
            if isinstance(one, int):
                yield one


def _width(value: object) -> int:
    """Bytes of the widest character of a text, or of texts."""
    if isinstance(value, str):
        return 1 if value.isascii() else 4
    return max((_width(part) for part in _parts(value)), default=1)
