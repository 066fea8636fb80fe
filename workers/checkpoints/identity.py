"""The identity of weights: a hash of what decides the text that a model writes."""

import hashlib
from pathlib import Path

from orchestrator.domain.values import content_hash
from orchestrator.runtime.files import open_regular
from workers.checkpoints.gguf import GGUF, GgufError, shards_of

SAMPLE_BYTES = 1 << 20
IDENTITY_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.gguf",
    "*.bin",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "store.json",
    "tokenizer*",
    "chat_template*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "spiece.model",
)
"""What decides the text a model writes; notes about its training or licence do not."""


def weights_hash(model: str, adapter: str | None = None, *, revision: str | None = None) -> str:
    """Content identity of a model and its adapter, 16 hex digits.

    A directory counts by its configuration, tokenizer and weights files: names, sizes, and the
    first and last MiB of each; where it lies and when it was written do not matter. A GGUF file counts
    likewise, with all files of its model, and without their names. A hub id counts by id and revision. A path
    that does not exist or cannot be read, or holds none of these files, gives "".
    """
    try:
        parts = [_identity(model, revision), *([_identity(adapter, None)] if adapter is not None else [])]
    except OSError:  # a check says so, and its load
        return ""
    return content_hash(parts) if all(parts) else ""


def _identity(model: str, revision: str | None) -> str:
    folder = Path(model)
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if counts(path))
        found = [[path.name, path.stat().st_size, _sampled_sha256(path)] for path in files]
        return content_hash(found) if found else ""
    if folder.is_file() and folder.suffix.lower() == GGUF:
        return content_hash(
            ["gguf", *([file.stat().st_size, _sampled_sha256(file)] for file in _files(folder))]
        )
    if folder.is_absolute() or model.startswith("."):
        return ""
    return content_hash(["hub", model, revision])


def _files(path: Path) -> list[Path]:
    """All files of a model; of one that lacks some, those that are there."""
    try:
        return shards_of(path)
    except GgufError:
        return [path]


def counts(path: Path) -> bool:
    """True of a file of a model that decides what this writes; endings may be in capitals."""
    name = path.with_name(path.name.lower())
    return path.is_file() and any(name.match(pattern) for pattern in IDENTITY_FILES)


def _sampled_sha256(path: Path) -> str:
    """SHA-256 of the first and last MiB; of the whole file up to two MiB."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        digest.update(file.read(SAMPLE_BYTES))
        file.seek(max(SAMPLE_BYTES, path.stat().st_size - SAMPLE_BYTES))
        digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
