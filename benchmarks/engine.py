"""Overhead of the transformers engine: its throughput against a bare `model.generate` loop.

    python -m benchmarks.engine [MODEL_DIR] [--prompts 512] [--batch 64] [--repeats 3] [--at-least RATIO]

The last line of output is one JSON object; with `--at-least` the exit code is 1 where `cpu_ratio` is smaller.
Without a directory a random tiny model is used, for which Python and kernel launches are the whole cost: the
hardest case for an engine.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Engine, Finished, GenerationRequest
from workers.backends.registry import get_backend

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def engine_ratio(
    model_dir: Path, prompts: Sequence[str], *, max_tokens: int = 24, batch: int = 64, repeats: int = 3
) -> dict[str, float]:
    """Answer the prompts `repeats` times with both, in turns, greedily, on one CPU thread or the GPU.

    Both apply the chat template and tokenize within the measured time.

    Returns:
        ratio: median engine throughput / median bare throughput; `cpu_ratio`: the same by CPU time,
        which neighbours on a busy machine do not disturb; `engine_qps`, `bare_qps`: prompts per
        second, medians; `same`: share of equal texts, in [0, 1].
    """
    spec = EngineSpec(
        id="bench",
        backend="transformers",
        model=str(model_dir),
        dtype="float32",
        options={"threads": 1, "max_batch": batch, "max_batch_tokens": batch * 1024},
    )
    engine = get_backend("transformers").load(spec, ())
    model, tokenizer = _load_bare(model_dir)
    engine_times, bare_times = [], []
    for _ in range(repeats + 1):
        before = _now()
        texts = run_engine(engine, prompts, max_tokens=max_tokens)
        between = _now()
        bare_texts = run_bare(model, tokenizer, prompts, max_tokens=max_tokens, batch=batch)
        after = _now()
        engine_times.append(Times(between.wall_s - before.wall_s, between.cpu_s - before.cpu_s))
        bare_times.append(Times(after.wall_s - between.wall_s, after.cpu_s - between.cpu_s))
    engine.close()
    ours, bare = _medians(engine_times[1:]), _medians(bare_times[1:])  # the first round warms up
    return {
        "ratio": bare.wall_s / ours.wall_s,
        "cpu_ratio": bare.cpu_s / ours.cpu_s,
        "engine_qps": len(prompts) / ours.wall_s,
        "bare_qps": len(prompts) / bare.wall_s,
        "same": statistics.fmean(a == b for a, b in zip(texts, bare_texts, strict=True)),
    }


class Times(NamedTuple):
    wall_s: float
    cpu_s: float


def _now() -> Times:
    return Times(time.perf_counter(), time.process_time())


def _medians(times: Sequence[Times]) -> Times:
    return Times(*(statistics.median(column) for column in zip(*times, strict=True)))


def run_engine(engine: Engine, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
    """Texts in the order of the prompts."""
    for number, prompt in enumerate(prompts):
        message = Message(role="user", content=prompt)
        engine.submit(GenerationRequest(str(number), (message,), Sampling(max_tokens=max_tokens)))
    texts = [""] * len(prompts)
    n_left = len(prompts)
    while n_left:
        for event in engine.poll(1.0):
            if not isinstance(event, Finished):
                raise RuntimeError(f"unexpected event {event}")
            texts[int(event.id)] = event.text
            n_left -= 1
    return texts


def run_bare(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompts: Sequence[str],
    *,
    max_tokens: int,
    batch: int,
) -> list[str]:
    """Texts in the order of the prompts: static batches of like length."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        chats = [[{"role": "user", "content": prompts[at]}] for at in chosen]
        inputs = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
        inputs.pop("token_type_ids", None)
        output = model.generate(**inputs.to(model.device), max_new_tokens=max_tokens, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        for at, text in zip(chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
            texts[at] = text
    return texts


def _load_bare(model_dir: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def random_prompts(n: int, *, seed: int = 0) -> list[str]:
    """Letters and blanks, 5 to 60 characters."""
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdefgh ", k=rng.randint(5, 60))) + "?" for _ in range(n)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-least", type=float, help="smallest cpu_ratio that is good enough")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        model_dir = arguments.model
        if model_dir is None:
            from tests.tiny_models import tiny_model

            model_dir = tiny_model(Path(folder))
        prompts = random_prompts(arguments.prompts)
        report = engine_ratio(model_dir, prompts, batch=arguments.batch, repeats=arguments.repeats)
    finish(report)
    if arguments.at_least is not None and report["cpu_ratio"] < arguments.at_least:
        sys.exit(f"the engine costs 1/{report['cpu_ratio']:.2f} of the CPU seconds of plain generate")


if __name__ == "__main__":
    main()
