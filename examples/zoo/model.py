"""The network of every member: a three-layer Llama, its LoRA adapters, and greedy decoding."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.zoo.tokenizer import ANSWER_MARK, EOS, PAD

MAX_ANSWER_TOKENS = 20
HEAD_WIDTH = 32
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PEFT_PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """A frozen linear layer plus a trained low-rank update. Source: Hu et al., arXiv:2106.09685."""

    def __init__(self, base: nn.Linear, rank: int, alpha: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        self.scaling = alpha / rank
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        update: Tensor = self.lora_B(self.lora_A(hidden))
        frozen: Tensor = self.base(hidden)
        return frozen + self.scaling * update


def new_model(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int = 128, n_layers: int = 3, tied: bool = True
) -> LlamaForCausalLM:
    """A freshly initialised network; the vocabulary is padded to a multiple of 32.

    `hidden_size` is a multiple of 32, the width of a head; `tied`: whether the output reads the embedding.
    """
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 32) * 32,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 11 // 4,
        num_hidden_layers=n_layers,
        num_attention_heads=hidden_size // HEAD_WIDTH,
        num_key_value_heads=hidden_size // HEAD_WIDTH,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        # The default of 0.02 is made for wide models; at width 128 it learns several times slower.
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=MAX_ANSWER_TOKENS,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    return model


def untie(model: LlamaForCausalLM) -> None:
    """Give the model an output head of its own, equal to its embedding; one that has its own keeps it."""
    if model.config.tie_word_embeddings:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = nn.Parameter(model.get_input_embeddings().weight.detach().clone())


def add_lora(model: LlamaForCausalLM, rank: int, alpha: int) -> None:
    """Freeze the model and put an adapter on each linear layer of the decoder, in place."""
    model.requires_grad_(False)
    for parent_name, name, layer in list(_decoder_linears(model)):
        setattr(model.get_submodule(parent_name), name, LoraLinear(layer, rank, alpha))


def _decoder_linears(model: LlamaForCausalLM) -> Iterator[tuple[str, str, nn.Linear]]:
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and path != "lm_head":
            parent_name, _, name = path.rpartition(".")
            yield parent_name, name, module


def save_adapter(model: LlamaForCausalLM, folder: Path, base: str, rank: int, alpha: int) -> None:
    """Write an adapter the way peft does, so that any engine with LoRA support loads it."""
    adapters = {p: m for p, m in model.named_modules() if isinstance(m, LoraLinear)}
    weights = {
        f"{_PEFT_PREFIX}{path}.{side}.weight": getattr(layer, side).weight.detach().half()
        for path, layer in adapters.items()
        for side in ("lora_A", "lora_B")
    }
    save_file(weights, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "target_modules": sorted({path.rpartition(".")[2] for path in adapters}),
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def load_member(folder: Path) -> LlamaForCausalLM:
    """A member's weights in fp32; an adapter is folded into the base it names."""
    config_path = folder / "adapter_config.json"
    if not config_path.exists():
        return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    config = json.loads(config_path.read_text(encoding="utf-8"))
    model = load_member(folder / config["base_model_name_or_path"])
    weights = load_file(folder / ADAPTER_WEIGHTS)
    scaling = config["lora_alpha"] / config["r"]
    for parent_name, name, layer in _decoder_linears(model):
        path = f"{_PEFT_PREFIX}{parent_name}.{name}"
        down, up = (weights[f"{path}.{side}.weight"].float() for side in ("lora_A", "lora_B"))
        layer.weight.data += scaling * up @ down
    return model


@torch.inference_mode()
def answer_all(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    batch_size: int = 128,
) -> list[str]:
    """Greedy replies to user messages, in their order. Batches hold prompts of like length."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    replies = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        texts = [prompts[at] + ANSWER_MARK for at in chosen]
        batch = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
        tokens = model.generate(**batch)[:, batch["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        for at, reply in zip(chosen, texts, strict=True):
            replies[at] = reply.strip()
    return replies
