"""Values as JSON between the tester and the program. What arrives is checked data; nothing is executed.

A message holds a flat table of nodes, so that shared and cyclic containers stay so and nesting costs no
recursion. Plain scalars stand for themselves; `[k]` is node k. An object without a data form crosses as a
handle: the number under which its own side keeps it.
"""

import builtins
import collections
import datetime
import decimal
import fractions
import functools
import importlib
import json
import sys
import types
from collections.abc import Callable
from typing import NamedTuple

Node = list[object]
Known = dict[int, object]
"""Containers of a request by node number: the answer says what has become of them."""

_SCALARS = (bool, float, str, type(None))
_SMALL = 1 << 63
_CONTAINERS: dict[type, str] = {
    list: "list", tuple: "tuple", set: "set", frozenset: "frozenset", dict: "dict", bytearray: "bytearray",
    collections.deque: "deque", collections.OrderedDict: "ordered", collections.defaultdict: "default",
    collections.Counter: "counter",
}  # fmt: skip
_MAPPINGS = (dict, collections.OrderedDict, collections.defaultdict, collections.Counter)
MUTABLE = (list, set, bytearray, collections.deque, *_MAPPINGS)
_BY_NAME = frozenset(
    value for value in vars(builtins).values() if isinstance(value, type) and value is not type
)
_NAMED = {value.__name__: value for value in _BY_NAME}


class WireError(Exception):
    """Something arrived that is no message."""


class Handle(NamedTuple):
    """An object of the other side.

    `kind`: object, function, class, error (a class of exceptions), module or coroutine. `bases` of an error:
    built-in classes by name, others as `#number:name`.
    """

    number: int
    kind: str
    name: str
    has_data: bool = False
    bases: tuple[str, ...] = ()


class Encoder:
    """Writes values of one message.

    Args:
        handle_of: registers an object of this side and describes it.
        mine: number of an object of the other side that this side holds, or None.
        known: containers of the request that this message answers.
        shares_library: functions of the standard library go by name; the other side uses its own.
    """

    def __init__(
        self,
        handle_of: Callable[[object], Handle],
        mine: Callable[[object], int | None],
        known: Known | None = None,
        *,
        shares_library: bool = False,
    ) -> None:
        self._handle_of, self._mine, self._shares_library = handle_of, mine, shares_library
        self._known = {id(value): number for number, value in (known or {}).items()}
        self._places: dict[int, int] = {}
        self._kept: list[object] = []
        self._todo: list[tuple[Node, object]] = []
        self.nodes: list[Node] = []

    def word(self, value: object) -> object:
        """The value, or a reference to its node."""
        kind = type(value)
        if kind in _SCALARS or (kind is int and -_SMALL < value < _SMALL):  # type: ignore[operator]
            return value
        place = self._places.get(id(value))
        if place is None:
            place = self._places[id(value)] = len(self.nodes)
            node: Node = []
            self.nodes.append(node)
            self._kept.append(value)
            self._todo.append((node, value))
        return [place]

    def finish(self) -> list[Node]:
        """All nodes, with what they refer to."""
        while self._todo:
            node, value = self._todo.pop()
            node.extend(self._node(value))
        return self.nodes

    def mutable(self) -> Known:
        """Containers of this message that the other side may change."""
        return {self._places[id(v)]: v for v in self._kept if type(v) in MUTABLE}

    def _node(self, value: object) -> Node:
        number = self._mine(value)
        if number is not None:
            return ["yours", number]
        kind = type(value)
        if kind in _CONTAINERS:
            return [_CONTAINERS[kind], self._known.get(id(value)), *self._content(value)]
        if isinstance(value, type) and value in _BY_NAME:
            return ["type", value.__name__]
        scalar = _SCALAR_FORMS.get(kind)
        if scalar is not None and (form := scalar(value)) is not None:
            return [kind.__name__, *form]
        if self._shares_library and (names := _library_names(value)):
            return ["library", *names]
        return ["handle", *self._handle_of(value)]

    def _content(self, value: object) -> Node:
        if isinstance(value, bytearray):
            return [value.decode("latin-1")]
        if isinstance(value, dict):
            return [[self.word(x) for pair in value.items() for x in pair]]
        if isinstance(value, collections.deque):
            return [[self.word(x) for x in value], value.maxlen]
        assert isinstance(value, list | tuple | set | frozenset)
        return [[self.word(x) for x in value]]


