"""Merged experts of the zoo: what is left of several experts in one model, one basis, or a few bits.

    python -m benchmarks.merged_zoo [--questions 300] [--parts stores …] [--skills roman …] [--models FOLDER]

    stores   the LoRA experts of `generalist`: accuracy of each rebuilt expert on its skill over the bytes
             that all of them take, `reversible` and `compeft` side by side (numbers in float16)
    vectors  the low-drift experts of `untied`: accuracy over bytes of their task vectors by `compeft`
    twin     the low-drift experts of `untied` as one shared model and adapters, by rank
    merges   the low-drift experts as one model, by method

Held-out inputs, greedy. `kept` is the mean accuracy over the mean of the experts by themselves. The last line
of stdout is one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from aggregators.weights import merge_tensor
from aggregators.weights.compeft import ALPHAS, CompeftOptions, pack, unpack
from aggregators.weights.lora import Lora, product
from aggregators.weights.reversible import Granularity, rebuild, store
from benchmarks.reporting import finish, option_parser, progress
from examples.zoo.evaluate import grade
from examples.zoo.model import ADAPTER_WEIGHTS, load_member
from examples.zoo.questions import held_out, of_task
from examples.zoo.recipes import GENERALIST, UNTIED
from examples.zoo.tasks import TASKS, Question
from examples.zoo.tokenizer import build_tokenizer
from examples.zoo.train import MODELS

BYTES = 2
"""Of a number in float16."""

PROFILE_QUESTIONS = 60
"""Of a skill, on which alpha is chosen."""

RANKS = (4, 8, 16, 32)
MERGES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "linear": ("linear", {}),
    "task_arithmetic .4": ("task_arithmetic", {"lam": 0.4}),
    "task_arithmetic .6": ("task_arithmetic", {"lam": 0.6}),
    "task_arithmetic .8": ("task_arithmetic", {"lam": 0.8}),
    "ties .2": ("ties", {"density": 0.2}),
    "ties .5": ("ties", {"density": 0.5}),
    "ties .5 lambda 1.5": ("ties", {"density": 0.5, "lam": 1.5}),
    "dare_linear .5": ("dare_linear", {"density": 0.5, "lam": 0.6}),
    "breadcrumbs .9": ("breadcrumbs", {"lam": 0.6}),
    "pcb": ("pcb", {"r": 0.5}),
    "tsvm": ("tsvm", {}),
    "r_tsvm": ("r_tsvm", {}),
}
Weights = dict[str, Tensor]
Adapter = dict[str, Lora]


class Bench:
    """Accuracies of weights on skills."""

    def __init__(self, n_questions: int, skills: Sequence[str]) -> None:
        self.skills = skills
        self._n = n_questions
        self._tokenizer = build_tokenizer()
        self._questions: dict[str, list[Question]] = {}

    def accuracy(self, model: LlamaForCausalLM, weights: Weights, skill: str) -> float:
        """Share of right replies to held-out questions of the skill."""
        if skill not in self._questions:
            self._questions[skill] = held_out(TASKS[skill], self._n)
        return self.accuracy_on(model, weights, self._questions[skill])

    def accuracy_on(self, model: LlamaForCausalLM, weights: Weights, questions: list[Question]) -> float:
        model.load_state_dict(weights, strict=False)
        return statistics.fmean(grade(model, self._tokenizer, questions)[1])


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument(
        "--skills", nargs="+", choices=TASKS, default=list(TASKS), help="of low-drift experts"
    )
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    bench = Bench(arguments.questions, arguments.skills)
    report: dict[str, Any] = {"questions": arguments.questions}
    for part in arguments.parts:
        started = time.process_time()
        report[part] = PARTS[part](bench, arguments.models)
        progress(f"{part}: {time.process_time() - started:.0f} CPU seconds")
    finish(report)


# ── stores ───────────────────────────────────────────────────────────────────────────────────────────


def stores(bench: Bench, models: Path) -> dict[str, Any]:
    """Accuracy over bytes of adapters that are kept in other forms."""
    skills = [task for task in TASKS if (models / f"lora-{task}" / ADAPTER_WEIGHTS).exists()]
    adapters = {skill: load_adapter(models / f"lora-{skill}") for skill in skills}
    model = load_member(models / GENERALIST)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def mean(rebuilt: Mapping[str, Adapter]) -> float:
        return statistics.fmean(
            bench.accuracy(model, with_adapter(base, adapter), skill) for skill, adapter in rebuilt.items()
        )

    plain = mean(adapters)
    n_bytes = sum(_n_numbers(adapter) * BYTES for adapter in adapters.values())
    rows: list[dict[str, Any]] = [{"store": "adapters", "bytes": n_bytes, "accuracy": plain}]
    for granularity, p in _bases(len(skills)):
        rebuilt, size = reversed_adapters(adapters, p, granularity)
        rows.append({"store": f"reversible {granularity} p={p}", "bytes": size, "accuracy": mean(rebuilt)})
        progress(rows[-1])
    for density in (0.05, 0.1, 0.2, 0.5):
        kept = {skill: compressed(a, CompeftOptions(density=density)) for skill, a in adapters.items()}
        rows.append(_compeft_row(f"compeft mean {density}", kept, mean))
        tuned = {skill: _tuned(bench, model, base, skill, a, density) for skill, a in adapters.items()}
        rows.append(_compeft_row(f"compeft alpha {density}", tuned, mean))
    return {"skills": skills, "rows": _over(rows)}


def _over(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with `share` of the bytes and `smaller` than the first, which is what is stored as it is."""
    first = rows[0]
    return [
        {
            **row,
            "accuracy": round(row["accuracy"], 4),
            "share": round(row["bytes"] / first["bytes"], 4),
            "smaller": round(first["bytes"] / row["bytes"], 1),
            "loses": round(first["accuracy"] - row["accuracy"], 4),
        }
        for row in rows
    ]


