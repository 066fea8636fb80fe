"""What one writes around vLLM without Muster; run by the interpreter of vLLM's environment.

    .venv-vllm/bin/python benchmarks/vllm_scripts.py {one_by_one|per_call} WORK.json [--sleep S]

WORK.json: `[{"engine", "model", "calls": [{"messages": [{"role", "content"}], "max_tokens"}]}]`, in the
order of a run. Prints one JSON line. Imports nothing of Muster.
"""

import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.reporting import finish, option_parser

MAX_MODEL_LEN = 512


def one_by_one(work: list[dict[str, Any]], *, sleep_s: float) -> dict[str, float]:
    """One process, a fresh `LLM()` per expert, one after the other, a pause between them: how the published
    batch inference is written (arXiv:2503.05641, its expert_inference.py).

    Returns:
        n_loads; load_s, generate_s, slept_s: sums in seconds.
    """
    load_s = generate_s = slept_s = 0.0
    for item in work:
        began = time.perf_counter()
        engine = _load(item["model"])
        loaded = time.perf_counter()
        _generate(engine, item["calls"])
        load_s += loaded - began
        generate_s += time.perf_counter() - loaded
        del engine
        gc.collect()
        time.sleep(sleep_s)
        slept_s += sleep_s
    return {"n_loads": len(work), "load_s": load_s, "generate_s": generate_s, "slept_s": slept_s}


def per_call(work: list[dict[str, Any]], *, n: int) -> dict[str, float]:
    """Seconds of one call when each call loads its model anew; mean of the first `n` engines."""
    seconds = []
    for item in work[:n]:
        began = time.perf_counter()
        engine = _load(item["model"])
        _generate(engine, item["calls"][:1])
        del engine
        gc.collect()
        seconds.append(time.perf_counter() - began)
    return {"call_s": sum(seconds) / len(seconds), "n": len(seconds)}


def _load(model: str) -> Any:
    from vllm import LLM

    return LLM(model=model, max_model_len=MAX_MODEL_LEN, enforce_eager=True)


def _generate(engine: Any, calls: list[dict[str, Any]]) -> None:
    from vllm import SamplingParams

    template = engine.get_tokenizer().chat_template
    params = [SamplingParams(temperature=0.0, max_tokens=call["max_tokens"]) for call in calls]
    if template is not None:
        engine.chat([call["messages"] for call in calls], params, use_tqdm=False)
    else:
        texts = ["\n\n".join(m["content"] for m in call["messages"]) for call in calls]
        engine.generate(texts, params, use_tqdm=False)


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("way", choices=("one_by_one", "per_call"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--sleep", type=float, default=10.0, help="seconds between two engines")
    parser.add_argument("--sample", type=int, default=3, help="engines that per_call is measured on")
    options = parser.parse_args(argv)
    work = json.loads(options.work.read_text())
    if options.way == "one_by_one":
        result = one_by_one(work, sleep_s=options.sleep)
    else:
        result = per_call(work, n=options.sample)
    finish(result)


if __name__ == "__main__":
    main()
