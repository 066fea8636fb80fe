"""Vectors of a question set on disk, so that a new process need not embed its profile questions again."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.values import content_hash
from orchestrator.ports.skills import Embedder
from orchestrator.runtime.files import replacing
from orchestrator.runtime.private import private_folder, tighten_file

logger = logging.getLogger(__name__)


class FileBackedEmbedder:
    """An embedder that knows the vectors of chosen question sets from files.

    Args:
        folder: where the files lie; made when needed. A missing or unusable file only costs time.
    """

    def __init__(self, inner: Embedder, folder: Path) -> None:
        self.name = inner.name
        self._inner = inner
        self._folder = folder
        self._rows: dict[str, FloatMatrix] = {}

    def encode(self, texts: Sequence[str]) -> FloatMatrix:
        known = [self._rows.get(text) for text in texts]
        missing = [text for text, row in zip(texts, known, strict=True) if row is None]
        if not missing and texts:
            return np.stack([row for row in known if row is not None])
        fresh = iter(self._inner.encode(missing))
        rows = [next(fresh) if row is None else row for row in known]
        return np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)

    def keep(self, texts: Sequence[str]) -> None:
        """Know these texts from now on, in this process and the next: read their file, or write it."""
        if not texts:
            return
        path = self._folder / f"vectors-{content_hash([self.name, list(texts)])}.npy"
        matrix = _read(path, len(texts))
        if matrix is None:
            matrix = self.encode(texts)
            _write(path, matrix)
        self._rows = dict(zip(texts, matrix, strict=True))


def _read(path: Path, n_rows: int) -> FloatMatrix | None:
    tighten_file(path)
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if matrix.ndim != 2 or len(matrix) != n_rows or not np.isfinite(matrix).all():
        logger.warning("vector file %s does not fit its texts; embedding them again", path.name)
        return None
    return np.asarray(matrix, dtype=np.float32)


def _write(path: Path, matrix: FloatMatrix) -> None:
    """Atomic; a folder that cannot be written is not an error, only slower next time."""
    try:
        private_folder(path.parent.parent)
        private_folder(path.parent)
        with replacing(path, private=True) as file:
            np.save(file, matrix, allow_pickle=False)
    except OSError as error:
        logger.warning("vectors are not kept: %s", error)
