"""One end of the talk between tester and program: calls, and who holds which object.

Lists, sets and dicts that a call was given take the content that the call left in them.
"""

import contextlib
import importlib
import os
import sys
import threading
import types
from collections.abc import Callable
from typing import Protocol

from skills.grading.confined.channel import Channel, Message
from skills.grading.confined.mirrored import error_class, error_name, exception
from skills.grading.confined.operations import Operation, has_data
from skills.grading.confined.remote import Remote, RemoteClass, RemoteFunction, awaited
from skills.grading.confined.wire import Decoder, Encoder, Handle, Known, WireError

_LEAKED = RuntimeError("StopIteration was raised by something else than an iterator")


class Served(Protocol):
    """The operations that one side does for the other."""

    def operation(self, name: str) -> Operation:
        """The function behind a name that the other side asked for; raises what it is to be told."""
        ...


class Peer:
    """One end. `extras` writes what goes along with every request, `notice` reads it.

    Args:
        is_tester: functions of the standard library are named to the other side, and never taken from it.
    """

    def __init__(self, channel: Channel, served: Served, *, is_tester: bool) -> None:
        self._channel, self._served, self._is_tester = channel, served, is_tester
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
        raise exception(kind, args, itself) from None

    def _encoder(self, known: Known | None = None) -> Encoder:
        return Encoder(self._describe, self.foreign_number, known, shares_library=self._is_tester)

    def _decoder(self, message: Message, known: Known | None = None) -> Decoder:
        own = self._own.__getitem__
        shares = not self._is_tester
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
        holds = kind in ("object", "function") and has_data(value)
        if kind == "error" and isinstance(value, type):
            return Handle(number, kind, error_name(value), False, tuple(map(self._base, value.__mro__[1:])))
        return Handle(number, kind, name if isinstance(name, str) else "", holds)

    def _base(self, kind: type) -> str:
        """A built-in class by name; one of this side with its number."""
        if kind.__module__ == "builtins":
            return kind.__name__
        return f"#{self._describe(kind).number}:{error_name(kind)}" if _kind(kind) == "error" else "object"

    def _stand_in(self, handle: Handle) -> object:
        value = self._foreign.get(handle.number)
        if value is None:
            value = self._foreign[handle.number] = self._make(handle)
            self._foreign_numbers[id(value)] = handle.number
        return value

    def _make(self, handle: Handle) -> object:
        if handle.kind == "error":
            return error_class(handle, self._stand_in)
        if handle.kind == "module":
            return _module(handle.name) or Remote(self, handle)
        if handle.kind == "coroutine":
            return awaited(Remote(self, handle))
        return {"class": RemoteClass, "function": RemoteFunction}.get(handle.kind, Remote)(self, handle)


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
