"""The part `decoding`: tokens/s of the transformers engine over a bare loop of `generate` with equal batches.

Both apply the chat template, tokenize and detokenize within the measured time, in turns.
"""

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks.cuda.checkpoints import checkpoint
from benchmarks.cuda.engines import ask, load_engine, prompts_of, spec_of
from benchmarks.cuda.machine import device, timed
from benchmarks.cuda.running import Kept
from benchmarks.cuda.scale import Scale
from benchmarks.engine import run_bare
from orchestrator.ports.engines import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def measure(scale: Scale, folder: Path, kept: Kept) -> None:
    place = checkpoint(folder, scale.small, 0)
    model, tokenizer = bare(place)
    for batch in scale.batches:
        options = {"max_batch": batch, "max_batch_tokens": batch * 1024}
        engine = load_engine(spec_of(f"batch-{batch}", place, options=options))
        tokens = scale.lone_tokens if batch == 1 else scale.tokens
        prompts = prompts_of(batch, scale.prompt)
        kept.keep(f"batch_{batch}", compared(engine, model, tokenizer, prompts, scale.repeats, tokens=tokens))
        engine.close()


def bare(place: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(place, dtype="auto").eval()
    tokenizer = AutoTokenizer.from_pretrained(place, padding_side="left")
    return model.to(device=device(), dtype=decoding_dtype()), tokenizer


def decoding_dtype() -> torch.dtype:
    """The number format that the engine decodes these checkpoints in: on the CPU, small ones in float32."""
    return torch.bfloat16 if device().type == "cuda" else torch.float32


def compared(
    engine: Engine,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[str],
    repeats: int,
    *,
    tokens: int,
) -> dict[str, Any]:
    """Medians of both; a first round warms up and counts the columns that the engine's model is fed."""
    ours: list[float] = []
    theirs: list[float] = []
    texts: dict[str, list[str]] = {}

    def by_engine() -> None:
        texts["engine"] = ask(engine, prompts, tokens=tokens)

    def by_loop() -> None:
        texts["bare"] = run_bare(model, tokenizer, prompts, max_tokens=tokens, batch=len(prompts))

    with counted_columns() as fed:
        by_engine()
    by_loop()
    for _ in range(repeats):
        ours.append(timed(by_engine))
        theirs.append(timed(by_loop))
    made = len(prompts) * tokens
    engine_s, bare_s = statistics.median(ours), statistics.median(theirs)
    return {
        "engine_tokens_s": round(made / engine_s, 1),
        "bare_tokens_s": round(made / bare_s, 1),
        "ratio": round(bare_s / engine_s, 3),
        "step_ms": round(1000 * engine_s / tokens, 2),
        **of_columns(fed),
        "same_texts": round(statistics.fmean(a == b for a, b in zip(*texts.values(), strict=True)), 3),
    }


def of_columns(fed: Counter[int]) -> dict[str, int]:
    """Passes that read prompts, which feed many columns, and passes of one column: all others, if the cache
    of keys and values is used."""
    prompts = sum(n for columns, n in fed.items() if columns > 1)
    return {"prompt_passes": prompts, "one_column_passes": fed[1]}


@contextmanager
def counted_columns() -> Iterator[Counter[int]]:
    """Passes of whole models inside, by the columns that each was fed."""
    from transformers import PreTrainedModel

    fed: Counter[int] = Counter()
    own = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **named: Any) -> Any:
        if isinstance(module, PreTrainedModel) and "logits_to_keep" in named:
            fed[int(named["input_ids"].shape[1])] += 1
        return own(module, *args, **named)

    with patch.object(nn.Module, "__call__", call):
        yield fed
