"""A question asked while a batch runs: `python -m benchmarks.interactive`.

A stack as a user starts it, one zoo expert on one device; the same question is asked over
`/v1/chat/completions` with `stream`, with the engine resident and idle, then again and again while it
works off a 2,000-query batch. Times are a client's: from sending the request to the first chunk with
text, and to the end of the stream.

    unloaded_first_token_s  median of the idle ones
    loaded_first_token_s    {median, worst} during the batch
    bound_s                 2 x unloaded_first_token_s + 1
    unloaded_s, loaded_s    the same of whole answers, and `loaded_worst_s`
    batch_left              queries that were still waiting when the last question was answered (> 0)

The last line of output is one JSON object with these keys.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import httpx

from benchmarks.reporting import finish, option_parser
from benchmarks.stack import MeasuredStack, open_stack

MODELS = Path(__file__).parent.parent / "examples" / "zoo" / "models"
EXPERT = "generalist"
QUESTION = "Spell the word 'planet' backwards."
N_IDLE, N_BUSY = 9, 40
PAUSE_S = 0.2


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


class Wait(NamedTuple):
    """Seconds from sending a question."""

    first_token_s: float
    whole_s: float


def ask(client: httpx.Client) -> Wait:
    """Ask, and read the stream to its end."""
    body = {"model": EXPERT, "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    first, last = None, ""
    began = time.monotonic()
    with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        for line in filter(None, reply.iter_lines()):
            last = line
            if first is None and _has_text(line):
                first = time.monotonic() - began
    if first is None or last != "data: [DONE]":
        raise SystemExit(f"the stream broke off: {last}")
    return Wait(first, time.monotonic() - began)


def _has_text(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    chunk = json.loads(line.removeprefix("data: "))
    return any(choice["delta"].get("content") for choice in chunk.get("choices", ()))


def ask_during(stack: MeasuredStack, client: httpx.Client, job_id: str) -> tuple[list[Wait], int]:
    """Questions while the job runs, `N_BUSY` at most; and how many of its queries were left."""
    waits, left = [], 0
    while not stack.job(job_id)["responses"]:
        time.sleep(PAUSE_S)
    for _ in range(N_BUSY):
        wait = ask(client)
        if not (now_left := stack.job(job_id)["counts"]["waiting"]):
            break  # part of it was idle
        waits, left = [*waits, wait], now_left
        time.sleep(PAUSE_S)
    return waits, left


def report(idle: list[Wait], busy: list[Wait], *, left: int) -> dict[str, object]:
    unloaded = Wait(*map(statistics.median, zip(*idle, strict=True)))
    loaded = Wait(*map(statistics.median, zip(*busy, strict=True)))
    worst = Wait(*map(max, zip(*busy, strict=True)))
    return {
        "unloaded_first_token_s": round(unloaded.first_token_s, 3),
        "loaded_first_token_s": {
            "median": round(loaded.first_token_s, 3),
            "worst": round(worst.first_token_s, 3),
        },
        "bound_s": round(2 * unloaded.first_token_s + 1, 3),
        "unloaded_s": round(unloaded.whole_s, 3),
        "loaded_s": round(loaded.whole_s, 3),
        "loaded_worst_s": round(worst.whole_s, 3),
        "n_asked": len(busy),
        "batch_left": left,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    options = parser.parse_args(argv)
    lines = [{"id": f"q{ix}", "question": f"What is {ix} plus {ix + 7}?"} for ix in range(options.queries)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_stack(pool_file(folder, engine=options.engine), folder) as stack:
            stack.launch("worker", "worker", "--device", "cpu")
            with httpx.Client(base_url=stack.url, timeout=300) as client:
                ask(client)  # loads the engine
                idle = [ask(client) for _ in range(N_IDLE)]
                job_id = stack.submit_lines(lines, composition=EXPERT)
                busy, left = ask_during(stack, client, job_id)
    finish(report(idle, busy, left=left))


if __name__ == "__main__":
    main()
