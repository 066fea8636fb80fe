"""A fusion recomputed from scratch: transformers without a cache, one request, one token at a time.

Rules are those of `dense_rules`; adapters are added to the weights. What engines write must be the same.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file

from tests.unit.aggregators.logits.dense_rules import dense_fuse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

NEAR = 1e-3
"""Two likeliest tokens nearer than this may be taken for each other by other arithmetic."""


class DenseMember(NamedTuple):
    """A member: weights, a LoRA directory over them, and its prompt."""

    model: Path
    adapter: Path | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    ranks: tuple[int, ...] | None = None


class DenseText(NamedTuple):
    """A greedy text by hand. `is_sure`: no token was a near tie."""

    ids: list[int]
    text: str
    alphas: list[list[float]]
    losses: list[float]
    is_sure: bool


class DenseFusion:
    """Members by role, loaded once."""

    def __init__(
        self, rule: str, members: Mapping[str, Sequence[DenseMember]], params: Mapping[str, Any] | None = None
    ) -> None:
        self._rule = rule
        self._members = members
        self._params = params or {}
        self._models: dict[tuple[Path, Path | None], PreTrainedModel] = {}
        self._tokenizers: dict[Path, PreTrainedTokenizerFast] = {}

    def greedy(self, messages: Sequence[Mapping[str, str]], *, max_tokens: int) -> DenseText:
        tokenizer = self._tokenizer(self._members[next(iter(self._members))][0].model)
        ids: list[int] = []
        alphas: list[list[float]] = []
        losses: list[float] = []
        is_sure = True
        while len(ids) < max_tokens:
            fused, chosen, left = self._step(messages, ids)
            best = np.sort(fused)[-2:]
            is_sure &= bool(best[1] - best[0] > NEAR)
            ids.append(int(fused.argmax()))
            alphas += [chosen] if chosen else []
            losses += [left] if left is not None else []
            if ids[-1] == tokenizer.eos_token_id:
                break
        return DenseText(ids, tokenizer.decode(ids, skip_special_tokens=True), alphas, losses, is_sure)

    def _step(
        self, messages: Sequence[Mapping[str, str]], ids: list[int]
    ) -> tuple[Any, list[float] | None, Any]:
        logits = {
            role: np.stack([self._logits(member, messages, ids) for member in found])
            for role, found in self._members.items()
        }
        one = {
            role: array[:, None] if role in ("experts", "models") else array[:1]
            for role, array in logits.items()
        }
        fused, alphas, losses = dense_fuse(self._rule, one, self._params)
        return fused[0], alphas[0] if alphas else None, losses[0] if losses else None

    def _logits(self, member: DenseMember, messages: Sequence[Mapping[str, str]], ids: list[int]) -> Any:
        tokenizer, model = self._tokenizer(member.model), self._model(member)
        shown = [dict(message) for message in messages]
        if member.system_prompt is not None:
            rest = [message for message in shown if message["role"] != "system"]
            shown = [{"role": "system", "content": member.system_prompt}, *rest]
        prompt = tokenizer.apply_chat_template(
            shown,
            chat_template=member.chat_template or tokenizer.chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )
        fed = tokenizer.encode(prompt, add_special_tokens=False) + ids
        with torch.inference_mode(), rerouted(model, member.ranks):
            out = model(input_ids=torch.tensor([fed]), use_cache=False).logits[0, -1]
        return out[: len(tokenizer)].double().numpy()

    def _tokenizer(self, folder: Path) -> "PreTrainedTokenizerFast":
        from transformers import AutoTokenizer

        if folder not in self._tokenizers:
            self._tokenizers[folder] = AutoTokenizer.from_pretrained(folder)
        return self._tokenizers[folder]

    def _model(self, member: DenseMember) -> "PreTrainedModel":
        from transformers import AutoModelForCausalLM

        key = (member.model, member.adapter)
        if key not in self._models:
            model = AutoModelForCausalLM.from_pretrained(member.model, dtype=torch.float32).eval()
            if member.adapter is not None:
                add_adapter(model, member.adapter)
            self._models[key] = model
        return self._models[key]


def add_adapter(model: Any, folder: Path) -> None:
    """W + alpha/r · B A, in place."""
    config = json.loads((folder / "adapter_config.json").read_text())
    weights = load_file(folder / "adapter_model.safetensors")
    parameters = dict(model.named_parameters())
    for key in weights:
        if key.endswith("lora_A.weight"):
            name = key.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            product = weights[key.replace("lora_A", "lora_B")] @ weights[key]
            with torch.no_grad():
                parameters[name].add_(product * config["lora_alpha"] / config["r"])


class rerouted:  # noqa: N801 -- read as a function
    """Inside, Mixtral's routers let only experts of these ranks act: their forward, written anew."""

    def __init__(self, model: Any, ranks: tuple[int, ...] | None) -> None:
        self._routers = (
            [m for m in model.modules() if type(m).__name__ == "MixtralTopKRouter"]
            if ranks is not None
            else []
        )
        self._ranks = ranks or ()

    def __enter__(self) -> None:
        for router in self._routers:
            router.forward = lambda hidden, router=router: self._forward(router, hidden)

    def __exit__(self, *_: object) -> None:
        for router in self._routers:
            del router.forward

    def _forward(self, router: Any, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = hidden.reshape(-1, hidden.shape[-1]) @ router.weight.T
        order = logits.argsort(dim=-1, descending=True)
        indices = order[:, [rank - 1 for rank in self._ranks]]
        probs = logits.softmax(-1).gather(1, indices)
        return logits, probs / probs.sum(-1, keepdim=True), indices
