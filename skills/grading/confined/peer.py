"""One end of the talk between judge and program: calls, and objects of the other side.

A `Remote` stands for an object of the other side. Using it asks the other side; what comes back is a copy of
data, or another `Remote`. Lists, sets and dicts that a call was given take the content that the call left in
them. A comparison with data is never left to the other side: its object is compared by its data form, and
equals nothing if it has none.
"""

import builtins
import contextlib
import importlib
import operator
import os
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from skills.grading.confined import wire
from skills.grading.confined.wire import Decoder, Encoder, Handle, Known, WireError

MAX_MESSAGE_BYTES = 64 << 20
_LENGTH = struct.Struct("=I")

_LEAKED = RuntimeError("StopIteration was raised by something else than an iterator")

Message = dict[str, object]
Operation = Callable[..., object]

COMPARISONS: Mapping[str, Operation] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_ARITHMETIC: Mapping[str, Operation] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "matmul": operator.matmul,
    "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "divmod": divmod,
    "pow": operator.pow, "lshift": operator.lshift, "rshift": operator.rshift, "and": operator.and_,
    "xor": operator.xor, "or": operator.or_,
}  # fmt: skip
_IN_PLACE: Mapping[str, Operation] = {
    f"i{name}": getattr(operator, f"i{name}") for name in _ARITHMETIC if name != "divmod"
}
_UNARY: Mapping[str, Operation] = {
    "iter": iter, "next": next, "len": len, "bool": bool, "str": str, "repr": repr, "hash": hash, "int": int,
    "float": float, "complex": complex, "index": operator.index, "neg": operator.neg, "pos": operator.pos,
    "abs": abs, "invert": operator.invert, "reversed": reversed, "dir": dir, "bytes": bytes,
}  # fmt: skip
_OTHERS: Mapping[str, Operation] = {
    "call": lambda target, *a, **k: target(*a, **k),
    "getattr": getattr, "setattr": setattr, "delattr": delattr, "getitem": operator.getitem,
    "setitem": operator.setitem, "delitem": operator.delitem, "format": format, "round": round,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target, *error: type(target).__exit__(target, *error),
    "is_instance": isinstance, "is_subclass": issubclass,
}  # fmt: skip


def _data_form(value: object) -> object:
    for base, form in _DATA_FORMS:
        if isinstance(value, base):
            return form(value)
    raise TypeError("no data form")


_DATA_FORMS: tuple[tuple[type, Callable[..., object]], ...] = (
    (int, int.__pos__), (float, float.__pos__), (complex, complex.__pos__), (str, str.__str__),
    (bytes, lambda v: bytes.__getitem__(v, slice(None))), (tuple, lambda v: tuple(tuple.__iter__(v))),
    (list, lambda v: list(list.__iter__(v))), (set, lambda v: set(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))), (dict, lambda v: dict(dict.items(v))),
)  # fmt: skip

OPERATIONS: Mapping[str, Operation] = {
    **COMPARISONS, **_ARITHMETIC, **_IN_PLACE, **_UNARY, **_OTHERS, "data": _data_form,
}  # fmt: skip


