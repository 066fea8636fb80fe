"""Versions of what decides how a process works: Muster's own, and those that packages state of themselves."""

import platform
from collections.abc import Sequence
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from pathlib import Path

from orchestrator import __version__

PACKAGES = ("torch", "transformers", "vllm")
IN_VLLM = ("vllm", "torch", "transformers")
"""Packages whose versions in vLLM's own environment are told, as `vllm: torch` and so on."""


@cache
def versions_here(vllm_python: Path | None = None) -> dict[str, str]:
    """Versions by package; what is not installed is left out.

    Args:
        vllm_python: interpreter of the environment that vLLM has for itself.
    """
    found = {"python": platform.python_version(), "muster": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if vllm_python is not None:
        apart = _apart(sorted(vllm_python.parent.parent.glob("lib/python3*/site-packages")))
        found |= {
            name if name == "vllm" else f"vllm: {name}": apart[name] for name in IN_VLLM if name in apart
        }
    return found


def _apart(folders: Sequence[Path]) -> dict[str, str]:
    """Versions in the folders of another environment."""
    wanted = (_named(one) for one in distributions(path=[str(folder) for folder in folders]))
    return {name: number for name, number in wanted if name in IN_VLLM}


def _named(distribution: Distribution) -> tuple[str, str]:
    return str(distribution.metadata["Name"] or "").lower(), distribution.version
