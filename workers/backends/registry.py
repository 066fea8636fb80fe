"""The table of backends: a name in the pool file -> what loads that kind of engine, and where it runs.

A new backend is one file and one row: here, or an entry point of the group `muster.backends` in a package of
its own.
"""

import importlib
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.features import NO_FEATURES, Feature
from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.pool import EngineAccess, EnginePart
from orchestrator.ports.engines import Backend
from orchestrator.tables import Extension, NameTable, require
from workers.backends.features import OF_COMMANDS, OF_DECODING, OF_PROVIDERS, OF_SCRIPTED, OF_SERVERS, OF_VLLM
from workers.backends.options import Options, SpecMistake, read_options


class Inner(NamedTuple):
    """Backend inside a child of `workers.engine_host`.

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
            it must need no heavy library. It takes no arguments, or, of servers, how to reach them.
        is_remote: its engines run elsewhere and need no device.
        is_server: its engines are servers that are called: it is told how (`EngineAccess` by engine id), and
            only these know their context. Remote ones are.
        width: requests that an engine batches at once where its options do not say (`max_num_seqs`).
        inner: for engines in child processes; None = it is not made for them.
        options: `module:class` of its `workers.backends.options.Options`, so that a pool file is checked
            without loading an engine; None = they are read at load only.
        check: `module:function` from an `EngineSpec` to its `SpecMistake`s beyond its options, found without
            loading it; None = there are none.
        parts: `module:function` from options to the `EnginePart`s that they name, for a backend whose engines
            hold more weights than the pool file's `model`; None = they do not.
        features: what its engines can do beside plain text.
    """

    path: str
    is_remote: bool = False
    is_server: bool = False
    width: int | None = None
    inner: Inner | None = None
    options: str | None = None
    check: str | None = None
    parts: str | None = None
    features: frozenset[Feature] = NO_FEATURES


def _is_row(row: object) -> TypeGuard[BackendRow]:
    return isinstance(row, BackendRow)


_OURS: Mapping[str, BackendRow] = {
    "scripted": BackendRow(
        "workers.backends.scripted:ScriptedBackend",
        inner=Inner("workers.backends.scripted:ScriptedBackend"),
        options="workers.backends.scripted:ScriptedOptions",
        features=OF_SCRIPTED,
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
        options="workers.backends.transformers:TransformersOptions",
        features=OF_DECODING,
    ),
    "fusion": BackendRow(
        "workers.backends.fusion:FusionBackend",
        inner=Inner(
            "workers.backends.fusion:FusionBackend",
            preload=(
                "torch",
                "transformers",
                "transformers.models.auto",
                "workers.backends.fusion_loading",
            ),
        ),
        options="workers.backends.fusion:FusionOptions",
        parts="workers.backends.fusion:parts_of",
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
        options="workers.backends.vllm.backend:VllmOptions",
        features=OF_VLLM,
    ),
    "remote": BackendRow(
        "workers.backends.remote:RemoteBackend",
        is_remote=True,
        options="workers.backends.remote:RemoteOptions",
        features=OF_PROVIDERS,
    ),
    "server": BackendRow(
        "workers.backends.server:ServerBackend",
        is_remote=True,
        options="workers.backends.server:ServerOptions",
        features=OF_SERVERS,
    ),
    "command": BackendRow(
        "workers.backends.command.backend:CommandBackend",
        is_server=True,
        width=8,
        options="workers.backends.command.options:CommandOptions",
        check="workers.backends.command.checking:mistakes",
        features=OF_COMMANDS,
    ),
}

BACKENDS = NameTable(
    "engine", _OURS, extension=Extension("muster.backends", _is_row, "a BackendRow"), param="muster.engine"
)


class _Those(Container[str]):
    """Names of backends of some kind; to know it of a package's, its row is imported."""

    def __init__(self, are: Callable[[BackendRow], bool]) -> None:
        self._are = are

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in BACKENDS and self._are(BACKENDS[name])


REMOTE_BACKENDS: Container[str] = _Those(lambda row: row.is_remote)
"""Backends whose engines run elsewhere and need no device."""
SERVER_BACKENDS: Container[str] = _Those(lambda row: row.is_remote or row.is_server)
"""Backends whose engines are servers that are called: elsewhere, or started here."""


