"""Checkpoints of a few numbers: real files of the real formats, without a model library."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64}
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "vocab_size": 6,
    "tie_word_embeddings": True,
    "eos_token_id": 1,
    "rope_theta": 10000.0,
}
VOCABULARY = {"<pad>": 0, "</s>": 1, "a": 2, "b": 3, "c": 4}

Arrays = Mapping[str, np.ndarray[Any, Any]]


def tensors(seed: int = 0, *, scale: float = 1.0, n_layers: int = 2) -> dict[str, np.ndarray[Any, Any]]:
    """Tensors of a model of `CONFIG`, float32."""
    draw = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (6, 4), "model.norm.weight": (4,)}
    for layer in range(n_layers):
        shapes[f"model.layers.{layer}.mlp.up_proj.weight"] = (8, 4)
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = (4, 4)
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (4,)
    return {name: (scale * draw.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def write_safetensors(path: Path, arrays: Arrays, *, cut: int = 0) -> None:
    """`cut`: bytes that are missing at the end."""
    names = {np.dtype(kind): name for name, kind in KINDS.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in arrays.items():
        raw = array.tobytes()
        places = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": places}
        body += raw
    write_raw(path, json.dumps(header).encode(), body[: len(body) - cut])


def write_raw(path: Path, header: bytes, body: bytes, *, length: int | None = None) -> None:
    """A file with any header; `length`: what it says its header's is."""
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)


def write_checkpoint(
    folder: Path,
    arrays: Arrays | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    vocabulary: Mapping[str, int] = VOCABULARY,
    added: Sequence[tuple[str, int]] = (),
    shards: int = 1,
) -> Path:
    """A model's folder; `shards` > 1 writes an index, too."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    write_tokenizer(folder, vocabulary, added)
    arrays = tensors() if arrays is None else arrays
    if shards == 1:
        write_safetensors(folder / "model.safetensors", arrays)
        return folder
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(arrays)}
    for file in sorted(set(places.values())):
        write_safetensors(folder / file, {n: a for n, a in arrays.items() if places[n] == file})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_tokenizer(
    folder: Path, vocabulary: Mapping[str, int] = VOCABULARY, added: Sequence[tuple[str, int]] = ()
) -> None:
    rows = [{"id": number, "content": text, "special": True} for text, number in added]
    document = {"added_tokens": rows, "model": {"type": "BPE", "vocab": dict(vocabulary), "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(document))


def write_adapter(
    folder: Path, *, rank: int = 2, seed: int = 0, config: Mapping[str, Any] | None = None
) -> Path:
    """A LoRA over the q projections of a model of `CONFIG`."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, **(config or {})}
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    draw = np.random.default_rng(seed)
    arrays = {}
    for layer in range(2):
        front = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        arrays[f"{front}.lora_A.weight"] = draw.standard_normal((rank, 4)).astype(np.float32)
        arrays[f"{front}.lora_B.weight"] = draw.standard_normal((4, rank)).astype(np.float32)
    write_safetensors(folder / "adapter_model.safetensors", arrays)
    return folder


def read_safetensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    entries = json.loads(raw[8 : 8 + length])
    found = {}
    for name, entry in entries.items():
        if name != "__metadata__":
            start, end = (8 + length + at for at in entry["data_offsets"])
            flat = np.frombuffer(raw[start:end], dtype=KINDS[entry["dtype"]])
            found[name] = flat.reshape(entry["shape"])
    return found
