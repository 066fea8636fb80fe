"""Sizes of checkpoints, from their configuration and the headers of their files: no tensor is read."""

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.compute import PassCost
from orchestrator.runtime.files import open_regular, read_json
from workers.checkpoints.merging.headers import MAX_HEADER_BYTES

_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|wpe|embed_in|word_embeddings|embed_positions)\.weight$")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")
_IN_MIXTURE = re.compile(r"\.experts\.")


class _Tensor(NamedTuple):
    name: str
    numel: int


def pass_cost(model: str, adapter: str | None = None) -> PassCost | None:
    """Size of the model in a folder, with its adapter as it is served: beside the weights, not folded in.

    None where that is not known: a hub id, a file that cannot be read, quantised weights (what is stored
    are no parameters then), or a format other than safetensors.
    """
    folder = Path(model)
    try:
        config = _read_config(folder / "config.json")
        if "quantization_config" in config:
            return None
        tensors = list(_tensors(folder))
        extra = list(_tensors(Path(adapter))) if adapter is not None else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None
    return _cost(config, tensors, extra) if tensors else None


def _read_config(path: Path) -> dict[str, JsonValue]:
    """The configuration of the text model, which stands inside where there are several."""
    config = read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path.name} holds no object")
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def _tensors(folder: Path) -> Iterator[_Tensor]:
    """Names and sizes by the headers of all files."""
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    for path in sorted(folder.glob("*.safetensors")):
        for name, entry in _header(path).items():
            if name != "__metadata__":
                yield _Tensor(name, math.prod(entry["shape"]))


def _header(path: Path) -> dict[str, dict[str, list[int]]]:
    with open_regular(path) as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is no safetensors file")
        header: dict[str, dict[str, list[int]]] = json.loads(file.read(length))
        return header


def _cost(
    config: dict[str, JsonValue], tensors: Iterable[_Tensor], adapter: Iterable[_Tensor]
) -> PassCost | None:
    n_heads, width = _number(config, "num_attention_heads"), _number(config, "hidden_size")
    n_layers, vocabulary = _number(config, "num_hidden_layers"), _number(config, "vocab_size")
    if not (n_heads and width and n_layers and vocabulary):
        return None
    met = _share_met(config)
    body = sum(
        round(t.numel * (met if _IN_MIXTURE.search(t.name) else 1))
        for t in tensors
        if not _EMBEDDING.search(t.name) and not _HEAD.search(t.name)
    )
    return PassCost(
        body=body + sum(t.numel for t in adapter),
        head=width * vocabulary,
        n_layers=n_layers,
        attention_width=n_heads * (_number(config, "head_dim") or width // n_heads),
    )


def _share_met(config: dict[str, JsonValue]) -> float:
    """Share of a mixture's experts that a token meets; 1 where there is no mixture."""
    per_token = _number(config, "num_experts_per_tok")
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    n_experts = next((n for name in names if (n := _number(config, name))), 0)
    return per_token / n_experts if per_token and n_experts else 1.0


def _number(config: dict[str, JsonValue], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
