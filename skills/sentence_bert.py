"""A BERT sentence model with mean pooling, run by torch and tokenizers alone: all-MiniLM-L6-v2.

The same vectors as with sentence-transformers, whose imports (with those of transformers) took three
quarters of the time until a first question was routed: docs/results/foundation.md.

Shapes: B texts, T tokens of the longest, H heads, D width.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, JsonValue, ValidationError

from orchestrator.domain.cards import FloatMatrix

if TYPE_CHECKING:
    from tokenizers import Encoding
    from torch import Tensor

MODULES = ("Transformer", "Pooling", "Normalize")


class BertConfig(BaseModel):
    """The part of `config.json` that is read."""

    model_type: str
    hidden_act: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float
    position_embedding_type: str = "absolute"

    @property
    def is_plain(self) -> bool:
        """True of the only kind of BERT that `SentenceBert` computes: GELU, and positions from a table."""
        kind = (self.model_type, self.hidden_act, self.position_embedding_type)
        return kind == ("bert", "gelu", "absolute")


def plain_config(folder: Path) -> BertConfig | None:
    """The configuration of a BERT model whose vectors are the normalised mean over its tokens; None = another
    kind of model, or one that wants more done to its texts."""
    try:
        config = BertConfig.model_validate_json((folder / "config.json").read_bytes())
        modules = json.loads((folder / "modules.json").read_bytes())
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_bytes())
        texts = json.loads((folder / "sentence_bert_config.json").read_bytes())
        further = json.loads((folder / "config_sentence_transformers.json").read_bytes())
    except (OSError, ValueError, ValidationError):
        return None
    kinds = tuple(module["type"].rpartition(".")[2] for module in modules)
    plain = config.is_plain and kinds == MODULES and not texts.get("do_lower_case")
    return config if plain and _is_mean(pooling) and not further.get("prompts") else None


def _is_mean(pooling: Mapping[str, JsonValue]) -> bool:
    modes = {name for name, value in pooling.items() if name.startswith("pooling_mode_") and value}
    return modes == {"pooling_mode_mean_tokens"}


class SentenceBert:
    """Texts to unit vectors. Not for several threads at once: its tokenizer truncates.

    Args:
        folder: weights as safetensors, `tokenizer.json`, and the files that `plain_config` reads.
        max_tokens: what follows after so many is not seen.

    Attributes:
        max_seq_length: as in sentence-transformers.
    """

    def __init__(self, folder: Path, config: BertConfig, *, max_tokens: int) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        self.max_seq_length: int | None = max_tokens
        self._config = config
        self._weights: dict[str, Tensor] = {
            name: weight.float() if weight.is_floating_point() else weight
            for name, weight in load_file(str(folder / "model.safetensors")).items()
        }
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()

    def encode(
        self,
        sentences: list[str],
        *,
        batch_size: int,
        show_progress_bar: bool = False,
        normalize_embeddings: bool = True,
    ) -> FloatMatrix:
        """float32 [len(sentences), D], unit rows, in order.

        Args:
            batch_size: texts that are computed at once, >= 1, the longest first.
            show_progress_bar, normalize_embeddings: as of sentence-transformers; they change nothing.
        """
        del show_progress_bar, normalize_embeddings
        tokens = self._tokenizer.encode_batch(sentences)
        longest_first = sorted(range(len(tokens)), key=lambda at: -len(tokens[at].ids))
        vectors = np.zeros((len(tokens), self._config.hidden_size), dtype=np.float32)
        for start in range(0, len(tokens), batch_size):
            chosen = longest_first[start : start + batch_size]
            vectors[chosen] = self._vectors([tokens[at] for at in chosen])
        return vectors

    def _vectors(self, texts: "Sequence[Encoding]") -> FloatMatrix:
        """float32 [B, D] of texts whose first is the longest."""
        import torch
        from torch.nn import functional as F  # noqa: N812 -- its usual name

        width = len(texts[0].ids)
        padded = [(text.ids + [0] * (width - len(text.ids)), len(text.ids)) for text in texts]
        ids = torch.tensor([row for row, _ in padded])
        mask = torch.arange(width) < torch.tensor([[n] for _, n in padded])  # bool [B, T]
        with torch.inference_mode():
            hidden = self._embedded(ids)
            for layer in range(self._config.num_hidden_layers):
                hidden = self._layer(f"encoder.layer.{layer}.", hidden, mask)
            summed = (hidden * mask[:, :, None]).sum(1)
            vectors = F.normalize(summed / mask.sum(1, keepdim=True))
        return np.asarray(vectors.numpy(), dtype=np.float32)

    def _embedded(self, ids: "Tensor") -> "Tensor":
        """float [B, T, D] of int64 [B, T]."""
        names = ("word", "position", "token_type")
        words, places, kinds = (self._weights[f"embeddings.{name}_embeddings.weight"] for name in names)
        return self._norm("embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + kinds[0])

    def _layer(self, name: str, hidden: "Tensor", mask: "Tensor") -> "Tensor":
        """One block of the encoder; float [B, T, D] -> [B, T, D]."""
        from torch.nn import functional as F  # noqa: N812 -- its usual name

        heads, (n, width, _) = self._config.num_attention_heads, hidden.shape
        query, key, value = (
            self._linear(f"{name}attention.self.{part}", hidden).view(n, width, heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # [B, H, T, D/H] each
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        seen = self._linear(f"{name}attention.output.dense", mixed.transpose(1, 2).flatten(2))
        hidden = self._norm(f"{name}attention.output.LayerNorm", seen + hidden)
        inner = F.gelu(self._linear(f"{name}intermediate.dense", hidden))
        return self._norm(f"{name}output.LayerNorm", self._linear(f"{name}output.dense", inner) + hidden)

    def _linear(self, name: str, x: "Tensor") -> "Tensor":
        from torch.nn import functional as F  # noqa: N812 -- its usual name

        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: "Tensor") -> "Tensor":
        from torch.nn import functional as F  # noqa: N812 -- its usual name

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self._config.layer_norm_eps)
