"""Objects of the other side, used from afar.

Using a `Remote` asks the other side; what comes back is a copy of data, or another `Remote`. A comparison
with data is never left to the other side: its object is compared by its data form, and equals nothing if it
has none.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from skills.grading.confined.operations import ARITHMETIC, COMPARISONS, IN_PLACE
from skills.grading.confined.wire import Handle

_IMMUTABLE = (int, float, complex, str, bytes, tuple, frozenset)


class Asker(Protocol):
    """Asks the other side."""

    def request(self, operation: str, *args: object, **kwargs: object) -> object: ...


class Remote:
    """An object of the other side."""

    __slots__ = ("__weakref__", "_data_", "_handle_", "_peer_")
    _peer_: Asker
    _handle_: Handle

    def __init__(self, peer: Asker, handle: Handle) -> None:
        object.__setattr__(self, "_peer_", peer)
        object.__setattr__(self, "_handle_", handle)

    def __getattr__(self, name: str) -> object:
        return self._peer_.request("getattr", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._peer_.request("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._peer_.request("delattr", self, name)

    def __iter__(self) -> Iterator[object]:
        iterator = self._peer_.request("iter", self)
        if not isinstance(iterator, Iterator):
            raise TypeError("no iterator")
        return iterator

    def __contains__(self, value: object) -> bool:
        """By what it iterates over: its own word on `value` is not taken."""
        return any(item is value or item == value for item in self)

    def __dir__(self) -> list[str]:
        names = self._peer_.request("dir", self)
        return [str(name) for name in names] if isinstance(names, list) else []

    def __enter__(self) -> object:
        return self._peer_.request("enter", self)

    def __exit__(self, *error: object) -> object:
        """The program may not swallow that an assertion failed."""
        value = error[1]
        taken = self._peer_.request("exit", self, error[0], None if value is None else str(value), None)
        return taken and not isinstance(value, AssertionError)

    def __format__(self, how: str) -> str:
        return str(self._peer_.request("format", self, how))

    def __reduce_ex__(self, _protocol: object) -> str:
        raise TypeError("an object of the program cannot be copied by the tests")


class RemoteFunction(Remote):
    """A function of the other side, or another object that can be called."""

    __slots__ = ()

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._peer_.request("call", self, *args, **kwargs)


class RemoteClass(RemoteFunction):
    """A class of the other side."""

    __slots__ = ()

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, Remote) and self._peer_.request("is_instance", value, self) is True

    def __subclasscheck__(self, value: object) -> bool:
        return isinstance(value, Remote) and self._peer_.request("is_subclass", value, self) is True


def _comparison(name: str) -> Callable[[Remote, object], object]:
    compare = COMPARISONS[name]

    def method(self: Remote, other: object) -> object:
        if isinstance(other, Remote) and not (self._handle_.has_data and other._handle_.has_data):
            return self._peer_.request(name, self, other)
        if isinstance(other, Remote):
            return compare(_data_of(self), _data_of(other))
        if self._handle_.has_data:
            return compare(_data_of(self), other)
        if type(other).__module__ != "builtins":
            return NotImplemented  # it may have an opinion of its own: `mock.ANY`, a class of the tests
        if name in ("eq", "ne"):
            return name == "ne"
        raise TypeError(f"an object of the program has no order with {type(other).__name__!r}")

    return method


def _data_of(remote: Remote) -> object:
    """A copy of what a `tuple`, `str`, … of a class of its own holds.

    Immutable data is asked for once: `low <= x <= high` is about one x.
    """
    try:
        return object.__getattribute__(remote, "_data_")
    except AttributeError:
        data = remote._peer_.request("data", remote)
    if isinstance(data, _IMMUTABLE):
        object.__setattr__(remote, "_data_", data)
    return None if isinstance(data, Remote) else data


def _asked(name: str, *, reverse: bool = False) -> Callable[..., object]:
    def method(self: Remote, *others: object) -> object:
        arguments = (*others, self) if reverse else (self, *others)
        return self._peer_.request(name, *arguments)

    return method


def _typed(name: str, kind: Callable[..., object]) -> Callable[..., object]:
    def method(self: Remote) -> object:
        value = self._peer_.request(name, self)
        return value if type(value) is kind else kind()

    return method


def _give_methods() -> None:
    for name in COMPARISONS:
        setattr(Remote, f"__{name}__", _comparison(name))
    for name in ARITHMETIC:
        setattr(Remote, f"__{name}__", _asked(name))
        setattr(Remote, f"__r{name}__", _asked(name, reverse=True))
    for name in IN_PLACE:
        setattr(Remote, f"__{name}__", _asked(name))
    for name in ("getitem", "setitem", "delitem", "neg", "pos", "abs", "invert", "reversed", "round", "next"):
        setattr(Remote, f"__{name}__", _asked(name))
    for name, kind in {
        "len": int, "bool": bool, "str": str, "repr": str, "hash": int, "int": int, "float": float,
        "index": int, "complex": complex, "bytes": bytes,
    }.items():  # fmt: skip
        setattr(Remote, f"__{name}__", _typed(name, kind))


_give_methods()


async def awaited(remote: "Remote") -> object:
    """A coroutine of this side that runs one of the other side, to its end."""
    return remote._peer_.request("await", remote)
