"""The table of backends: a name in the pool file -> what loads that kind of engine."""

from collections.abc import Callable

from orchestrator.errors import UnknownNameError
from orchestrator.ports import Backend
from workers.backends.scripted import ScriptedBackend
from workers.backends.transformers import TransformersBackend

BACKENDS: dict[str, Callable[[], Backend]] = {
    "scripted": ScriptedBackend,
    "transformers": TransformersBackend,
}


def get_backend(name: str) -> Backend:
    """A new backend of that name.

    Raises:
        UnknownNameError: the table has no such row.
    """
    if name not in BACKENDS:
        raise UnknownNameError("engine", name, BACKENDS, param="muster.engine")
    return BACKENDS[name]()
