"""Exceptions of the other side as classes of this one."""

import builtins
import os
import sys
from collections.abc import Callable

from skills.grading.confined.remote import Remote
from skills.grading.confined.wire import Handle


class RemoteErrorMixin:
    """Attributes of an exception of the other side, beyond its arguments."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "_itself_":
            raise AttributeError(name)
        itself = getattr(self, "_itself_", None)
        if not isinstance(itself, Remote):
            raise AttributeError(name)
        return itself._peer_.request("getattr", itself, name)


def error_class(handle: Handle, class_of: Callable[[Handle], object]) -> type[BaseException]:
    """A class of exceptions like the other side's: caught by its own name and by those of its bases.

    Args:
        class_of: what stands for another class of the other side.
    """
    library = library_error(handle.name)
    if library is not None:
        return library
    nearest = _nearest(handle, class_of)
    name = handle.name.rpartition(".")[2]
    mixin = () if issubclass(nearest, RemoteErrorMixin) else (RemoteErrorMixin,)
    return type(name if name.isidentifier() else "Error", (*mixin, nearest), {})


def _nearest(handle: Handle, class_of: Callable[[Handle], object]) -> type[BaseException]:
    for place, name in enumerate(handle.bases):
        base: object = getattr(builtins, name, None)
        if name.startswith("#"):
            number, _, own = name[1:].partition(":")
            base = class_of(Handle(int(number), "error", own, False, handle.bases[place + 1 :]))
        if isinstance(base, type) and issubclass(base, BaseException):
            return base
    return Exception


def error_name(kind: type) -> str:
    """Errors of the standard library with their module, so that the other side finds its own."""
    known = getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
    return f"{kind.__module__}.{kind.__name__}" if known and _is_judged_by(kind.__module__) else kind.__name__


def _is_judged_by(module: str) -> bool:
    """unittest's own signals (SkipTest) are not the other side's to give."""
    top = module.split(".")[0]
    return top in sys.stdlib_module_names and top not in ("unittest", "builtins")


def library_error(name: str) -> type[BaseException] | None:
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None) if _is_judged_by(module) else None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def exception(kind: object, args: list[object], itself: object) -> BaseException:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        os._exit(1)
    try:
        error = kind(*args)
    except Exception:  # its constructor wants something else
        error = kind.__new__(kind, *args)
        error.args = tuple(args)
    if isinstance(error, RemoteErrorMixin):
        error._itself_ = itself  # type: ignore[attr-defined]
    return error
