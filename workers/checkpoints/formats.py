"""Checkpoints on disk or on the hub: what may be loaded, its tokenizer, and what went wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import EngineLoadError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def require_safetensors(spec: EngineSpec) -> None:
    """Refuse a local directory without safetensors; of a hub id, the loader must ask for them.

    Raises:
        EngineLoadError: pickled weights, which can run code, or none at all.
    """
    folder = Path(spec.model)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise _no_safetensors(spec, folder)


def _no_safetensors(spec: EngineSpec, folder: Path) -> EngineLoadError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        return EngineLoadError(
            f"engine '{spec.id}': '{folder}' holds pickled weights ({pickles[0]}), which can run code.",
            param="model",
            remedy="Convert them to safetensors (save_pretrained on a machine you can lose).",
        )
    return EngineLoadError(
        f"engine '{spec.id}': '{folder}' holds no *.safetensors file.",
        param="model",
        remedy="Point to a directory with config.json, tokenizer and safetensors weights.",
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
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    return EngineLoadError(
        f"engine '{spec.id}': {what} of '{spec.model}' cannot be loaded: {reason}.",
        param="model",
        remedy="Check the path or the hub id and revision; models that bring their own code are refused.",
    )