class Channel:
    """Messages over two pipes. The end of the other side ends this process: nothing can catch it."""

    def __init__(self, receive: int, send: int) -> None:
        self._receive, self._send = receive, send
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        data = wire.pack(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise MemoryError("the values of this call are too large for the sandbox")
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        with self._sending:
            try:
                while rest:
                    rest = rest[os.write(self._send, rest) :]
            except OSError:
                os._exit(1)

    def receive(self) -> Message:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > MAX_MESSAGE_BYTES:
            os._exit(1)
        try:
            return wire.unpack(self._read(length))
        except WireError:
            os._exit(1)

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = os.read(self._receive, min(length - len(data), 1 << 20))
            if not part:
                os._exit(1)
            data += part
        return bytes(data)


class Served(Protocol):
    """What this side does for the other one."""

    def operation(self, name: str) -> Operation:
        """The function behind a name that the other side asked for; raises what it is to be told."""
        ...


class Peer:
    """One end. `extras` writes what goes along with every request, `notice` reads it.

    Args:
        is_judge: functions of the standard library are named to the other side, and never taken from it.
    """

    def __init__(self, channel: Channel, served: Served, *, is_judge: bool) -> None:
        self._channel, self._served, self._is_judge = channel, served, is_judge
        self._lock = threading.RLock()
        self._own: dict[int, object] = {}
        self._numbers: dict[int, int] = {}
        self._foreign: dict[int, object] = {}
        self._foreign_numbers: dict[int, int] = {}
        self.extras: Callable[[Encoder], Message] = lambda _: {}
        self.notice: Callable[[Message, Decoder], None] = lambda _, __: None

    def request(self, operation: str, *args: object, **kwargs: object) -> object:
        """Ask the other side; meanwhile do what it asks."""
        encoder = self._encoder()
        message: Message = {
            "op": operation,
            "args": [encoder.word(a) for a in args],
            "kwargs": {name: encoder.word(a) for name, a in kwargs.items()},
            **self.extras(encoder),
        }
        message["nodes"] = encoder.finish()
        with self._lock:
            self._channel.send(message)
            reply = self._channel.receive()
            while "op" in reply:
                self.serve(reply)
                reply = self._channel.receive()
        return self._outcome(reply, encoder.mutable())

    def tell(self, message: Message) -> None:
        """Send what needs no reply."""
        self._channel.send(message)

    def serve_forever(self) -> None:
        while True:
            with self._lock:
                message = self._channel.receive()
            self.serve(message)

    def serve(self, message: Message) -> None:
        """Do what was asked and reply, unless the message wants none."""
        arguments = self._decoder(message)
        words, names = message.get("args"), message.get("kwargs")
        if not isinstance(words, list) or not isinstance(names, dict):
            os._exit(1)
        try:
            args = [arguments.word(w) for w in words]
            kwargs = {name: arguments.word(w) for name, w in names.items()}
            name = str(message["op"])
            self.notice(message, arguments)
        except (WireError, LookupError, TypeError, ValueError):
            os._exit(1)
        known = arguments.mutable()
        try:
            result = self._served.operation(name)(*args, **kwargs)
            reply = self._reply(result, known)
        except (StopIteration, StopAsyncIteration) as error:
            reply = self._failure(error if name == "next" else _LEAKED, known)
        except BaseException as error:  # everything is raised again where the call was made
            reply = self._failure(error, known)
        if not message.get("silent"):
            self._channel.send(reply)

    def foreign_number(self, value: object) -> int | None:
        if isinstance(value, Remote) and value._peer_ is self:
            return value._handle_.number
        number = self._foreign_numbers.get(id(value))
        return number if number is not None and self._foreign[number] is value else None

    # Messages

    def _reply(self, result: object, known: Known) -> Message:
        encoder = self._encoder(known)
        word = encoder.word(result)
        for container in known.values():
            encoder.word(container)
        return {"result": word, "nodes": encoder.finish()}

    def _failure(self, error: BaseException, known: Known) -> Message:
        encoder = self._encoder(known)
        kind = encoder.word(type(error))
        args = error.args if isinstance(error.args, tuple) else ()
        words = [encoder.word(a) for a in args]
        itself = encoder.word(error)
        for container in known.values():
            encoder.word(container)
        return {"error": kind, "args": words, "itself": itself, "nodes": encoder.finish()}

    def _outcome(self, reply: Message, known: Known) -> object:
        decoder = self._decoder(reply, known)
        try:
            if "error" not in reply:
                return decoder.word(reply["result"])
            kind, words = decoder.word(reply["error"]), reply["args"]
            assert isinstance(words, list)
            args, itself = [decoder.word(w) for w in words], decoder.word(reply["itself"])
        except (WireError, AssertionError, LookupError, TypeError, ValueError):
            os._exit(1)
        raise _exception(kind, args, itself) from None

    def _encoder(self, known: Known | None = None) -> Encoder:
        return Encoder(self._describe, self.foreign_number, known, shares_library=self._is_judge)

    def _decoder(self, message: Message, known: Known | None = None) -> Decoder:
        own = self._own.__getitem__
        shares = not self._is_judge
        decoder = Decoder(message.get("nodes"), self._stand_in, own, known, shares_library=shares)
        try:
            decoder.read()
        except WireError:
            os._exit(1)
        return decoder

    # Objects

    def _describe(self, value: object) -> Handle:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._numbers)
            self._own[number] = value
        kind = _kind(value)
        name = getattr(value, "__name__", "") if kind != "object" else ""
        has_data = kind in ("object", "function") and isinstance(value, tuple(b for b, _ in _DATA_FORMS))
        if kind == "error" and isinstance(value, type):
            return Handle(number, kind, _error_name(value), False, tuple(map(self._base, value.__mro__[1:])))
        return Handle(number, kind, name if isinstance(name, str) else "", has_data)

    def _base(self, kind: type) -> str:
        """A built-in class by name; one of this side with its number."""
        if kind.__module__ == "builtins":
            return kind.__name__
        return f"#{self._describe(kind).number}:{_error_name(kind)}" if _kind(kind) == "error" else "object"

    def _stand_in(self, handle: Handle) -> object:
        value = self._foreign.get(handle.number)
        if value is None:
            value = self._foreign[handle.number] = self._make(handle)
            self._foreign_numbers[id(value)] = handle.number
        return value

    def _make(self, handle: Handle) -> object:
        if handle.kind == "error":
            return self._error_class(handle)
        if handle.kind == "module":
            return _module(handle.name) or Remote(self, handle)
        if handle.kind == "coroutine":
            return _awaited(Remote(self, handle))
        return {"class": RemoteClass, "function": RemoteFunction}.get(handle.kind, Remote)(self, handle)

    def _error_class(self, handle: Handle) -> type[BaseException]:
        """A class of exceptions like the other side's: caught by its own name and by those of its bases."""
        library = _library_error(handle.name)
        if library is not None:
            return library
        base: object = Exception
        for place, name in enumerate(handle.bases):
            if name.startswith("#"):
                number, _, own = name[1:].partition(":")
                rest = handle.bases[place + 1 :]
                base = self._stand_in(Handle(int(number), "error", own, False, rest))
                break
            base = getattr(builtins, name, None)
            if isinstance(base, type) and issubclass(base, BaseException):
                break
        nearest = base if isinstance(base, type) and issubclass(base, BaseException) else Exception
        name = handle.name.rpartition(".")[2]
        mixin = () if issubclass(nearest, _RemoteErrorMixin) else (_RemoteErrorMixin,)
        return type(name if name.isidentifier() else "Error", (*mixin, nearest), {})


