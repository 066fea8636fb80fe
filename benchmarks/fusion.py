"""Cost of fusions, in CPU seconds of one thread, side by side in one run.

    python -m benchmarks.fusion [--rule dynamic] [--hidden 512] [--batch 8] [--tokens 32] [--repeats 5]
                                [--at-most-rows RATIO] [--at-most-models RATIO]

`rows_ratio`: a base and two LoRA experts as rows of one pass, against the same rows as requests of their
own (three times the batch, the same adapters, nothing fused). `models_ratio`: three full models, against
one of them at the same batch. Models are random and small; at a hidden size of 128 Python and kernel
launches are the whole cost. The last line of output is one JSON object; the exit code is 1 where a ratio is
larger than allowed.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pydantic import JsonValue

from benchmarks.reporting import finish, option_parser, progress
from orchestrator.domain.assignments import Sampling
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import Engine, Finished, GenerationRequest
from tests.tiny_models import tiny_adapter, tiny_model
from workers.backends.registry import get_backend

Options = dict[str, JsonValue]


def load(backend: str, model: Path, options: Options, adapters: Sequence[str] = (), *, batch: int) -> Engine:
    spec = EngineSpec(
        id="bench",
        backend=backend,
        model=str(model),
        dtype="float32",
        max_model_len=256,
        options={"threads": 1, "max_batch": batch, **options},
    )
    return get_backend(backend).load(spec, adapters)


def cpu_s(engine: Engine, adapters: Sequence[str | None], *, batch: int, n_tokens: int) -> float:
    """CPU seconds of `batch` questions to each adapter, all in one batch; every output has `n_tokens`."""
    before = time.process_time()
    for of, adapter in enumerate(adapters):
        for at in range(batch):
            message = Message(role="user", content="abc" * (1 + at % 4))
            sampling = Sampling(max_tokens=n_tokens)
            engine.submit(GenerationRequest(f"{of}.{at}", (message,), sampling, adapter))
    n_left = batch * len(adapters)
    while n_left:
        for event in engine.poll(1.0):
            if not isinstance(event, Finished) or event.usage.completion_tokens != n_tokens:
                raise RuntimeError(f"unexpected event {event}")
            n_left -= 1
    return time.process_time() - before


def in_turns(runs: Mapping[str, Callable[[], float]], *, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def cost_ratios(
    folder: Path, rule: str, *, hidden: int, batch: int, n_tokens: int, repeats: int
) -> dict[str, float]:
    models = [tiny_model(folder / f"model-{at}", seed=at, hidden=hidden, ends=False) for at in range(3)]
    adapters = [str(tiny_adapter(folder / f"lora-{at}", seed=at, rank=8, hidden=hidden)) for at in range(2)]
    large = str(models[0])
    experts: JsonValue = [{"model": large, "adapter": adapter} for adapter in adapters]
    full: dict[str, Options] = {
        "average": {"models": [str(model) for model in models]},
        "contrast": {"weak": str(models[1])},
    }
    of_rule = full.get(rule, {"base": str(models[1]), "experts": [str(models[2])]})
    of_rows: Options = (
        {"models": [large, *experts]} if rule == "average" else {"base": large, "experts": experts}
    )
    rows = load("fusion", models[0], {"rule": rule, **of_rows}, batch=batch)
    apart = load("transformers", models[0], {}, adapters, batch=3 * batch)
    several = load("fusion", models[0], {"rule": rule, **of_rule}, batch=batch)
    one = load("transformers", models[0], {}, batch=batch)
    found = in_turns(
        {
            "rows_s": lambda: cpu_s(rows, [None], batch=batch, n_tokens=n_tokens),
            "apart_s": lambda: cpu_s(apart, [None, *adapters], batch=batch, n_tokens=n_tokens),
            "models_s": lambda: cpu_s(several, [None], batch=batch, n_tokens=n_tokens),
            "one_s": lambda: cpu_s(one, [None], batch=batch, n_tokens=n_tokens),
        },
        repeats=repeats,
    )
    return {
        "rows_ratio": found["rows_s"] / found["apart_s"],
        "models_ratio": found["models_s"] / found["one_s"],
        **found,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--rule", choices=("upscale", "dynamic", "average"), default="dynamic")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--at-most-rows", type=float)
    parser.add_argument("--at-most-models", type=float)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = cost_ratios(
            Path(folder),
            given.rule,
            hidden=given.hidden,
            batch=given.batch,
            n_tokens=given.tokens,
            repeats=given.repeats,
        )
    progress({name: round(value, 3) for name, value in report.items()})
    finish({"rule": given.rule, "hidden": given.hidden, "batch": given.batch, **report})
    for name, most in (("rows_ratio", given.at_most_rows), ("models_ratio", given.at_most_models)):
        if most is not None and report[name] > most:
            sys.exit(f"{name} is {report[name]:.2f}, more than {most:g}")


if __name__ == "__main__":
    main()
