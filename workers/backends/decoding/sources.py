"""Sources of next-token logits: for any batch, and one model behind a cache of keys and values.

Shapes: R rows, L columns, V vocabulary.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from aggregators.logits import Fused
from orchestrator.domain.fusions import FusionTrace
from orchestrator.errors import EngineLoadError
from workers.backends.decoding.batch import ONE_MODEL, Batch, Rectangle
from workers.backends.decoding.cache import RowCache
from workers.backends.decoding.lora import LoraBank
from workers.backends.decoding.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

NEEDED: Mapping[str, tuple[str, ...]] = {
    "input_ids": ("input_ids",),
    "attention_mask": ("attention_mask",),
    "cache": ("cache", "past_key_values"),
    "use_cache": ("use_cache",),
}
"""Arguments of `forward` without which texts or costs would be others: what we call them -> the names that
releases of transformers give them, newest first."""
WELCOME: Mapping[str, tuple[str, ...]] = {
    "position_ids": ("position_ids",),
    "logits_to_keep": ("logits_to_keep", "num_logits_to_keep"),
}
"""Arguments that some architectures do without: `prove_cache` finds out whether they may."""
LIKENESS = 0.05
"""Largest difference of logits with and without the cache, as a share of their range: rounding in half
precision stays well below, a lost cache or wrong positions do not."""


class Source(Protocol):
    """Next-token logits of a batch.

    Attributes:
        layout: sequences of each row by rectangle, as `Batch.start` takes it.
    """

    @property
    def device(self) -> torch.device:
        """Device on which its logits lie, and a batch's tensors must."""

    @property
    def layout(self) -> tuple[int, ...]:
        """Sequences of each row by rectangle, as `Batch.start` takes it."""

    def next_logits(self, batch: Batch) -> Fused:
        """Logits after the newest column, [R, V]; caches grow by the columns that they lacked: the prompt at
        first, then one a step."""

    def tensors(self) -> Iterator[Tensor]:
        """Its weights; one may come more than once."""

    def trace(self, row: Row, ids: Sequence[int], seconds: float) -> FusionTrace | None:
        """Account of a finished row; None where nothing is fused. Args: ids: its output."""


class ModelSource:
    """Next-token logits of one model.

    Args:
        engine_id: whose model it is, for messages.
        adapters: LoRA directories over its weights; a row's `adapter` counts them from 1.

    Raises:
        EngineLoadError: the model's `forward` lacks an argument that is needed.
    """

    def __init__(
        self, model: "PreTrainedModel", *, engine_id: str = "", adapters: Sequence[str] = ()
    ) -> None:
        self.device: torch.device = model.device
        self.layout = ONE_MODEL
        self.engine_id = engine_id
        self._model = model
        self._names = accepted_names(model.forward, engine_id=engine_id)
        self._lora = LoraBank(model, adapters) if adapters else None

    def mix(self, shares: Mapping[int, float]) -> int:
        """Number of the adapter that several of ours make together: see `LoraBank.mix`."""
        assert self._lora is not None, "asked of models with adapters"
        return self._lora.mix(shares)

    def next_logits(self, batch: Batch) -> Fused:
        (rectangle,) = batch.rectangles
        return Fused(self.of_sequences(rectangle, [row.adapter for row in batch.rows]))

    def of_sequences(self, rectangle: Rectangle, adapters: Sequence[int]) -> Tensor:
        """Logits after the newest column of one rectangle, [R S, V]. Args: adapters: of each sequence."""
        if self._lora is not None:
            self._lora.choose(adapters)
        return self.forward(rectangle.tokens, rectangle.mask, rectangle.cache)

    def tensors(self) -> Iterator[Tensor]:
        yield from self._model.parameters()
        yield from self._model.buffers()

    def trace(self, row: Row, ids: Sequence[int], seconds: float) -> FusionTrace | None:
        del row, ids, seconds
        return None

    def forward(self, tokens: Tensor, mask: Tensor, cache: RowCache) -> Tensor:
        """Logits after the last of `tokens`, [R, V]. Args: tokens, mask: int64 [R, L], padded on the left."""
        n_cached = cache.n_columns
        arguments = {
            "input_ids": tokens[:, n_cached:],
            "attention_mask": mask,
            "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)[:, n_cached:],
            "cache": cache,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        named = {name: arguments[ours] for ours, name in self._names.items()}
        logits: Tensor = self._model(**named).logits[:, -1]
        return logits


def accepted_names(forward: Callable[..., object], *, engine_id: str = "") -> dict[str, str]:
    """This `forward`'s names of our arguments, by our names; those it does without are left out.

    Raises:
        EngineLoadError: it has no name for a needed one. Dropping it would go unnoticed: without its cache a
            model writes the same texts at many times the cost.
    """
    accepted = inspect.signature(forward).parameters
    found: dict[str, str] = {}
    for ours, names in {**NEEDED, **WELCOME}.items():
        known = next((name for name in names if name in accepted), None)
        if known is not None:
            found[ours] = known
        elif ours in NEEDED:
            raise _unusable(engine_id, f"forward() of its model takes none of {', '.join(names)}")
        else:
            logger.info("engine %s: forward() of its model takes no %s", engine_id, ours)
    return found


@torch.inference_mode()
def prove_cache(source: ModelSource, *, vocabulary: int) -> None:
    """Feed two short rows, one of them padded, and see that the cache is filled, used, and right.

    The first row's third token must get the logits that the second row gets when that token follows from
    the cache, one place further right.

    Args:
        vocabulary: number of token ids, >= 1.

    Raises:
        EngineLoadError: the cache is not filled, or logits with it are others.
    """
    a, b, c = (number % vocabulary for number in (5, 7, 11))
    tokens = torch.tensor([[a, b, c], [0, a, b]], device=source.device)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]], device=source.device)
    cache = RowCache()
    at_once = source.forward(tokens, mask, cache)[0]
    n_first = cache.n_columns
    tokens, mask = pad(tokens, (0, 1), value=c), pad(mask, (0, 1), value=1)
    from_cache = source.forward(tokens, mask, cache)[1]
    if (n_first, cache.n_columns) != (3, 4):
        raise _unusable(
            source.engine_id, f"its cache held {n_first} and {cache.n_columns} columns after 3 and 4 tokens"
        )
    if not torch.isfinite(at_once).all():
        return  # such weights fail call by call, and say so
    away = (at_once - from_cache).abs().max() / (at_once.max() - at_once.min()).clamp(min=1e-6)
    if not away <= LIKENESS:
        raise _unusable(source.engine_id, f"logits from its cache differ by {float(away):.0%} of their range")


def _unusable(engine_id: str, reason: str) -> EngineLoadError:
    return EngineLoadError(
        f"engine '{engine_id}': {reason}, so it cannot decode with a cache of keys and values.",
        param="model",
        remedy="Install the transformers of the lock file, or serve the model with the engine 'vllm'.",
        is_lasting=True,
    )
