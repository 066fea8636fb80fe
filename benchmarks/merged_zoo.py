"""Merged experts of the zoo: what is left of several experts in one model, one basis, or a few bits.

    python -m benchmarks.merged_zoo [--questions 300] [--parts stores …] [--skills roman …] [--models FOLDER]

    stores   the LoRA experts of `generalist`: accuracy of each rebuilt expert on its skill over the bytes
             that all of them take, `reversible` and `compeft` side by side (numbers in float16)
    vectors  the low-drift experts of `untied`: accuracy over bytes of their task vectors by `compeft`
    twin     the low-drift experts of `untied` as one shared model and adapters, by rank
    merges   the low-drift experts as one model, by method

Held-out inputs, greedy. `kept` is the mean accuracy over the mean of the experts by themselves; `loses` is
what the mean accuracy of stored experts is below that of the experts, with the 95 % interval of the paired
difference. `compeft search` chooses density and alpha for each expert on 100 questions of the profile, which
are none of the held-out ones. The last line of stdout is one JSON object.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from aggregators.weights import merge_tensor
from aggregators.weights.compeft import CompeftOptions, pack, unpack
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
from orchestrator.evaluation.statistics import paired_difference
from workers.checkpoints.merging.search import (
    ALPHAS,
    DENSITIES,
    TIMES,
    Candidate,
    Tried,
    chosen,
    times_smaller,
)

BYTES = 2
"""Of a number in float16."""

PROFILE_QUESTIONS = 100
"""Of a skill, on which density and alpha are chosen."""

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
        return statistics.fmean(self.right(model, weights, self.held_out(skill)))

    def held_out(self, skill: str) -> list[Question]:
        if skill not in self._questions:
            self._questions[skill] = held_out(TASKS[skill], self._n)
        return self._questions[skill]

    def calibration(self, skill: str) -> list[Question]:
        """Questions of the profile that are not among the held-out ones."""
        asked = {question.prompt for question in self.held_out(skill)}
        found = of_task(TASKS[skill], "profile", PROFILE_QUESTIONS)
        return [question for question in found if question.prompt not in asked]

    def right(self, model: LlamaForCausalLM, weights: Weights, questions: list[Question]) -> list[bool]:
        model.load_state_dict(weights, strict=False)
        return [bool(hit) for hit in grade(model, self._tokenizer, questions)[1]]


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


class Stored(NamedTuple):
    """An expert as it comes out of a store, its bytes there, and how many numbers it is made of."""

    weights: Weights
    n_bytes: int
    n_numbers: int


def stores(bench: Bench, models: Path) -> dict[str, Any]:
    """Accuracy over bytes of adapters that are kept in other forms."""
    skills = [task for task in TASKS if (models / f"lora-{task}" / ADAPTER_WEIGHTS).exists()]
    adapters = {skill: load_adapter(models / f"lora-{skill}") for skill in skills}
    model = load_member(models / GENERALIST)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    table = Table(bench, model)
    plain = {
        skill: Stored(with_adapter(base, a), _n_numbers(a) * BYTES, _n_numbers(a))
        for skill, a in adapters.items()
    }
    table.add("adapters", plain)
    for granularity, p in _bases(len(skills)):
        rebuilt, size = reversed_adapters(adapters, p, granularity)
        each = {
            skill: Stored(with_adapter(base, a), size // len(skills), plain[skill].n_numbers)
            for skill, a in rebuilt.items()
        }
        table.add(f"reversible {granularity} p={p}", each, n_bytes=size)

    def compressed_to(skill: str, options: CompeftOptions) -> Stored:
        adapter, n_bytes = compressed(adapters[skill], options)
        return Stored(with_adapter(base, adapter), n_bytes, plain[skill].n_numbers)

    _add_compeft(table, skills, compressed_to)
    return {"skills": skills, "rows": _over(table.rows)}


Storing = Callable[[str, CompeftOptions], Stored]
"""(skill, options) to its expert as it comes out of the store."""


class Table:
    """Rows of stores, each beside the first, in pairs."""

    def __init__(self, bench: Bench, model: LlamaForCausalLM) -> None:
        self.bench = bench
        self.model = model
        self.rows: list[dict[str, Any]] = []
        self._first: list[bool] = []

    def add(
        self, name: str, kept: Mapping[str, Stored], *, n_bytes: int | None = None, **more: object
    ) -> None:
        right: list[bool] = []
        by_skill = {}
        for skill, one in kept.items():
            found = self.bench.right(self.model, one.weights, self.bench.held_out(skill))
            by_skill[skill] = round(statistics.fmean(found), 3)
            right += found
        self._first = self._first or right
        apart = paired_difference(right, self._first)
        size = sum(one.n_bytes for one in kept.values()) if n_bytes is None else n_bytes
        row = {
            "store": name,
            "bytes": size,
            "accuracy": statistics.fmean(right),
            "loses_ci95": [round(-apart.high, 4), round(-apart.low, 4)],
            "by_skill": by_skill,
            **more,
        }
        self.rows.append(row)
        progress(row)


def _add_compeft(table: Table, skills: Sequence[str], stored: Storing) -> None:
    """Rows of every density, and of what is chosen on the profile."""
    for density in (0.1, *DENSITIES):
        kept = {skill: stored(skill, CompeftOptions(density=density)) for skill in skills}
        table.add(f"compeft mean {density}", kept)
    numbers = {skill: searched(table, skill, stored) for skill in skills}
    found = {skill: stored(skill, _options_of(numbers[skill])) for skill in skills}
    table.add("compeft search", found, numbers={skill: [*one] for skill, one in numbers.items()})


def searched(table: Table, skill: str, stored: Storing) -> Candidate:
    """Numbers of an expert that answers most of the profile's questions, at `TIMES` times smaller."""
    tries = []
    questions = table.bench.calibration(skill)
    for density in DENSITIES:
        for alpha in ALPHAS:
            one = stored(skill, _options_of(Candidate(density, alpha)))
            n_right = sum(table.bench.right(table.model, one.weights, questions))
            smaller = times_smaller(one.n_bytes, one.n_numbers)
            tries.append(Tried(Candidate(density, alpha), n_right, smaller))
    return chosen(tries, times=TIMES).candidate


def _options_of(numbers: Candidate) -> CompeftOptions:
    return CompeftOptions(density=numbers.density, alpha=numbers.alpha, scale="mean")


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
    by_skill = dict(zip(skills, experts, strict=True))
    taus = {skill: {name: expert[name] - base[name] for name in base} for skill, expert in by_skill.items()}
    n = sum(tensor.numel() for tensor in base.values())
    table = Table(bench, model)
    table.add("task vectors", {skill: Stored(expert, n * BYTES, n) for skill, expert in by_skill.items()})

    def compressed_to(skill: str, options: CompeftOptions) -> Stored:
        data = pack(taus[skill], options)
        return Stored(_with_vector(base, unpack(data)), len(data), n)

    _add_compeft(table, skills, compressed_to)
    return {"skills": skills, "rows": _over(table.rows)}


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
