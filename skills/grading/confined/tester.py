"""The tester: runs the tests in a process that the program never was in, and says whether they passed.

A name that the tests use and do not define is the program's, and asked for at each use. What the tests judge
with stays theirs: built-in functions and modules of the standard library are never taken from the program,
unless the tests name nothing else of it.
"""

import builtins
import functools
import importlib
import io
import operator
import re
import sys
import types
from collections.abc import Iterable, Mapping

from skills.grading.confined.channel import Message
from skills.grading.confined.operations import OPERATIONS, Operation
from skills.grading.confined.peer import Peer
from skills.grading.confined.wire import Encoder

_MAX_REASON = 300
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_STREAMS = (io.StringIO, io.BytesIO)
_CALLED = (
    types.FunctionType, types.MethodType, functools.partial, type(functools.lru_cache(lambda: None)),
    operator.itemgetter, operator.attrgetter, operator.methodcaller,
)  # fmt: skip
_NOT_FOR_PROGRAMS = ("dir", "data", "delattr")


class Names(dict[str, object]):
    """The tests' built-in names; behind them the program's.

    A dict with `__missing__` in the place of `__builtins__` is asked for what neither the tests nor
    Python define.
    """

    def __init__(self, peer: Peer, tests: str, program_names: Iterable[str]) -> None:
        super().__init__(vars(builtins))
        self._peer, self._tests = peer, tests
        self._only: str | None = None
        used = set(_IDENTIFIER.findall(tests)).intersection(program_names)
        subjects = [name for name in used if name not in self and name not in sys.stdlib_module_names]
        hidden = [name for name in used if name in self]
        if not subjects and len(hidden) == 1:
            self._only = hidden[0]
            del self[self._only]

    def __missing__(self, name: str) -> object:
        library = self._library(name)
        if library is not None:
            return library
        if self._only not in (None, name):
            raise KeyError(name)  # the program had said that it has no such name
        try:
            return self._peer.request("lookup", name)
        except NameError:
            raise KeyError(name) from None

    def _library(self, name: str) -> types.ModuleType | None:
        """The module that the tests mean by `name.attribute`, though only the program imported it."""
        if name not in sys.stdlib_module_names:
            return None
        attributes = re.findall(rf"\b{name}\s*\.\s*(\w+)", self._tests)
        if not attributes:
            return None
        module = importlib.import_module(name)
        return module if all(hasattr(module, attribute) for attribute in attributes) else None


class Tester:
    """Serves the program: it may use what the tests handed to it, and the standard streams.

    `failed`: the assertion that failed in a function of the tests while the program called it. It counts
    though the program swallows it.
    """

    def __init__(self) -> None:
        self.failed: AssertionError | None = None
        self._own: Mapping[str, Operation] = {
            "call": _call,
            "getattr": _get,
            "setattr": _set,
            "input": lambda prompt: builtins.input(prompt),
            "stdin_read": lambda size: sys.stdin.read(size),
            "stdin_readline": lambda size: sys.stdin.readline(size),
            "write": _write,
        }

    def operation(self, name: str) -> Operation:
        function = self._own.get(name) or OPERATIONS.get(name)
        if function is None or name in _NOT_FOR_PROGRAMS:
            raise PermissionError(f"{name} is not allowed on an object of the tests")
        return functools.partial(self._do, function)

    def _do(self, function: Operation, /, *args: object, **kwargs: object) -> object:
        try:
            return function(*args, **kwargs)
        except AssertionError as error:
            self.failed = self.failed or error
            raise


def verdict(tester: Tester, peer: Peer, code: str, tests: str) -> str | None:
    """None when code and tests ran to their end, else the reason why they did not."""
    namespace: dict[str, object] = {"__name__": "tests"}
    peer.extras = _Extras(namespace)
    try:
        program_names = peer.request("run", code)
        names = [n for n in program_names if isinstance(n, str)] if isinstance(program_names, list) else []
        namespace["__builtins__"] = Names(peer, tests, names)
        exec(compile(tests, "tests.py", "exec"), namespace)  # noqa: S102  (tests are the question's own)
    except BaseException as error:  # SystemExit is one way of leaving early
        return _reason(error)
    return None if tester.failed is None else _reason(tester.failed)


def _reason(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_MAX_REASON]
    except BaseException:  # its message is the program's
        return type(error).__name__


class _Extras:
    """Goes along with a request: whether output is captured, and classes that the tests have defined."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self._namespace = namespace
        self._streams = sys.stdout, sys.stderr
        self._sent: set[str] = set()
        self._looked_at = 0

    def __call__(self, encoder: Encoder) -> Message:
        captured = [
            now is not before for now, before in zip((sys.stdout, sys.stderr), self._streams, strict=True)
        ]
        return {"captured": captured, "classes": self._new_classes(encoder)}

    def _new_classes(self, encoder: Encoder) -> dict[str, object]:
        if len(self._namespace) == self._looked_at:
            return {}
        self._looked_at = len(self._namespace)
        new = {
            name: encoder.word(value)
            for name, value in self._namespace.items()
            if isinstance(value, type) and value.__module__ == "tests" and name not in self._sent
        }
        self._sent.update(new)
        return new


def _call(target: object, *args: object, **kwargs: object) -> object:
    """Functions that the tests handed over. Those of the language are not: `str.format` reads attributes."""
    is_bound = isinstance(target, types.BuiltinFunctionType) and not isinstance(
        target.__self__, types.ModuleType | type
    )
    is_mock = type(target).__module__ == "unittest.mock"
    handed_over = is_bound or is_mock or _is_of_tests(target) or isinstance(target, _CALLED)
    if not handed_over or not callable(target):
        raise PermissionError("only what the tests handed over can be called")
    return target(*args, **kwargs)


def _get(target: object, name: str) -> object:
    return getattr(target, _public(target, name))


def _set(target: object, name: str, value: object) -> None:
    if isinstance(target, type):
        raise AttributeError(f"{name!r} of a class of the tests cannot be set")
    setattr(target, _public(target, name), value)


def _public(target: object, name: str) -> str:
    if name.startswith("_") or not (_is_of_tests(target) or isinstance(target, _STREAMS)):
        raise AttributeError(f"{name!r} is not open to the program")
    return name


def _is_of_tests(target: object) -> bool:
    """Whether it is a class that the tests define, or an instance of one."""
    kind = target if isinstance(target, type) else type(target)
    return kind.__module__ == "tests"


def _write(stream: str, text: str) -> None:
    target = sys.stderr if stream == "stderr" else sys.stdout
    target.write(text)