def _library_names(value: object) -> tuple[str, str] | None:
    """Module and qualified name of a function or class of the standard library."""
    owner = value
    if isinstance(value, types.MethodDescriptorType):
        owner = value.__objclass__
    elif isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, type):
        owner = value.__self__
    elif not isinstance(value, types.BuiltinFunctionType | types.FunctionType | type):
        return None
    module, name = getattr(owner, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module not in sys.stdlib_module_names:
        return None
    try:
        return (module, name) if _library_object(module, name) == value else None
    except (AttributeError, ImportError):
        return None


def _library_object(module: str, name: str) -> object:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _time_zone(value: datetime.datetime | datetime.time) -> str | None:
    if value.tzinfo is None:
        return ""
    return "utc" if value.tzinfo is datetime.UTC else None


def _clock_form(value: datetime.datetime | datetime.time) -> list[object] | None:
    return None if (zone := _time_zone(value)) is None else [value.replace(tzinfo=None).isoformat(), zone]


_SCALAR_FORMS: dict[type, Callable[..., list[object] | None]] = {
    int: lambda v: [hex(v)],
    bytes: lambda v: [v.decode("latin-1")],
    complex: lambda v: [v.real, v.imag],
    range: lambda v: [hex(x) for x in (v.start, v.stop, v.step)],
    slice: lambda v: (
        [None if x is None else hex(x) for x in (v.start, v.stop, v.step)]
        if all(x is None or type(x) is int for x in (v.start, v.stop, v.step))
        else None
    ),
    decimal.Decimal: lambda v: [str(v)],
    fractions.Fraction: lambda v: [hex(v.numerator), hex(v.denominator)],
    datetime.timedelta: lambda v: [v.days, v.seconds, v.microseconds],
    datetime.date: lambda v: [v.isoformat()],
    datetime.datetime: _clock_form,
    datetime.time: _clock_form,
    type(Ellipsis): lambda _: [],
    type(NotImplemented): lambda _: [],
}


def _integer(text: object) -> int:
    return int(_text(text), 16)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise WireError("no text")
    return value


def _clock(kind: type, text: object, zone: object) -> object:
    value = kind.fromisoformat(_text(text))  # type: ignore[attr-defined]
    return value.replace(tzinfo=datetime.UTC) if zone == "utc" else value


_READ: dict[str, Callable[..., object]] = {
    "int": _integer,
    "bytes": lambda v: _text(v).encode("latin-1"),
    "complex": lambda re, im: complex(float(re), float(im)),
    "range": lambda *v: range(*map(_integer, v)),
    "slice": lambda *v: slice(*(None if x is None else _integer(x) for x in v)),
    "Decimal": lambda v: decimal.Decimal(_text(v)),
    "Fraction": lambda n, d: fractions.Fraction(_integer(n), _integer(d)),
    "timedelta": lambda d, s, m: datetime.timedelta(int(d), int(s), int(m)),
    "date": lambda v: datetime.date.fromisoformat(_text(v)),
    "datetime": lambda v, zone: _clock(datetime.datetime, v, zone),
    "time": lambda v, zone: _clock(datetime.time, v, zone),
    "ellipsis": lambda: ...,
    "NotImplementedType": lambda: NotImplemented,
    "type": lambda name: _NAMED[_text(name)],
}
_EMPTY: dict[str, Callable[[], object]] = {
    "list": list, "set": set, "dict": dict, "bytearray": bytearray, "ordered": collections.OrderedDict,
    "default": lambda: collections.defaultdict(None), "counter": collections.Counter,
    "deque": collections.deque,
}  # fmt: skip


class Decoder:
    """Reads the values of one message.

    Args:
        nodes: as they arrived.
        foreign: what stands for an object of the other side.
        mine: an object of this side by its number.
        known: containers that this side sent in the request: they take their new content.
        shares_library: functions of the standard library may be named.
    """

    def __init__(
        self,
        nodes: object,
        foreign: Callable[[Handle], object],
        mine: Callable[[int], object],
        known: Known | None = None,
        *,
        shares_library: bool = False,
    ) -> None:
        self._shares_library = shares_library
        if not isinstance(nodes, list):
            raise WireError("no nodes")
        self._nodes, self._foreign, self._mine, self._known = nodes, foreign, mine, known or {}
        self.values: dict[int, object] = {}

    def read(self) -> None:
        """Decode all nodes: mutable ones first and empty, then immutable ones by what they hold.

        Raises:
            WireError: they are malformed.
        """
        try:
            mutable = [k for k, node in enumerate(self._nodes) if node[0] in _EMPTY]
            for k in mutable:
                self.values[k] = self._container(self._nodes[k])
            for k in range(len(self._nodes)):
                self._immutable(k)
            for k in mutable:
                self._fill(self.values[k], self._nodes[k])
        except WireError:
            raise
        except Exception as error:  # whatever a hostile message breaks, it is no message
            raise WireError(str(error)) from None

    def word(self, word: object) -> object:
        if isinstance(word, list):
            (place,) = word
            return self.values[place]
        if isinstance(word, dict):
            raise WireError("no value")
        return word

    def mutable(self) -> Known:
        return {k: value for k, value in self.values.items() if type(value) in MUTABLE}

    def _container(self, node: Node) -> object:
        fresh = _EMPTY[_text(node[0])]()
        if isinstance(fresh, collections.deque) and node[3] is not None:
            fresh = collections.deque(maxlen=int(str(node[3])))
        known = self._known.get(node[1]) if isinstance(node[1], int) else None
        return known if known is not None and type(known) is type(fresh) else fresh

    def _immutable(self, start: int) -> None:
        """Depth first without recursion; a tuple that holds itself does not exist."""
        stack = [start]
        while stack:
            k = stack[-1]
            if k in self.values:
                stack.pop()
                continue
            kind, *rest = self._nodes[k]
            if kind not in ("tuple", "frozenset"):
                self.values[k] = self._leaf(kind, rest)
                continue
            missing = [w[0] for w in rest[1] if isinstance(w, list) and w[0] not in self.values]
            if not missing:
                content = (self.word(w) for w in rest[1])
                self.values[k] = tuple(content) if kind == "tuple" else frozenset(content)
            elif len(stack) > len(self._nodes):
                raise WireError("a tuple holds itself")
            stack.extend(missing)

    def _leaf(self, kind: str, rest: Node) -> object:
        if kind == "handle":
            number, sort, name, has_data, bases = rest
            if not isinstance(number, int) or not isinstance(bases, list):
                raise WireError("no handle")
            return self._foreign(
                Handle(number, _text(sort), _text(name), bool(has_data), tuple(map(_text, bases)))
            )
        if kind == "yours":
            return self._mine(int(str(rest[0])))
        if kind == "library" and self._shares_library:
            return _library_object(*map(_text, rest))
        return _READ[kind](*rest)

    def _fill(self, value: object, node: Node) -> None:
        content = node[2]
        if isinstance(value, bytearray):
            value[:] = _text(content).encode("latin-1")
            return
        assert isinstance(content, list)
        items = [self.word(w) for w in content]
        if isinstance(value, dict):
            value.clear()
            dict.update(value, zip(items[::2], items[1::2], strict=True))
        elif isinstance(value, list):
            value[:] = items
        elif isinstance(value, set):
            value.clear()
            value.update(items)
        elif isinstance(value, collections.deque):
            value.clear()
            value.extend(items)


def pack(message: dict[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def unpack(data: bytes) -> dict[str, object]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireError(str(error)) from None
    if not isinstance(message, dict):
        raise WireError("no message")
    return message