def _bases(n: int) -> list[tuple[Granularity, int]]:
    return [*(("module", p) for p in range(n)), *(("position", p) for p in (1, 2, 4))]


def reversed_adapters(
    adapters: Mapping[str, Adapter], p: int, granularity: Granularity
) -> tuple[dict[str, Adapter], int]:
    """Every expert's adapter as rebuilt from a basis per module, and the bytes of all."""
    rebuilt: dict[str, Adapter] = {skill: {} for skill in adapters}
    numbers = 0
    for module in next(iter(adapters.values())):
        stored = store([adapter[module] for adapter in adapters.values()], p, granularity, name=module)
        numbers += sum(part.n_numbers for part in stored.parts)
        for place, skill in enumerate(adapters):
            rebuilt[skill][module] = rebuild(stored, place)
    return rebuilt, numbers * BYTES


def compressed(adapter: Adapter, options: CompeftOptions) -> tuple[Adapter, int]:
    """An adapter as it comes out of a store of signs, and its bytes."""
    tensors = {f"{module}.{side}": getattr(lora, side) for module, lora in adapter.items() for side in "ab"}
    data = pack(tensors, options)
    back = unpack(data)
    return {m: Lora(back[f"{m}.a"], back[f"{m}.b"], lora.scale) for m, lora in adapter.items()}, len(data)


def _tuned(
    bench: Bench, model: LlamaForCausalLM, base: Weights, skill: str, adapter: Adapter, density: float
) -> tuple[Adapter, int]:
    """The scale that answers most questions of the profile."""
    questions = list(of_task(TASKS[skill], "profile", PROFILE_QUESTIONS))
    tries = [CompeftOptions(density=density)]
    tries += [CompeftOptions(density=density, alpha=alpha) for alpha in ALPHAS]
    found = [compressed(adapter, options) for options in tries]
    right = [bench.accuracy_on(model, with_adapter(base, one), questions) for one, _ in found]
    return found[max(range(len(found)), key=right.__getitem__)]


def _compeft_row(
    name: str, kept: Mapping[str, tuple[Adapter, int]], mean: Callable[[Mapping[str, Adapter]], float]
) -> dict[str, Any]:
    size = sum(n for _, n in kept.values())
    row = {"store": name, "bytes": size, "accuracy": mean({skill: one for skill, (one, _) in kept.items()})}
    progress(row)
    return row


