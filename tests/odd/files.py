"""Odd files: what stands in place of weights, configurations and tokenizers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.odd.making import (
    CONFIG,
    LFS,
    PAGE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    Made,
    Odd,
    copied,
    edited,
)

INDEX = "model.safetensors.index.json"
Make = Callable[[Path, Path], Made]


def holding(name: str, content: str | bytes) -> Make:
    """The plain model with something else in one file."""

    def make(plain: Path, folder: Path) -> Made:
        path = copied(plain, folder) / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return Made(folder)

    return make


def configured(**changes: Any) -> Make:
    def make(plain: Path, folder: Path) -> Made:
        edited(copied(plain, folder) / CONFIG, **changes)
        return Made(folder)

    return make


def changed(change: Callable[[Path], object]) -> Make:
    def make(plain: Path, folder: Path) -> Made:
        change(copied(plain, folder))
        return Made(folder)

    return make


def with_tensors(change: Callable[[dict[str, Any]], None], **config: Any) -> Make:
    """The plain model with other tensors."""

    def make(plain: Path, folder: Path) -> Made:
        from safetensors.torch import load_file, save_file

        tensors = load_file(copied(plain, folder) / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        edited(folder / CONFIG, **config)
        return Made(folder)

    return make


def shorten(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) * 2 // 3])


def lengthen(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * 64)


def lead_round(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(folder / "other.safetensors")
    (folder / "other.safetensors").symlink_to(folder / WEIGHTS)


def lead_nowhere(folder: Path) -> None:
    (folder / TOKENIZER).unlink()
    (folder / TOKENIZER).symlink_to(folder.parent / "not-here.json")


def lead_elsewhere(folder: Path) -> None:
    """As caches of weights do."""
    (folder / WEIGHTS).rename(folder.parent / "blob")
    (folder / WEIGHTS).symlink_to(folder.parent / "blob")


def be_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def be_pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def lose_tokenizer(folder: Path) -> None:
    (folder / TOKENIZER).unlink()


def shard(folder: Path) -> None:
    """Two shards and their index."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, places = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def lose_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def point_at_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").write_text(LFS)


def misname(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "weights.safetensors")


def be_int8(tensors: dict[str, Any]) -> None:
    import torch

    name = "model.layers.0.self_attn.q_proj.weight"
    tensors[name] = tensors[name].mul(10).to(torch.int8)


def be_half(tensors: dict[str, Any]) -> None:
    for name in tensors:
        tensors[name] = tensors[name].half()


def lose_head(tensors: dict[str, Any]) -> None:
    del tensors["lm_head.weight"]


def lose_layer(tensors: dict[str, Any]) -> None:
    for name in [name for name in tensors if ".layers.2." in name]:
        del tensors[name]


def lose_norm(tensors: dict[str, Any]) -> None:
    del tensors["model.norm.weight"]


FILES = {
    "pointer to weights": Odd(holding(WEIGHTS, LFS), "down", WEIGHTS, "Git LFS pointer"),
    "pointer to a tokenizer": Odd(holding(TOKENIZER, LFS), "down", TOKENIZER, "Git LFS pointer"),
    "pointer to a configuration": Odd(holding(CONFIG, LFS), "down", CONFIG, "Git LFS pointer"),
    "pointer to a tokenizer's configuration": Odd(
        holding(TOKENIZER_CONFIG, LFS), "down", TOKENIZER_CONFIG, "Git LFS pointer"
    ),
    "pointer to a shard": Odd(changed(point_at_shard), "down", "model-00002", "Git LFS pointer"),
    "truncated weights": Odd(changed(shorten), "down", WEIGHTS, "truncated"),
    "weights with a tail": Odd(changed(lengthen), "down", WEIGHTS, "do not fill it"),
    "page in place of weights": Odd(holding(WEIGHTS, PAGE), "down", WEIGHTS, "web page"),
    "page in place of a tokenizer": Odd(holding(TOKENIZER, PAGE), "down", TOKENIZER, "web page"),
    "message in place of weights": Odd(
        holding(WEIGHTS, "Entry not found"), "down", WEIGHTS, "Entry not found"
    ),
    "archive in place of weights": Odd(
        holding(WEIGHTS, b"PK\x03\x04" + b"x" * 600), "down", WEIGHTS, "pickle"
    ),
    "empty weights": Odd(holding(WEIGHTS, ""), "down", WEIGHTS, "is empty"),
    "empty configuration": Odd(holding(CONFIG, ""), "down", CONFIG, "is empty"),
    "empty tokenizer": Odd(holding(TOKENIZER, ""), "down", TOKENIZER, "is empty"),
    "zeros": Odd(holding(WEIGHTS, b"\0" * 4096), "down", WEIGHTS, "never written"),
    "half a configuration": Odd(holding(CONFIG, '{"model_type": "lla'), "down", CONFIG, "no JSON"),
    "list as a configuration": Odd(holding(CONFIG, "[]"), "down", CONFIG, "no JSON object"),
    "half a tokenizer": Odd(holding(TOKENIZER, '{"version": "1.0",'), "down", TOKENIZER, "is no "),
    "tokenizer of another form": Odd(holding(TOKENIZER, '{"a": 1}'), "down", TOKENIZER, "is no tokenizer"),
    "no tokenizer": Odd(changed(lose_tokenizer), "down", TOKENIZER, "is missing"),
    "missing shard": Odd(changed(lose_shard), "down", INDEX, "model-00002-of-00002"),
    "shards": Odd(changed(shard)),
    "weights of another name": Odd(changed(misname), "down", WEIGHTS, "weights.safetensors"),
    "pickles only": Odd(changed(be_pickled), "down", "", "pickle|which can run code"),
    "links in a circle": Odd(changed(lead_round), "down", WEIGHTS, "symbolic links|loop|cannot be"),
    "link to nothing": Odd(changed(lead_nowhere), "down", TOKENIZER, "link to nothing"),
    "link elsewhere": Odd(changed(lead_elsewhere)),
    "folder in place of weights": Odd(changed(be_a_folder), "down", WEIGHTS, "is a folder"),
    "whole numbers": Odd(with_tensors(be_int8), "down", WEIGHTS, "I8"),
    "half precision": Odd(with_tensors(be_half, dtype="float16"), "answers"),
    "no head": Odd(with_tensors(lose_head), "down", WEIGHTS, "lm_head"),
    "tied head": Odd(with_tensors(lose_head, tie_word_embeddings=True)),
    "missing layer": Odd(with_tensors(lose_layer), "down", WEIGHTS, "2 of the 3 layers|lack 9 tensors"),
    "other vocabulary": Odd(configured(vocab_size=77), "down", WEIGHTS, "vocab_size 77"),
    "unknown kind": Odd(configured(model_type="homegrown"), "down", CONFIG, "homegrown"),
    "own code": Odd(
        configured(model_type="homegrown", auto_map={"AutoModelForCausalLM": "evil.Evil"}),
        "down",
        CONFIG,
        "code of its own",
    ),
    "no kind": Odd(configured(model_type=None), "down", CONFIG, "model_type"),
    "context of -1": Odd(configured(max_position_embeddings=-1), "down", CONFIG, "-1"),
    "no context": Odd(configured(max_position_embeddings=None)),
}
LOST_AT_LOAD = {"a lost norm": Odd(with_tensors(lose_norm), "down", "", "model.norm.weight")}
"""Told by the load alone: which tensors a kind of model has only its library knows."""