def _kind(value: object) -> str:
    if isinstance(value, type):
        return "error" if issubclass(value, BaseException) else "class"
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, types.CoroutineType):
        return "coroutine"
    return "function" if callable(value) else "object"


def _module(name: str) -> types.ModuleType | None:
    """A module of the standard library is this side's own one: what judges is not the other side's."""
    if name in sys.stdlib_module_names:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


async def _awaited(remote: "Remote") -> object:
    return remote._peer_.request("await", remote)


class _RemoteErrorMixin:
    """Attributes of an exception of the other side, beyond its arguments."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "_itself_":
            raise AttributeError(name)
        itself = getattr(self, "_itself_", None)
        if not isinstance(itself, Remote):
            raise AttributeError(name)
        return itself._peer_.request("getattr", itself, name)


def _error_name(kind: type) -> str:
    """Errors of the standard library with their module, so that the other side finds its own."""
    known = getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
    return f"{kind.__module__}.{kind.__name__}" if known and _is_judged_by(kind.__module__) else kind.__name__


def _is_judged_by(module: str) -> bool:
    """unittest's own signals (SkipTest) are not the other side's to give."""
    top = module.split(".")[0]
    return top in sys.stdlib_module_names and top not in ("unittest", "builtins")


def _library_error(name: str) -> type[BaseException] | None:
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None) if _is_judged_by(module) else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _exception(kind: object, args: list[object], itself: object) -> BaseException:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        os._exit(1)
    try:
        error = kind(*args)
    except Exception:  # its constructor wants something else
        error = kind.__new__(kind, *args)
        error.args = tuple(args)
    if isinstance(error, _RemoteErrorMixin):
        error._itself_ = itself  # type: ignore[attr-defined]
    return error


class Remote:
    """An object of the other side."""

    __slots__ = ("__weakref__", "_handle_", "_peer_")
    _peer_: Peer
    _handle_: Handle

    def __init__(self, peer: Peer, handle: Handle) -> None:
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
        kind, value = error[0], error[1]
        return self._peer_.request("exit", self, kind, None if value is None else str(value), None)

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
        return NotImplemented

    return method


def _data_of(remote: Remote) -> object:
    """A copy of what a `tuple`, `str`, … of a class of its own holds."""
    data = remote._peer_.request("data", remote)
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
    for name in _ARITHMETIC:
        setattr(Remote, f"__{name}__", _asked(name))
        setattr(Remote, f"__r{name}__", _asked(name, reverse=True))
    for name in _IN_PLACE:
        setattr(Remote, f"__{name}__", _asked(name))
    for name in ("getitem", "setitem", "delitem", "neg", "pos", "abs", "invert", "reversed", "round", "next"):
        setattr(Remote, f"__{name}__", _asked(name))
    for name, kind in {
        "len": int, "bool": bool, "str": str, "repr": str, "hash": int, "int": int, "float": float,
        "index": int, "complex": complex, "bytes": bytes,
    }.items():  # fmt: skip
        setattr(Remote, f"__{name}__", _typed(name, kind))


_give_methods()