def load_adapter(folder: Path) -> Adapter:
    """Adapters by the name of the weight that they change."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    modules = sorted(name.removesuffix(".lora_A.weight") for name in tensors if "lora_A" in name)
    scale = config["lora_alpha"] / config["r"]
    return {
        module.removeprefix("base_model.model.") + ".weight": Lora(
            tensors[f"{module}.lora_A.weight"].float(), tensors[f"{module}.lora_B.weight"].float(), scale
        )
        for module in modules
    }


def with_adapter(base: Weights, adapter: Adapter) -> Weights:
    return {**base, **{name: base[name] + product(lora) for name, lora in adapter.items()}}


def _n_numbers(adapter: Adapter) -> int:
    return sum(lora.a.numel() + lora.b.numel() for lora in adapter.values())


# ── low-drift experts ────────────────────────────────────────────────────────────────────────────────


def vectors(bench: Bench, models: Path) -> dict[str, Any]:
    """Whole task vectors as signs and one magnitude: the mean of what is kept, or the profile's choice."""
    skills, base, experts, model = _near(bench, models)
    taus = [{name: expert[name] - base[name] for name in base} for expert in experts]
    alone = statistics.fmean(bench.accuracy(model, e, s) for s, e in zip(skills, experts, strict=True))
    n_bytes = BYTES * sum(tensor.numel() for tensor in base.values()) * len(skills)
    rows: list[dict[str, Any]] = [{"store": "task vectors", "bytes": n_bytes, "accuracy": alone}]
    for density in (0.1, 0.2, 0.3, 0.5):
        for name, alphas in (("mean", [None]), ("alpha", [None, *ALPHAS])):
            found, size = [], 0
            for skill, tau in zip(skills, taus, strict=True):
                questions = list(of_task(TASKS[skill], "profile", PROFILE_QUESTIONS))
                tries = [pack(tau, CompeftOptions(density=density, alpha=alpha)) for alpha in alphas]
                weights = [_with_vector(base, unpack(data)) for data in tries]
                right = [bench.accuracy_on(model, w, questions) if len(tries) > 1 else 0.0 for w in weights]
                best = max(range(len(tries)), key=right.__getitem__)
                found.append(bench.accuracy(model, weights[best], skill))
                size += len(tries[best])
            accuracy = statistics.fmean(found)
            rows.append({"store": f"compeft {name} {density}", "bytes": size, "accuracy": accuracy})
            progress(rows[-1])
    return {"skills": skills, "rows": _over(rows)}


def _with_vector(base: Weights, tau: Weights) -> Weights:
    return {name: tensor + tau[name] for name, tensor in base.items()}


def twin(bench: Bench, models: Path) -> dict[str, Any]:
    """The low-drift experts as a shared model and adapters: each alone, and as .7 of a mixture."""
    skills, base, experts, model = _near(bench, models)
    alone = [bench.accuracy(model, expert, skill) for skill, expert in zip(skills, experts, strict=True)]
    rows = []
    for rank in (0, *RANKS):
        for own in (1.0, 0.7) if rank else (0.0,):
            others = (1 - own) / (len(skills) - 1) if rank else 0.0
            found = [
                bench.accuracy(
                    model,
                    _merged(
                        base,
                        experts,
                        "twin",
                        {
                            "r": max(rank, 1),
                            "weight": [own if i == j else others for j in range(len(skills))],
                        },
                    ),
                    skill,
                )
                for i, skill in enumerate(skills)
            ]
            rows.append({"rank": rank, "own_weight": own, **_row(skills, found, alone)})
            progress(rows[-1])
    return {"alone": dict(zip(skills, alone, strict=True)), "rows": rows}


def merges(bench: Bench, models: Path) -> dict[str, Any]:
    """The low-drift experts as one model."""
    skills, base, experts, model = _near(bench, models)
    alone = [bench.accuracy(model, expert, skill) for skill, expert in zip(skills, experts, strict=True)]
    rows: list[dict[str, Any]] = [
        {"merge": "base", **_row(skills, [bench.accuracy(model, base, s) for s in skills], alone)}
    ]
    for name, (method, params) in MERGES.items():
        weights = _merged(base, experts, method, params)
        rows.append(
            {"merge": name, **_row(skills, [bench.accuracy(model, weights, s) for s in skills], alone)}
        )
        progress(rows[-1])
    return {"alone": dict(zip(skills, alone, strict=True)), "rows": rows}


def _near(bench: Bench, models: Path) -> tuple[list[str], Weights, list[Weights], LlamaForCausalLM]:
    named = [f"near-{task}" for task in TASKS if task in bench.skills]
    there = [name for name in named if (models / name / "config.json").exists()]
    model = load_member(models / UNTIED)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    experts = [dict(load_member(models / name).state_dict()) for name in there]
    return [name.removeprefix("near-") for name in there], base, experts, model


def _merged(base: Weights, experts: Sequence[Weights], method: str, params: dict[str, Any]) -> Weights:
    return {
        name: merge_tensor(method, tensor, [expert[name] for expert in experts], params, name=name)
        for name, tensor in base.items()
    }


def _row(skills: Sequence[str], found: Sequence[float], alone: Sequence[float]) -> dict[str, Any]:
    by_skill = {skill: round(value, 3) for skill, value in zip(skills, found, strict=True)}
    return {**by_skill, "kept": round(statistics.fmean(found) / statistics.fmean(alone), 3)}


PARTS: Mapping[str, Callable[[Bench, Path], dict[str, Any]]] = {
    "stores": stores,
    "vectors": vectors,
    "twin": twin,
    "merges": merges,
}

if __name__ == "__main__":
    main()
