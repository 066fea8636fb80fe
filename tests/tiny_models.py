"""A random tiny Llama with a character tokenizer, and random LoRA adapters: real formats, no network."""

import json
import string
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE = "{% for m in messages %}<{{ m['role'][0] }}>{{ m['content'] }}{% endfor %}>"


def tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    template: str | None = TEMPLATE,
    max_len: int = 256,
    hidden: int = 128,
    ends: bool = True,
) -> Path:
    """Write a 3-layer Llama (4 heads) with random weights; the same for the same seed.

    Args:
        hidden: a multiple of 8; with other than 128, other weights.
        ends: False = its output never ends by itself.
    """
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = _character_tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_len,
        initializer_range=0.3,  # large weights: outputs vary between prompts, and some end early
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        if not ends:
            model.lm_head.weight.data[1] = 0  # a logit of 0 among ninety-nine of both signs is never the best
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_mixture(folder: Path, *, seed: int = 0, max_len: int = 256) -> Path:
    """Write a 2-layer Mixtral (hidden 64, 4 experts, 2 act at a token) with random weights."""
    import torch
    from transformers import GenerationConfig, MixtralConfig, MixtralForCausalLM

    tokenizer = _character_tokenizer(TEMPLATE)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=max_len,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MixtralForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _character_tokenizer(template: str | None) -> "PreTrainedTokenizerFast":
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = [ch for ch in string.printable if ch.isprintable() or ch == "\n"]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", *characters])}
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
    fast.chat_template = template
    return fast


def tiny_adapter(
    folder: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    targets: tuple[str, ...] = ("q_proj", "v_proj"),
    hidden: int = 128,
) -> Path:
    """Write a random LoRA adapter for `tiny_model` in peft's format, strong enough to change outputs."""
    import torch
    from safetensors.torch import save_file

    sizes = {
        "q_proj": (hidden, hidden),
        "v_proj": (hidden, hidden // 2),
        "o_proj": (hidden, hidden),
    }
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(3):
        for target in targets:
            n_in, n_out = sizes[target]
            path = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            weights[f"{path}.lora_A.weight"] = torch.randn(rank, n_in, generator=generator) * 0.3
            weights[f"{path}.lora_B.weight"] = torch.randn(n_out, rank, generator=generator) * 0.3
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(targets),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
