"""Odd adapters, over the plain model; where they are applied, with the factor of each module by hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.odd.making import LFS, TEMPLATE, TOKENIZER_CONFIG, Made, Odd, copied, edited
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS

Make = Callable[[Path, Path], Made]
HIDDEN = 128
SIZES = {"q_proj": (HIDDEN, HIDDEN), "v_proj": (HIDDEN, HIDDEN // 2)}


def written(
    folder: Path, ranks: Mapping[str, int], *, layers: int = 3, hidden: int = HIDDEN, **config: Any
) -> Path:
    """A random adapter for the plain model; ranks by module."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(3)
    weights = {}
    for layer in range(layers):
        for module, rank in ranks.items():
            n_in, n_out = SIZES[module]
            path = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{path}.lora_A.weight"] = torch.randn(rank, hidden or n_in, generator=generator) * 0.3
            weights[f"{path}.lora_B.weight"] = torch.randn(n_out, rank, generator=generator) * 0.3
    folder.mkdir(parents=True)
    save_file(weights, folder / ADAPTER_WEIGHTS)
    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": list(ranks), "bias": "none"}
    (folder / ADAPTER_CONFIG).write_text(json.dumps({**plain, **config}))
    return folder


def with_adapter(
    ranks: Mapping[str, int] | None = None,
    *,
    change: Callable[[Path], object] = lambda _: None,
    factors: Mapping[str, float] | None = None,
    **config: Any,
) -> Make:
    """Args: factors: of B·A by module, worked by hand."""

    def make(plain: Path, folder: Path) -> Made:
        base = copied(plain, folder / "base")
        adapter = written(folder / "adapter", ranks or {"q_proj": 2, "v_proj": 2}, **config)
        change(adapter)
        return Made(base, adapter=adapter, factors=factors or {"q_proj": 2.0, "v_proj": 2.0})

    return make


def own_template(adapter: Path) -> None:
    (adapter / TEMPLATE).write_text("<|im_start|>{% for m in messages %}{{ m.content }}{% endfor %}")


def own_tokens(adapter: Path) -> None:
    own_template(adapter)
    (adapter / TOKENIZER_CONFIG).write_text(json.dumps({"chat_template": "x", "eos_token": "<|im_end|>"}))
    (adapter / "added_tokens.json").write_text(json.dumps({"<|im_end|>": 99}))


def point(adapter: Path) -> None:
    (adapter / ADAPTER_WEIGHTS).write_text(LFS)


def pickle_it(adapter: Path) -> None:
    (adapter / ADAPTER_WEIGHTS).rename(adapter / "adapter_model.bin")


def lose_configuration(adapter: Path) -> None:
    (adapter / ADAPTER_CONFIG).unlink()


def rename_tensors(new: str) -> Callable[[Path], None]:
    def change(adapter: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(adapter / ADAPTER_WEIGHTS)
        renamed = {name.replace("model.layers", new): tensor for name, tensor in tensors.items()}
        save_file(renamed, adapter / ADAPTER_WEIGHTS)

    return change


def add_tensor(name: str) -> Callable[[Path], None]:
    def change(adapter: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        tensors = load_file(adapter / ADAPTER_WEIGHTS)
        save_file({**tensors, name: torch.ones(4, 4)}, adapter / ADAPTER_WEIGHTS)

    return change


def settle(**changes: Any) -> Callable[[Path], None]:
    return lambda adapter: edited(adapter / ADAPTER_CONFIG, **changes)


ADAPTERS = {
    "plain adapter": Odd(with_adapter()),
    "ranks of modules": Odd(
        with_adapter(
            {"q_proj": 4, "v_proj": 2},
            rank_pattern={"q_proj": 4},
            factors={"q_proj": 1.0, "v_proj": 2.0},  # 4/4, 4/2
        )
    ),
    "factors of modules": Odd(
        with_adapter(
            alpha_pattern={r"layers\.\d\.self_attn.v_proj": 1}, factors={"q_proj": 2.0, "v_proj": 0.5}
        )
    ),
    "ranks and factors, stabilised": Odd(
        with_adapter(
            {"q_proj": 4, "v_proj": 2},
            rank_pattern={".*q_proj": 4},
            alpha_pattern={"q_proj": 3},
            use_rslora=True,
            factors={"q_proj": 1.5, "v_proj": 4 / 2**0.5},  # 3/√4, 4/√2
        )
    ),
    "gaussian start": Odd(with_adapter(init_lora_weights="gaussian")),
    "its own template": Odd(with_adapter(change=own_template), remark="template of its own"),
    "its own tokens": Odd(with_adapter(change=own_tokens), remark="template of its own"),
    "settings of training": Odd(
        with_adapter(change=settle(lora_dropout=0.1, layers_to_transform=[0, 1, 2], task_type="CAUSAL_LM"))
    ),
    "decomposed": Odd(with_adapter(use_dora=True), "down", ADAPTER_CONFIG, "use_dora"),
    "with whole modules": Odd(with_adapter(modules_to_save=["x"]), "down", ADAPTER_CONFIG, "modules_to"),
    "with biases": Odd(with_adapter(bias="lora_only"), "down", ADAPTER_CONFIG, "bias"),
    "PiSSA": Odd(with_adapter(init_lora_weights="pissa_niter_16"), "down", ADAPTER_CONFIG, "pissa"),
    "OLoRA": Odd(with_adapter(init_lora_weights="olora"), "down", ADAPTER_CONFIG, "olora"),
    "of another kind": Odd(with_adapter(peft_type="LOHA"), "down", ADAPTER_CONFIG, "LOHA"),
    "after certain tokens": Odd(
        with_adapter(alora_invocation_tokens=[5]), "down", ADAPTER_CONFIG, "alora_invocation_tokens"
    ),
    "rank of another size": Odd(with_adapter({"q_proj": 4}), "down", ADAPTER_WEIGHTS, "another rank"),
    "for wider layers": Odd(with_adapter(hidden=96), "down", ADAPTER_WEIGHTS, "another base"),
    "for another kind of model": Odd(
        with_adapter(change=rename_tensors("transformer.h")), "down", ADAPTER_WEIGHTS, "another base"
    ),
    "for more layers": Odd(with_adapter(layers=5), "down", ADAPTER_WEIGHTS, "another base|no linear"),
    "with an embedding": Odd(
        with_adapter(change=add_tensor("base_model.model.model.embed_tokens.weight")),
        "down",
        ADAPTER_WEIGHTS,
        "no factor",
    ),
    "pointer to an adapter": Odd(with_adapter(change=point), "down", ADAPTER_WEIGHTS, "Git LFS pointer"),
    "pickled adapter": Odd(with_adapter(change=pickle_it), "down", "adapter", "can run code"),
    "adapter without configuration": Odd(
        with_adapter(change=lose_configuration), "down", "adapter", "missing"
    ),
    "adapter without rank": Odd(with_adapter(r=None, change=settle(r=None)), "down", ADAPTER_CONFIG, "r: "),
}
