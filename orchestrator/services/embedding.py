"""Embedding: the vectors of texts, for whoever asks."""

from collections.abc import Callable, Sequence

from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.names import EMBED
from orchestrator.domain.queries import MAX_QUESTION_CHARS
from orchestrator.errors import InputError, UnknownNameError
from orchestrator.ports.skills import Embedder

CHUNK = 64
"""Texts embedded at once, so that others have their turn between."""


class Embedding:
    """Embeds texts under the model name `embed`.

    Args:
        embedder: made when it is first needed.
    """

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder

    def encode(self, model: str, texts: Sequence[str], *, dimensions: int | None = None) -> FloatMatrix:
        """float32 [len(texts), D], rows of unit length, in order.

        Args:
            dimensions: D as the caller expects it; None = whatever it is.

        Raises:
            UnknownNameError: another model.
            InputError: an empty or overlong text, or another D.
        """
        import numpy as np

        if model != EMBED:
            raise UnknownNameError("model", model, [EMBED], param="model")
        for i, text in enumerate(texts):
            _require_readable(text, place=f"input.{i}")
        parts = [self._embedder().encode(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)]
        vectors: FloatMatrix = np.concatenate(parts)
        if dimensions not in (None, vectors.shape[1]):
            raise InputError(
                f"dimensions: vectors of '{EMBED}' have {vectors.shape[1]}.",
                param="dimensions",
                remedy="Leave it out.",
            )
        return vectors


def _require_readable(text: str, *, place: str) -> None:
    if not text.strip():
        raise InputError(f"{place}: the text is empty.", param=place)
    if len(text) > MAX_QUESTION_CHARS:
        raise InputError(f"{place}: more than {MAX_QUESTION_CHARS} characters.", param=place)
