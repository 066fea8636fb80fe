"""Checkpoints on disk or on the hub: what may be loaded, its tokenizer, and what went wrong."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.merges import STORE_EXPERTS
from orchestrator.domain.origins import PICKLED, objection
from orchestrator.errors import EngineLoadError
from orchestrator.runtime.files import barred
from orchestrator.runtime.stores import twin_experts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def require_safetensors(spec: EngineSpec) -> None:
    """Refuse a local directory without safetensors; of a hub id, the loader must ask for them.

    Raises:
        EngineLoadError: pickled weights, which can run code, or none at all; a path where nothing is; a hub
            id without its revision; an adapter in place of weights.
    """
    against = objection(spec.model, spec.revision)
    if against is not None:
        raise EngineLoadError(
            f"engine '{spec.id}': {against.why}.",
            param="model",
            remedy=against.remedy,
            is_lasting=True,
        )
    folder = Path(spec.model)
    _require_open(folder, f"engine '{spec.id}': '{folder}'", "model")
    if not folder.is_dir():
        return
    if (folder / ADAPTER_CONFIG).exists():
        # A loader would fetch the base weights that the adapter names, from wherever that says.
        raise EngineLoadError(
            f"engine '{spec.id}': '{folder}' holds an adapter.",
            param="model",
            remedy="Set `adapter: lora` and `base_model` at the member.",
            is_lasting=True,
        )
    if not any(folder.glob("*.safetensors")):
        raise _no_safetensors(spec, folder)


def require_adapter(folder: str) -> None:
    """Refuse an adapter that is no folder with safetensors.

    Raises:
        EngineLoadError: no such folder, or pickled weights.
    """
    path = Path(folder)
    remedy = f"Give a directory with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}."
    _require_open(path, f"adapter '{folder}'", "adapter")
    if not path.is_dir():
        raise EngineLoadError(
            f"adapter '{folder}' cannot be read: it is no folder.",
            param="adapter",
            remedy=remedy,
            is_lasting=True,
        )
    if (path / ADAPTER_WEIGHTS).is_file():
        return
    pickles = _pickles(path)
    if pickles:
        raise EngineLoadError(
            f"adapter '{folder}' holds pickled weights ({pickles[0]}), which can run code.",
            param="adapter",
            remedy="Convert them to safetensors (save_pretrained on a machine you can lose).",
            is_lasting=True,
        )
    raise EngineLoadError(
        f"adapter '{folder}' cannot be read: it holds no {ADAPTER_WEIGHTS}.",
        param="adapter",
        remedy=remedy,
        is_lasting=True,
    )


def _require_open(path: Path, what: str, param: str) -> None:
    """
    Raises:
        EngineLoadError: this user may not look into it.
    """
    reason = barred(path)
    if reason is not None:
        raise EngineLoadError(
            f"{what} cannot be looked at: {reason}.",
            param=param,
            remedy="Give the worker's user access to it and to the folders above.",
            is_lasting=True,
        )


def twin_adapters(model: str) -> dict[str, str]:
    """Folders of the adapters of a store by `twin`, by expert; none where `model` is no such folder.

    Raises:
        EngineLoadError: the store is broken.
    """
    try:
        names = twin_experts(Path(model))
    except ValueError as error:
        raise EngineLoadError(
            f"'{model}' is no sound store of experts: {error}.",
            param="model",
            remedy="Merge again.",
            is_lasting=True,
        ) from error
    return {name: str(Path(model) / STORE_EXPERTS / name) for name in names}


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)


def _no_safetensors(spec: EngineSpec, folder: Path) -> EngineLoadError:
    pickles = _pickles(folder)
    if pickles:
        return EngineLoadError(
            f"engine '{spec.id}': '{folder}' holds pickled weights ({pickles[0]}), which can run code.",
            param="model",
            remedy="Convert them to safetensors (save_pretrained on a machine you can lose).",
            is_lasting=True,
        )
    return EngineLoadError(
        f"engine '{spec.id}': '{folder}' holds no *.safetensors file.",
        param="model",
        remedy="Point to a directory with config.json, tokenizer and safetensors weights.",
        is_lasting=True,
    )


def load_tokenizer(spec: EngineSpec) -> "PreTrainedTokenizerFast":
    """The tokenizer beside the weights; one that brings its own code is refused.

    Raises:
        EngineLoadError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(spec.model, revision=spec.revision, trust_remote_code=False)
    except Exception as error:  # a broken checkpoint raises anything
        raise load_error(spec, "the tokenizer", error) from error


def load_error(spec: EngineSpec, what: str, error: Exception) -> EngineLoadError:
    """`what` (the weights, the tokenizer) cannot be loaded, with the library's reason."""
    said = " ".join(str(error).split())[:500]
    is_bare = isinstance(error, KeyError | IndexError | ArithmeticError | AttributeError | TypeError)
    if "trust_remote_code" in said:
        said = "it brings code of its own, which is never run"
    reason = f"{type(error).__name__}: {said}" if said and is_bare else said or type(error).__name__
    return EngineLoadError(
        f"engine '{spec.id}': {what} of '{spec.model}' cannot be loaded: {reason}.",
        param="model",
        remedy="Check the path or the hub id and revision; models that bring their own code are refused.",
        is_lasting=is_lasting(error),
    )


_MAY_PASS = re.compile(
    r"out of memory|cannot allocate|can't allocate|not enough (free )?memory|no available memory"
    r"|couldn't connect|connection|timed? ?out|temporar|unavailable|too many requests|no space left"
    r"|not in an offline|resource busy",
    re.IGNORECASE,
)
_MISFIT = re.compile(r"size mismatch|mismatched|shape", re.IGNORECASE)
_LASTING = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    ImportError,
    NotImplementedError,
    AssertionError,
)
_VALIDATION = "StrictDataclass"
"""Beginning of the names of errors about values in a configuration."""


def is_lasting(error: BaseException) -> bool:
    """False if a wait may heal what a library met while it loaded a model: too little memory, a hub or a disk
    that did not answer. True for weights that are not there, or a model that it does not know."""
    if isinstance(error, MemoryError | ConnectionError | TimeoutError) or _MAY_PASS.search(str(error)):
        return False
    if isinstance(error, OSError):  # transformers raises a bare one where files are missing
        return isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno is None
    if isinstance(error, RuntimeError) and _MISFIT.search(str(error)):
        return True
    name = type(error).__name__
    return isinstance(error, _LASTING) or "Safetensor" in name or name.startswith(_VALIDATION)
