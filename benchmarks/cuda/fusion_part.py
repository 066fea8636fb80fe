"""The part `fusion`: three models that write one text, over one of them and over 3 x one."""

import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.engines import ask, load_engine, prompts_of, spec_of
from benchmarks.cuda.machine import device, difference, free_gib, timed
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import DRY, Scale, Shape
from orchestrator.ports.engines import Engine

N_MODELS = 3
REFERENCE = DRY.small._replace(name="reference", dtype="float32", hidden=128, inner=352, deviation=0.3)
REFERENCE_TOKENS, REFERENCE_PROMPTS = 12, 4
NEAR = 1e-4
"""Gap of the two largest mean logits, as a share of the larger, below which other arithmetic may choose the
other token."""


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    kept.keep("like_reference", like_reference(folder, REFERENCE))
    places = [checkpoint(folder, scale.small, seed) for seed in range(N_MODELS)]
    before = free_gib()
    one = load_engine(spec_of("one", places[0], options={"max_batch": scale.fused}))
    took_one = difference(before, free_gib())
    one_s = per_token_s(one, scale)
    one.close()
    before = free_gib()
    fused = fusion(places, rows=scale.fused)
    took = difference(before, free_gib())
    fused_s = per_token_s(fused, scale)
    fused.close()
    kept.keep(
        "average_of_three",
        {
            "rows": scale.fused,
            "one_tokens_s": round(scale.fused / one_s, 1),
            "fused_tokens_s": round(scale.fused / fused_s, 1),
            "over_one": round(fused_s / one_s, 3),
            "over_three": round(fused_s / (N_MODELS * one_s), 3),
            "one_gib": took_one,
            "fused_gib": took,
        },
    )


def fusion(places: list[Path], *, rows: int) -> Engine:
    options: dict[str, Any] = {
        "rule": "average",
        "models": [str(place) for place in places],
        "max_batch": rows,
    }
    return load_engine(spec_of("fused", places[0], backend="fusion", options=options))


def per_token_s(engine: Engine, scale: Scale) -> float:
    """Seconds of one token of every row, the reading of the prompts included; median after a warm-up."""
    prompts = prompts_of(scale.fused, scale.prompt)
    seconds = [timed(lambda: ask(engine, prompts, tokens=scale.tokens)) for _ in range(scale.repeats + 1)]
    return statistics.median(seconds[1:]) / scale.tokens


def like_reference(folder: Path, shape: Shape) -> dict[str, int]:
    """Texts of a fusion of models of a tiny vocabulary beside those of a loop without a cache on the same
    device; `unsure`: two tokens were so near that either may follow."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    places = [checkpoint(folder, shape, seed) for seed in range(N_MODELS)]
    prompts = prompts_of(REFERENCE_PROMPTS, 12, seed=1)
    engine = fusion(places, rows=len(prompts))
    written = ask(engine, prompts, tokens=REFERENCE_TOKENS)
    engine.close()
    tokenizer = AutoTokenizer.from_pretrained(places[0])
    models = [AutoModelForCausalLM.from_pretrained(place).to(device()).eval() for place in places]
    found = {"texts": len(prompts), "equal": 0, "unsure": 0, "different": 0}
    for prompt, text in zip(prompts, written, strict=True):
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt"
        )
        ids = chat if isinstance(chat, Tensor) else chat["input_ids"]
        output, is_sure = plain_text(models, ids.to(device()), REFERENCE_TOKENS)
        is_equal = tokenizer.decode(output, skip_special_tokens=True) == text
        found["equal" if is_equal else "different" if is_sure else "unsure"] += 1
    return found


@torch.inference_mode()
def plain_text(models: list[Any], ids: Tensor, tokens: int) -> tuple[list[int], bool]:
    """Greedy tokens of the mean of the models' logits, each step over the whole text, and whether all gaps
    were clear. Args: ids: int64, [1, L]."""
    n_prompt, is_sure = ids.shape[1], True
    for _ in range(tokens):
        logits = torch.stack(
            [model(input_ids=ids, use_cache=False).logits[0, -1].float() for model in models]
        )
        best = logits.mean(dim=0).topk(2)
        is_sure &= bool(best.values[0] - best.values[1] > NEAR * best.values[0].abs())
        ids = torch.cat([ids, best.indices[:1][None]], dim=1)
    chosen: list[int] = ids[0, n_prompt:].tolist()
    return chosen, is_sure
