"""The table of backends: a name in the pool file -> what loads that kind of engine."""

from collections.abc import Callable, Mapping

from orchestrator.errors import UnknownNameError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Backend
from workers.backends.remote import RemoteBackend
from workers.backends.scripted import ScriptedBackend
from workers.backends.server import ServerBackend
from workers.backends.transformers import TransformersBackend
from workers.backends.vllm.backend import vllm_backend

BACKENDS: dict[str, Callable[[], Backend]] = {
    "scripted": ScriptedBackend,
    "transformers": TransformersBackend,
    "vllm": vllm_backend,
}

REMOTE_BACKENDS: dict[str, Callable[[Mapping[str, EngineAccess]], Backend]] = {
    "remote": RemoteBackend,
    "server": ServerBackend,
}
"""Those whose engines run elsewhere: they are told how to reach them, by engine id."""

WIDTHS: Mapping[str, int] = {"vllm": 256}
"""How many requests an engine batches at once where its options do not say (`max_num_seqs`)."""


def get_backend(name: str, access: Mapping[str, EngineAccess] | None = None) -> Backend:
    """A backend of that name.

    Args:
        access: how to reach engines that run elsewhere, by id.

    Raises:
        UnknownNameError: the table has no such row.
    """
    if name in REMOTE_BACKENDS:
        return REMOTE_BACKENDS[name](access or {})
    if name not in BACKENDS:
        raise UnknownNameError("engine", name, {**BACKENDS, **REMOTE_BACKENDS}, param="muster.engine")
    return BACKENDS[name]()
