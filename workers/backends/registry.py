"""The table of backends: a name in the pool file -> what loads that kind of engine, and where it runs."""

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from orchestrator.errors import UnknownNameError
from orchestrator.pool import EngineAccess
from orchestrator.ports.engines import Backend


class Inner(NamedTuple):
    """What runs inside a child of `workers.engine_host`.

    Attributes:
        path: `module:class` of a `ports.Backend` that takes no arguments.
        preload: modules that a warm spare has imported before it is asked for anything.
    """

    path: str
    preload: tuple[str, ...] = ()


class BackendRow(NamedTuple):
    """A row of the table.

    Attributes:
        path: `module:name` of what makes a `ports.Backend`, imported when it is first asked for. Importing
            it must need no heavy library. It takes no arguments, or, of a remote one, how to reach its
            engines (`EngineAccess` by engine id).
        is_remote: its engines run elsewhere and need no device.
        width: requests that an engine batches at once where its options do not say (`max_num_seqs`).
        inner: for engines in child processes; None = it is not made for them.
    """

    path: str
    is_remote: bool = False
    width: int | None = None
    inner: Inner | None = None


BACKENDS: Mapping[str, BackendRow] = {
    "scripted": BackendRow(
        "workers.backends.scripted:ScriptedBackend",
        inner=Inner("workers.backends.scripted:ScriptedBackend"),
    ),
    "transformers": BackendRow(
        "workers.backends.transformers:TransformersBackend",
        inner=Inner(
            "workers.backends.transformers:TransformersBackend",
            preload=(
                "torch",
                "transformers",
                "transformers.models.auto",
                "workers.backends.decoding.engine",
            ),
        ),
    ),
    "vllm": BackendRow(
        "workers.backends.vllm.backend:vllm_backend",
        width=256,
        inner=Inner(
            "workers.backends.vllm.loading:VllmBackend",
            preload=(
                "vllm",
                "vllm.v1.engine.llm_engine",
                "vllm.v1.engine.core",
                "vllm.model_executor.models.llama",
                "workers.backends.vllm.loading",
            ),
        ),
    ),
    "remote": BackendRow("workers.backends.remote:RemoteBackend", is_remote=True),
    "server": BackendRow("workers.backends.server:ServerBackend", is_remote=True),
}

REMOTE_BACKENDS = frozenset(name for name, row in BACKENDS.items() if row.is_remote)


def get_backend(name: str, access: Mapping[str, EngineAccess] | None = None) -> Backend:
    """A backend of that name.

    Args:
        access: how to reach engines that run elsewhere, by id.

    Raises:
        UnknownNameError: the table has no such row.
    """
    if name not in BACKENDS:
        raise UnknownNameError("engine", name, BACKENDS, param="muster.engine")
    module, _, attribute = BACKENDS[name].path.partition(":")
    make: Callable[..., Backend] = getattr(importlib.import_module(module), attribute)
    return make(access or {}) if BACKENDS[name].is_remote else make()


def width_of(name: str) -> int | None:
    """Requests that an engine of this backend batches at once unless its options say; None = unknown."""
    return BACKENDS[name].width if name in BACKENDS else None


def get_inner(name: str) -> Inner:
    """What a child of `workers.engine_host` runs: of a row, or `module:class` taken as it is.

    Raises:
        UnknownNameError: neither.
    """
    hosted = {known: row.inner for known, row in BACKENDS.items() if row.inner is not None}
    if name in hosted:
        return hosted[name]
    if ":" in name:
        return Inner(name)
    raise UnknownNameError("inner backend", name, hosted)
