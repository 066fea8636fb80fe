"""A question asked while a batch runs: `python -m benchmarks.interactive`.

A stack as a user starts it, one zoo expert on one device; the same question is asked over
`/v1/chat/completions` with the engine resident and idle, then again and again while it works off a
2,000-query batch. Answers are timed whole, which is longer than to the first token.

    unloaded_s          median of the idle ones
    loaded_s            median, and `loaded_worst_s` the worst, during the batch
    bound_s             2 x unloaded_s + 1
    batch_left          queries that were still waiting when the last question was answered (> 0)

The last line of output is one JSON object with these keys.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.stack import Stack

MODELS = Path(__file__).parent.parent / "examples" / "zoo" / "models"
EXPERT = "generalist"
QUESTION = "Spell the word 'planet' backwards."
N_IDLE, N_BUSY = 9, 20
PAUSE_S = 0.5


def pool_file(folder: Path, *, engine: str) -> Path:
    """One expert on the given kind of engine."""
    member = {
        "model_name": EXPERT,
        "litellm_params": {"model": str(MODELS / EXPERT), "max_tokens": 24},
        "model_info": {"muster": {"engine": engine, "prompt": "plain", "max_model_len": 512}},
    }
    path = folder / "pool.yaml"
    path.write_text(json.dumps({"model_list": [member]}))  # JSON is YAML
    return path


def asked_s(url: str) -> float:
    """Seconds until the whole answer is there."""
    body = {"model": EXPERT, "messages": [{"role": "user", "content": QUESTION}]}
    began = time.monotonic()
    httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300).raise_for_status()
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    options = parser.parse_args()
    lines = [{"id": f"q{ix}", "question": f"What is {ix} plus {ix + 7}?"} for ix in range(options.queries)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Stack(pool_file(folder, engine=options.engine), folder) as stack:
            stack.start("worker", "worker", "--device", "cpu")
            asked_s(stack.url)  # loads the engine
            unloaded_s = statistics.median(asked_s(stack.url) for _ in range(N_IDLE))
            job_id = stack.submit(lines, composition=f"expert:{EXPERT}")
            while not stack.job(job_id)["responses"]:
                time.sleep(PAUSE_S)
            loaded = []
            for _ in range(N_BUSY):
                loaded.append(asked_s(stack.url))
                time.sleep(PAUSE_S)
                if not (left := stack.job(job_id)["counts"]["waiting"]):
                    break
            report = {
                "unloaded_s": unloaded_s,
                "loaded_s": statistics.median(loaded),
                "loaded_worst_s": max(loaded),
                "bound_s": 2 * unloaded_s + 1,
                "n_asked": len(loaded),
                "batch_left": left,
            }
    print(json.dumps({key: round(value, 3) for key, value in report.items()}))


if __name__ == "__main__":
    main()