def get_backend(name: str, access: Mapping[str, EngineAccess] | None = None) -> Backend:
    """A backend of that name.

    Args:
        access: how to reach engines that are servers, by id.

    Raises:
        UnknownNameError: the table has no such row.
        ConfigError: the row of a package that is refused (`NameTable.find`), or leads nowhere.
    """
    row = BACKENDS.find(name)
    make: Callable[..., Backend] = _import(name, row.path)
    with BACKENDS.blame(name):
        backend = make(access or {}) if name in SERVER_BACKENDS else make()
        require(backend, "Backend", ("load",))
    return backend


def check_options(spec: EngineSpec) -> None:
    """Read an engine's options as its backend will, without loading it.

    Raises:
        UnknownNameError: the table has no such row.
        ConfigError: the row of a package that is refused (`NameTable.find`), or leads nowhere.
        EngineLoadError: an option that the backend does not have, or a value out of range.
    """
    own_options(spec)


def own_options(spec: EngineSpec) -> Options | None:
    """An engine's options as its backend reads them; None = it states no model of them.

    Raises:
        UnknownNameError: the table has no such row.
        ConfigError: the row of a package that is refused (`NameTable.find`), or leads nowhere.
        EngineLoadError: an option that the backend does not have, or a value out of range.
    """
    row = BACKENDS.find(spec.backend)
    if row.options is None:
        return None
    model: object = _import(spec.backend, row.options)
    with BACKENDS.blame(spec.backend):
        return read_options(_options_of(model, row.options), spec)


def _options_of(model: object, path: str) -> type[Options]:
    if not (isinstance(model, type) and issubclass(model, Options)):
        raise TypeError(f"{path} is no class of workers.backends.options.Options")
    return model


def spec_mistakes(spec: EngineSpec) -> tuple[SpecMistake, ...]:
    """Mistakes of an engine that its options' types do not show; none of an unknown backend.

    Raises:
        ConfigError: the row of a package that leads nowhere.
        EngineLoadError: options that cannot be read.
    """
    row = BACKENDS.get(spec.backend)
    if row is None or row.check is None:
        return ()
    check: Callable[[EngineSpec], Iterable[SpecMistake]] = _import(spec.backend, row.check)
    with BACKENDS.blame(spec.backend):
        return tuple(check(spec))


def parts_of(backend: str, options: Mapping[str, JsonValue]) -> tuple[EnginePart, ...]:
    """Weights that an engine's options name, as they are written there; none of an unknown backend.

    Raises:
        ConfigError: the row of a package that leads nowhere.
    """
    row = BACKENDS.get(backend)
    if row is None or row.parts is None:
        return ()
    read: Callable[[Mapping[str, JsonValue]], Iterable[EnginePart]] = _import(backend, row.parts)
    with BACKENDS.blame(backend):
        return tuple(read(options))


def features_of(backend: str, options: Mapping[str, JsonValue]) -> frozenset[Feature]:
    """Features of engines, without the parameters that their options say are never sent; none of an unknown
    backend."""
    row = BACKENDS.get(backend)
    dropped = options.get("drop_params")
    left_out = dropped if isinstance(dropped, list) else []
    return frozenset(feature for feature in (row.features if row else ()) if feature not in left_out)


def _import(name: str, path: str) -> Any:
    module, _, attribute = path.partition(":")
    with BACKENDS.blame(name):
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"engine '{name}': {path} cannot be imported: {' '.join(str(error).split())}.",
                param="muster.engine",
                remedy="Mend the row, or install what it needs.",
            ) from error


def width_of(name: str) -> int | None:
    """Requests that an engine of this backend batches at once unless its options say; None = unknown."""
    return BACKENDS[name].width if name in BACKENDS else None


def get_inner(name: str) -> Inner:
    """Backend that a child of `workers.engine_host` runs: of a row, or `module:class` taken as it is.

    Raises:
        UnknownNameError: neither.
    """
    row = BACKENDS.get(name)
    if row is not None and row.inner is not None:
        return row.inner
    if ":" in name:
        return Inner(name)
    raise UnknownNameError("inner backend", name, [known for known, ours in _OURS.items() if ours.inner])
