"""Small Llamas for the recipes: a base, and three models around it, in every family."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny_models import tiny_model

SIZE = 0.02
"""Standard deviation of the task vectors."""


def write_models(folder: Path) -> None:
    """`base`, `a`, `b`, `c`, and the same with `-half` (bfloat16), `-tied`, `-tied-half` behind the name."""
    source = tiny_model(folder / "source")
    base = load_file(source / "model.safetensors")
    for seed, name in enumerate(("base", "a", "b", "c")):
        generator = torch.Generator().manual_seed(seed)
        tensors = {
            key: tensor + (SIZE * torch.randn(tensor.shape, generator=generator) if seed else 0)
            for key, tensor in base.items()
        }
        _write(source, folder / name, tensors, tied=False)
        _write(source, folder / f"{name}-half", _halved(tensors), tied=False)
        tied = {key: tensor for key, tensor in tensors.items() if key != "lm_head.weight"}
        _write(source, folder / f"{name}-tied", tied, tied=True)
        _write(source, folder / f"{name}-tied-half", _halved(tied), tied=True)


def _halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def _write(source: Path, folder: Path, tensors: dict[str, Tensor], *, tied: bool) -> None:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    config.pop("torch_dtype", None)
    config.update(tie_word_embeddings=tied, dtype=dtype)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
