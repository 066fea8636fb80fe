"""The table of backends that run inside a child: name -> where it is, and what to import ahead."""

from typing import NamedTuple

from orchestrator.errors import UnknownNameError


class Inner(NamedTuple):
    """Attributes:
    path: `module:class` of a `ports.Backend` that takes no arguments.
    preload: modules that a warm spare has imported before it is asked for anything.
    """

    path: str
    preload: tuple[str, ...] = ()


INNER: dict[str, Inner] = {
    "scripted": Inner("workers.backends.scripted:ScriptedBackend"),
    "transformers": Inner(
        "workers.backends.transformers:TransformersBackend",
        preload=("torch", "transformers", "transformers.models.auto", "workers.backends.decoding.engine"),
    ),
    "vllm": Inner(
        "workers.backends.vllm.loading:VllmBackend",
        preload=(
            "vllm",
            "vllm.v1.engine.llm_engine",
            "vllm.v1.engine.core",
            "vllm.model_executor.models.llama",
            "workers.backends.vllm.loading",
        ),
    ),
}


def get_inner(name: str) -> Inner:
    """A row of the table, or `module:class` taken as it is.

    Raises:
        UnknownNameError: neither.
    """
    if name in INNER:
        return INNER[name]
    if ":" in name:
        return Inner(name)
    raise UnknownNameError("inner backend", name, INNER)
