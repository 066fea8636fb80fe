"""Adapters as tensors: read from an input's factors, written in peft's format."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue
from torch import Tensor

from aggregators.weights.lora import Lora, fold, pad
from orchestrator.errors import MergeError
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from workers.checkpoints.merging.adapters import FRONT, AdapterHead
from workers.checkpoints.merging.tensors import TORCH, ShardWriter, Slot, read_tensor

NAMES = {dtype: name for name, dtype in TORCH.items()}


def read_lora(adapter: AdapterHead, weight: str) -> Lora | None:
    """Factors of one weight; None = the adapter does not change it."""
    factors = adapter.factors.get(weight)
    if factors is None:
        return None
    return Lora(read_tensor(factors.down), read_tensor(factors.up), adapter.scaling)


def write_lora(
    folder: Path, adapters: Mapping[str, Lora], *, dtype: str, base: str, name: str
) -> tuple[str, int]:
    """Write an adapter: scales are folded into B, ranks padded to the largest, alpha = r.

    Args:
        adapters: by the weight that they add to. dtype: as safetensors call it.
        base: what the configuration names as the base.
        name: of the adapter, for errors.

    Returns:
        SHA-256 of the weights, and their number.

    Raises:
        MergeError: NaN or infinity in a factor, or no factor at all.
    """
    rank = max((adapter.rank for adapter in adapters.values()), default=0)
    if not rank:
        raise MergeError(f"the adapter '{name}' would hold nothing.", remedy="Its inputs do not differ.")
    tensors: dict[str, Tensor] = {}
    for weight, adapter in sorted(adapters.items()):
        whole = pad(fold(adapter), rank)
        module = f"{FRONT}{weight.removesuffix('.weight')}"
        for side, matrix in (("A", whole.a), ("B", whole.b)):
            rounded = matrix.to(TORCH[dtype])
            if not bool(rounded.isfinite().all()):
                raise MergeError(f"tensor '{weight}': NaN or infinity in the adapter '{name}'.", param=weight)
            tensors[f"{module}.lora_{side}.weight"] = rounded
    folder.mkdir(parents=True, exist_ok=True)
    digest = write_tensors(folder / ADAPTER_WEIGHTS, tensors)
    config: dict[str, JsonValue] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "target_modules": [*sorted({w.removesuffix(".weight").rpartition(".")[2] for w in adapters})],
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return digest, len(tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors of any shape into a safetensors file; returns its SHA-256. Nothing is left after an
    error."""
    slots = [Slot(name, NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()]
    writer = ShardWriter(path, slots)
    try:
        for tensor in tensors.values():
            writer.write(tensor)
        return writer.close()
    except BaseException:
        writer.abandon()
        raise
