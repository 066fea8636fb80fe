"""Several LoRA adapters over one model, mixed in one batch (Hu et al., arXiv:2106.09685).

All adapters' A matrices are stacked along the rank axis, so a layer needs two small products whatever
the number of adapters; a gate [R, 1, K] zeroes the ranks that are not the row's own (K = ranks of all
adapters). Rows on base weights get exactly zero added.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from orchestrator.errors import EngineLoadError
from orchestrator.runtime.files import read_json
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS, require_adapter
from workers.checkpoints.peft import PeftConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST_GATES = 256
"""Composed gates that are kept: a few numbers each, so this is about time, not memory."""
_KEY = re.compile(r"\Abase_model\.model\.(?P<path>.+)\.lora_(?P<side>[AB])\.weight")


class Adapter(NamedTuple):
    """Weights by module path: A [rank, in], B [out, rank]; ranks may differ between modules.

    `scaling`: factor of B·A; 1 where modules have factors of their own, which are in B then.
    """

    scaling: float
    down: dict[str, Tensor]
    up: dict[str, Tensor]

    @property
    def rank(self) -> int:
        """The largest rank of its modules; the others are padded to it."""
        return max(matrix.shape[0] for matrix in self.down.values())


def read_adapter(folder: str) -> Adapter:
    """Read a LoRA directory in peft's format.

    Raises:
        EngineLoadError: files missing or broken, or a kind of adapter that is not plain LoRA.
    """
    require_adapter(folder)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = PeftConfig.model_validate(read_json(Path(folder) / ADAPTER_CONFIG))
        weights: dict[str, Tensor] = load_file(Path(folder) / ADAPTER_WEIGHTS)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        raise _refused(folder, f"cannot be read: {error}") from error
    if config.unsupported:
        raise _refused(folder, f"uses {', '.join(config.unsupported)}")
    return _sorted_weights(folder, config, weights)


def _sorted_weights(folder: str, config: PeftConfig, weights: Mapping[str, Tensor]) -> Adapter:
    sides: dict[str, dict[str, Tensor]] = {"A": {}, "B": {}}
    for key, matrix in weights.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise _refused(folder, f"has weights that are not plain LoRA ({key})")
        if not matrix.isfinite().all():
            raise _refused(folder, f"has weights that are not finite ({key})")
        sides[match["side"]][match["path"]] = matrix
    down, up = sides["A"], sides["B"]
    if not weights or down.keys() != up.keys():
        raise _refused(folder, "lacks lora_A or lora_B weights")
    for path, matrix in down.items():
        if {matrix.shape[0], up[path].shape[-1]} != {config.rank_of(path)}:
            raise _refused(folder, f"has at '{path}' another rank than {ADAPTER_CONFIG} says")
        if config.has_patterns:
            up[path] = up[path] * config.scaling_of(path)
    return Adapter(1.0 if config.has_patterns else config.scaling, down, up)


def _refused(folder: str, why: str) -> EngineLoadError:
    return EngineLoadError(
        f"adapter '{folder}' {why}.",
        param="adapter",
        remedy=f"Give a directory with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS} of a plain LoRA over this base "
        "model, or merge the adapter into the weights first.",
        is_lasting=True,
    )


class LoraBank:
    """The adapters of one engine; hooks add their updates to the model's linear layers.

    Args:
        folders: adapter directories; row adapter n (1-based) is `folders[n - 1]`, 0 the base weights.

    Raises:
        EngineLoadError: an adapter that cannot be read or does not fit the model.
    """

    def __init__(self, model: "PreTrainedModel", folders: Sequence[str]) -> None:
        self._gate: Tensor | None = None
        adapters = [read_adapter(folder) for folder in folders]
        for folder, adapter in zip(folders, adapters, strict=True):
            _check_fit(model, folder, adapter)
        reference = next(model.parameters())
        self._gates = _gate_table(adapters).to(reference)
        self._mixtures: dict[tuple[tuple[int, float], ...], int] = {}
        self._keys: list[tuple[tuple[int, float], ...]] = []
        self._composed: OrderedDict[int, Tensor] = OrderedDict()
        for path in sorted({path for adapter in adapters for path in adapter.down}):
            self._hook(model.get_submodule(path), *_stacked(path, adapters))

    def mix(self, shares: Mapping[int, float]) -> int:
        """Number of the adapter sum of share · adapter, by which rows may ask for it from now on.

        Its factors lie side by side in the bank already (arXiv:2406.15479 has them concatenated): a mixture
        is a row of the gate that holds each one's share of its scaling, and costs no weights of its own.

        Args:
            shares: by number, from 1; equal shares, equal number.
        """
        key = tuple(sorted((number, share) for number, share in shares.items() if share))
        if not key:
            return 0
        if key not in self._mixtures:
            self._mixtures[key] = len(self._gates) + len(self._mixtures)
            self._keys.append(key)
        return self._mixtures[key]

    def choose(self, adapter_of_row: Sequence[int]) -> None:
        """Set which adapter each row of the next forward pass uses. Args: adapter_of_row: numbers, 0 = base
        weights."""
        if not any(adapter_of_row):
            self._gate = None
        elif max(adapter_of_row) < len(self._gates):
            self._gate = self._gates[list(adapter_of_row)].unsqueeze(1)
        else:
            self._gate = torch.stack([self._gate_of(number) for number in adapter_of_row]).unsqueeze(1)

    def _gate_of(self, number: int) -> Tensor:
        """Gate of one row; those of mixtures are kept, the last `MOST_GATES` that were used."""
        if number < len(self._gates):
            return self._gates[number]
        if number in self._composed:
            self._composed.move_to_end(number)
            return self._composed[number]
        parts = [self._gates[at] * share for at, share in self._keys[number - len(self._gates)]]
        gate = self._composed[number] = torch.stack(parts).sum(dim=0)
        if len(self._composed) > MOST_GATES:
            self._composed.popitem(last=False)
        return gate

    def _hook(self, layer: nn.Module, down: Tensor, up: Tensor) -> None:
        weight = layer.get_parameter("weight")
        down, up = down.to(weight), up.to(weight)

        def add_update(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if self._gate is None:
                return output
            return output + linear(linear(args[0], down) * self._gate, up)

        layer.register_forward_hook(add_update)


def _check_fit(model: "PreTrainedModel", folder: str, adapter: Adapter) -> None:
    layers = dict(model.named_modules())
    for path, down in adapter.down.items():
        layer = layers.get(path)
        if not isinstance(layer, nn.Linear):
            raise _refused(folder, f"targets '{path}', which is no linear layer of the base model")
        if (down.shape[1], adapter.up[path].shape[0]) != (layer.in_features, layer.out_features):
            raise _refused(folder, f"does not fit layer '{path}' of the base model")


def _gate_table(adapters: Sequence[Adapter]) -> Tensor:
    """[adapters + 1, K]: row n holds adapter n's scaling at its own ranks, row 0 (base) zeros."""
    table = torch.zeros(len(adapters) + 1, sum(adapter.rank for adapter in adapters))
    start = 0
    for number, adapter in enumerate(adapters, start=1):
        table[number, start : start + adapter.rank] = adapter.scaling
        start += adapter.rank
    return table


def _stacked(path: str, adapters: Sequence[Adapter]) -> tuple[Tensor, Tensor]:
    """A [K, in] and B [out, K] of one layer; ranks that an adapter does not use there are zeros."""
    sample = next(adapter for adapter in adapters if path in adapter.down)
    none = sample.down[path][:0], sample.up[path][:, :0]
    downs, ups = [], []
    for adapter in adapters:
        down, up = adapter.down.get(path, none[0]), adapter.up.get(path, none[1])
        gap = adapter.rank - down.shape[0]
        downs.append(pad(down, (0, 0, 0, gap)))
        ups.append(pad(up, (0, gap)))
    return torch.cat(downs), torch.cat(ups, dim=1)
