"""Checkpoints of given shapes with random numbers, made on the GPU if there is one, and a tokenizer for them.

Weights are drawn as models are initialised. The row of the token that ends a text is zero, so that its logit
is never the largest: every output has the length that was asked for. Tokens are the printable characters and,
beyond them, numbered words, so that a vocabulary has its real size.
"""

import json
import os
import string
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cuda.machine import device
from benchmarks.cuda.scale import Shape
from benchmarks.reporting import progress

SAFE_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
ADAPTER_DEVIATION = 0.05
AHEAD = 4
"""Tensors that are drawn while earlier ones are written."""
PAD, END, UNKNOWN = 0, 1, 2
TEMPLATE = "{% for m in messages %}<{{ m['role'][0] }}>{{ m['content'] }}{% endfor %}>"
LONGEST = 4096
Shapes = dict[str, tuple[int, ...]]


def checkpoint(folder: Path, shape: Shape, seed: int) -> Path:
    """The folder of a checkpoint, written if it is not there yet; equal shapes and seeds, equal numbers on
    one kind of device."""
    place = folder / f"{shape.name}-{seed}"
    if place.is_dir():
        return place
    partial = folder / f"{shape.name}-{seed}.part"
    partial.mkdir(parents=True, exist_ok=True)
    progress(f"writing {place.name}")
    write_weights(partial / "model.safetensors", shape, seed)
    write_configuration(partial, shape)
    write_tokenizer(partial, shape.vocabulary)
    partial.rename(place)
    return place


def shapes_of(shape: Shape) -> Shapes:
    """Tensors of a Qwen2 model by name."""
    kv = shape.hidden // shape.heads * shape.kv_heads
    named: Shapes = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    parts: Shapes = {
        "self_attn.q_proj.weight": (shape.hidden, shape.hidden),
        "self_attn.k_proj.weight": (kv, shape.hidden),
        "self_attn.v_proj.weight": (kv, shape.hidden),
        "self_attn.q_proj.bias": (shape.hidden,),
        "self_attn.k_proj.bias": (kv,),
        "self_attn.v_proj.bias": (kv,),
        "self_attn.o_proj.weight": (shape.hidden, shape.hidden),
        "mlp.gate_proj.weight": (shape.inner, shape.hidden),
        "mlp.up_proj.weight": (shape.inner, shape.hidden),
        "mlp.down_proj.weight": (shape.hidden, shape.inner),
        "input_layernorm.weight": (shape.hidden,),
        "post_attention_layernorm.weight": (shape.hidden,),
    }
    for layer in range(shape.layers):
        named |= {f"model.layers.{layer}.{part}": size for part, size in parts.items()}
    named["model.norm.weight"] = (shape.hidden,)
    if not shape.tied:
        named["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    return named


def write_weights(path: Path, shape: Shape, seed: int) -> None:
    """One safetensors file; the next tensors are drawn while one is written."""
    shapes = shapes_of(shape)
    width = torch.empty(0, dtype=getattr(torch, shape.dtype)).element_size()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, size in shapes.items():
        end = at + width * prod(size)
        header[name] = {"dtype": SAFE_NAMES[shape.dtype], "shape": size, "data_offsets": [at, end]}
        at = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb", buffering=0) as file, ThreadPoolExecutor(1) as writer:
        file.write(len(raw).to_bytes(8, "little") + raw)
        waiting: list[Future[None]] = []
        for tensor in drawn(shape, seed):
            waiting.append(writer.submit(_put, file.fileno(), tensor))
            if len(waiting) > AHEAD:
                waiting.pop(0).result()
        for one in waiting:
            one.result()


def _put(descriptor: int, tensor: Tensor) -> None:
    left = tensor.view(torch.uint8).reshape(-1).numpy().data
    while left:
        left = left[os.write(descriptor, left) :]


def drawn(shape: Shape, seed: int) -> Iterator[Tensor]:
    """The tensors in the host's memory, one after the other."""
    place = device()
    generator = torch.Generator(device=place).manual_seed(seed)
    for name, size in shapes_of(shape).items():
        tensor = torch.empty(size, dtype=getattr(torch, shape.dtype), device=place)
        if name.endswith("norm.weight"):
            tensor.fill_(1)
        else:
            tensor.normal_(0, shape.deviation, generator=generator)
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensor[END] = 0
        yield tensor.cpu()


def write_configuration(folder: Path, shape: Shape) -> None:
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "tie_word_embeddings": shape.tied,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
        "dtype": shape.dtype,
        "torch_dtype": shape.dtype,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "bos_token_id": None,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": END, "pad_token_id": PAD}))


def write_tokenizer(folder: Path, n_tokens: int) -> None:
    """A character tokenizer with a chat template, whose vocabulary is filled up with words."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "</s>", "<unk>", *(c for c in string.printable if c.isprintable() or c == "\n")]
    tokens += [f" w{number}" for number in range(len(tokens), n_tokens)]
    vocabulary = {token: number for number, token in enumerate(tokens[:n_tokens])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)


def adapter(folder: Path, shape: Shape, seed: int, *, rank: int = 8) -> Path:
    """A random LoRA over the queries and values of a shape, in peft's format."""
    from safetensors.torch import save_file

    kv = shape.hidden // shape.heads * shape.kv_heads
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(shape.layers):
        for target, n_out in (("q_proj", shape.hidden), ("v_proj", kv)):
            path = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            for side, size in (("A", (rank, shape.hidden)), ("B", (n_out, rank))):
                drawn_here = torch.randn(size, generator=generator).mul_(ADAPTER_DEVIATION)
                weights[f"{path}.lora_{side}.weight"] = drawn_here.to(getattr(torch, shape.dtype))
    place = folder / f"lora-{shape.name}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    save_file(weights, place / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj", "v_proj"]}
    (place / "adapter_config.json").write_text(json.dumps({**config, "bias": "none"}))
    return place
