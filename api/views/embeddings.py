"""Vectors as embeddings."""

import base64
from collections.abc import Sequence

from api.schemas.embeddings import EmbeddingList, EmbeddingUsage, EmbeddingView
from orchestrator.domain.cards import FloatMatrix
from orchestrator.domain.queries import rough_tokens


def embedding_list(
    vectors: FloatMatrix, texts: Sequence[str], *, model: str, encoding_format: str | None
) -> EmbeddingList:
    """Embeddings of texts in OpenAI's form; their tokens are estimated from their lengths.

    Args:
        vectors: float32 [len(texts), D].
        encoding_format: `base64`, else lists of numbers.
    """
    n_tokens = sum(max(1, rough_tokens(len(text))) for text in texts)
    return EmbeddingList(
        data=[
            EmbeddingView(index=i, embedding=_in_base64(row) if encoding_format == "base64" else row.tolist())
            for i, row in enumerate(vectors)
        ],
        model=model,
        usage=EmbeddingUsage(prompt_tokens=n_tokens, total_tokens=n_tokens),
    )


def _in_base64(row: FloatMatrix) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
