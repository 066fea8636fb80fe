"""Tables of names: the rows that ship with Muster, and those that installed packages add.

A package adds a row with an entry point of the table's group; docs/extending.md shows one of each kind.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeGuard, TypeVar

from orchestrator.errors import ConfigError, MusterError, UnknownNameError

T = TypeVar("T")
Blaming = Callable[[], AbstractContextManager[None]]
"""Contexts in which whatever code of a package raises is told as that package's fault, in one line with the
remedy; errors of Muster's own kinds, and memory that ran out, go on as they are."""
Points = Mapping[str, tuple[EntryPoint, ...]]
"""Entry points of one group by name; those of one name in the order of the import path."""

_NO_MEMORY = re.compile(r"out of memory|(can't|cannot) allocate memory", re.IGNORECASE)
REMEDY = "Mend the package, or uninstall it."
NONE: Points = MappingProxyType({})


class Extension(NamedTuple, Generic[T]):
    """The way in which packages add rows to a table.

    Attributes:
        group: the entry points that are rows.
        is_row: whether what an entry point names can be a row.
        row_form: what a row is, in words: "a backend row".
        blamed: a package's row, made such that faults of what it makes are told as the package's; None = as
            it is.
    """

    group: str
    is_row: Callable[[object], TypeGuard[T]]
    row_form: str
    blamed: Callable[[T, Blaming], T] | None = None


class NameTable(Mapping[str, T]):
    """Rows by name; ours are there at once, a package's row is imported when it is first asked for.

    Listing names imports nothing, so a package that is broken, or that takes a name which is taken, is in
    the way of its own name only.

    Args:
        kind: one row, as messages call it: "router".
        rows: ours.
        extension: None = nobody adds rows.
        param: the field in which callers name a row.
    """

    def __init__(
        self,
        kind: str,
        rows: Mapping[str, T],
        *,
        extension: Extension[T] | None = None,
        param: str | None = None,
    ) -> None:
        self._kind = kind
        self._ours = dict(rows)
        self._extension = extension
        self._param = param
        self._loaded: dict[EntryPoint, T] = {}

    def find(self, name: str) -> T:
        """The row of that name.

        Raises:
            UnknownNameError: no such row.
            ConfigError: two rows have the name, or the package's cannot be imported or is no row.
        """
        if name not in self:
            raise UnknownNameError(self._kind, name, self, param=self._param)
        return self[name]

    def blame(self, name: str) -> AbstractContextManager[None]:
        """A context (`Blaming`) for code that the row of that name leads to; of ours it does nothing.

        Raises:
            ConfigError: in place of what the package raised.
        """
        added = self._added().get(name, ())
        return _blaming(self._called(added[0]), self._param) if added else nullcontext()

    def __getitem__(self, name: str) -> T:
        """The row of that name, as `find`; KeyError where there is none."""
        added = self._added().get(name, ())
        if not added or self._extension is None:
            return self._ours[name]
        if name in self._ours or len(added) > 1:
            raise self._taken(name, added)
        return self._load(added[0], self._extension)

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._added()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._ours, **self._added()})

    def __len__(self) -> int:
        return len(self._ours.keys() | self._added().keys())

    def _added(self) -> Points:
        if self._extension is None:
            return NONE
        return _installed(self._extension.group, tuple(sys.path))

    def _load(self, point: EntryPoint, extension: Extension[T]) -> T:
        if point not in self._loaded:
            row = self._import(point)
            if not extension.is_row(row):
                message = f"{self._called(point)} is not {extension.row_form}."
                raise ConfigError(message, param=self._param, remedy=REMEDY)
            blame = partial(_blaming, self._called(point), self._param)
            self._loaded[point] = extension.blamed(row, blame) if extension.blamed else row
        return self._loaded[point]

    def _import(self, point: EntryPoint) -> object:
        if point.pattern.match(point.value) is None:
            message = f"{self._called(point)} names nothing: '{point.value}' is not `module:attribute`."
            raise ConfigError(message, param=self._param, remedy=REMEDY)
        try:
            return point.load()
        except (Exception, SystemExit) as error:  # a module of others may do anything when it is imported
            message = f"{self._called(point)} cannot be imported: {reason_of(error)}."
            raise ConfigError(message, param=self._param, remedy=REMEDY) from error

    def _called(self, point: EntryPoint) -> str:
        return f"{self._kind} '{point.name}' of {_origin(point)}"

    def _taken(self, name: str, added: tuple[EntryPoint, ...]) -> ConfigError:
        owners = [*(["Muster"] if name in self._ours else []), *map(_origin, added)]
        return ConfigError(
            f"{self._kind} '{name}' has several owners: {'; '.join(owners)}.",
            param=self._param,
            remedy="Uninstall the package, or have it take another name than these of Muster: "
            f"{', '.join(sorted(self._ours))}.",
        )


def require(made: object, port: str, attributes: tuple[str, ...]) -> None:
    """Refuse what code of a package made if it is not of the port that it should be of.

    Args:
        port: name of the port.
        attributes: names that it has.

    Raises:
        TypeError: it lacks one of them; inside a `Blaming`, the package's fault.
    """
    missing = [attribute for attribute in attributes if not hasattr(made, attribute)]
    if missing:
        raise TypeError(f"a {type(made).__name__} is no {port}: it has no {' and no '.join(missing)}")


def is_out_of_memory(error: BaseException) -> bool:
    """True if memory ran out, of the host or of a device: nobody's code need be at fault."""
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or (isinstance(error, RuntimeError | OSError) and _NO_MEMORY.search(str(error)) is not None)
    )


def reason_of(error: BaseException) -> str:
    """Kind and text of an error in one line, of 400 characters at most, without a full stop."""
    text = " ".join(str(error).split())[:400].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _blaming(called: str, param: str | None) -> Iterator[None]:
    try:
        yield
    except MusterError:
        raise
    except (Exception, SystemExit) as error:  # code of others may do anything
        if is_out_of_memory(error):
            raise
        message = f"{called} fails: {reason_of(error)}."
        raise ConfigError(message, param=param, remedy=REMEDY) from error


@lru_cache(maxsize=16)
def _installed(group: str, path: tuple[str, ...]) -> Points:
    """Entry points of a group; reading them takes some ten milliseconds.

    Args:
        path: the import path, which says what is installed.
    """
    del path
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _origin(point: EntryPoint) -> str:
    package = f"package {point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
    return f"{package} (entry point '{point.name} = {point.value}' of {point.group})"
