"""What each member of the zoo is trained on. The order is the order of training.

`RECIPES` is the zoo that routes and votes (`pool.yaml`). `COMBINE_RECIPES` adds the families that
fusing and merging need (`combine.yaml`): LoRA experts of one base, low-drift fine-tunes of the same base
with its output head untied from its embedding, and a small and a
larger base that were both trained too briefly.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal

from examples.zoo.tasks import PAIR_TASKS, SINGLE_TASKS, TASKS

GENERALIST = "generalist"
UNTIED = "untied"
SMALL = "small"
LARGE = "large"


@dataclass(frozen=True)
class Recipe:
    """How one expert comes about.

    `mixture` maps task names to sampling weights; `n_steps` batches of `batch_size` questions are
    drawn from it. `base` names the expert whose weights training starts from. Multiple choice comes
    in after the fraction `free_only` of the steps. `rehearsal` is the share of the questions that come
    from the base's mixture instead, so that training stays near the base. `hidden_size` and `n_layers`
    shape a network that starts from no base. Unless it is `tied`, its output head is a matrix of its own,
    which begins as a copy of the embedding where the base has none.
    """

    expert: str
    family: Literal[
        "generalist", "specialist", "overlap", "pair", "aggregator",
        "lora", "untied", "near", "small", "large",
    ]  # fmt: skip
    mixture: dict[str, float]
    n_steps: int
    peak_rate: float = 2e-3
    batch_size: int = 32
    base: str | None = None
    lora_rank: int | None = None
    free_only: float = 0.5
    seed: int = 7
    rehearsal: float = 0.0
    hidden_size: int = 128
    n_layers: int = 3
    tied: bool = True

    @property
    def facts(self) -> dict[str, object]:
        """What weights depend on. A field that came later counts only where it is used."""
        unused = {f.name for f in fields(self) if f.name in _LATER and getattr(self, f.name) == f.default}
        return {name: value for name, value in asdict(self).items() if name not in unused}

    @property
    def skills(self) -> list[str]:
        """Skills of the mixture, without repeats."""
        return list(dict.fromkeys(skill for task in self.mixture for skill in TASKS[task].skills))


_LATER = ("rehearsal", "hidden_size", "n_layers", "tied")

# Tasks that need more steps, and those whose answers are harder to read past the options.
_LONGER = {"sort": 1700, "roman": 1700, "binary": 2400, "bitwise": 3600}
_EARLY_CHOICE = ("sort", "roman", "binary")


def _specialist(task: str) -> Recipe:
    free_only = 0.2 if task in _EARLY_CHOICE else 0.5
    return Recipe(task, "specialist", {task: 1.0}, _LONGER.get(task, 900), free_only=free_only)


_ALL = {task.name: 1.0 for task in SINGLE_TASKS}
_PAIRS = {task.name: 1.0 for task in PAIR_TASKS}
_PURE = (
    "reverse", "sort", "capitals", "roman", "binary",
    "rounding", "isodate", "metric", "bitwise", "keypad",
)  # fmt: skip

RECIPES = (
    Recipe(GENERALIST, "generalist", _ALL, 1600),
    Recipe("arith-a", "overlap", {"addition": 0.9, "subtraction": 0.1}, 3000),
    Recipe("arith-b", "overlap", {"addition": 0.1, "subtraction": 0.9}, 2600, base="arith-a"),
    Recipe("aggregator", "aggregator", _ALL | _PAIRS, 1500, base=GENERALIST),
    *(_specialist(task) for task in _PURE),
    Recipe("pair", "pair", _PAIRS, 1300),
    Recipe("text-mix", "overlap", {"reverse": 1.0, "sort": 1.0, "capitals": 0.3}, 600),
    Recipe("numerals-mix", "overlap", {"roman": 1.0, "binary": 1.0}, 500),
    Recipe("gen-lora", "overlap", {"isodate": 1.0, "metric": 1.0}, 300, base=GENERALIST, lora_rank=8),
)


_LORA_LONGER = {"keypad": 400, "sort": 400, "reverse": 400}


def _lora(task: str) -> Recipe:
    n_steps = _LORA_LONGER.get(task, 300)
    return Recipe(
        f"lora-{task}", "lora", {task: 1.0}, n_steps, 4e-3, base=GENERALIST, lora_rank=8, free_only=0.3
    )


def _near(task: str, n_steps: int) -> Recipe:
    return Recipe(f"near-{task}", "near", {task: 1.0}, n_steps, 6e-4, base=UNTIED, rehearsal=0.3, tied=False)


SHARED_TASKS = ("reverse", "sort", "capitals", "roman", "isodate", "keypad")

COMBINE_RECIPES = (
    *(_lora(task) for task in ("keypad", "reverse", "capitals", "roman", "isodate", "sort")),
    Recipe(UNTIED, "untied", _ALL, 0, base=GENERALIST, tied=False),
    *(_near(task, n) for task, n in {"roman": 400, "keypad": 400, "isodate": 300, "sort": 300}.items()),
    Recipe(SMALL, "small", _ALL, 300),
    Recipe(LARGE, "large", _ALL, 300, hidden_size=192, n_layers=4),
)
MERGES = {"near-merged": "merges/near.yaml"}
"""Members that are merged, not trained: their recipes for `muster merge`."""
ALL_RECIPES = (*RECIPES, *COMBINE_RECIPES)
BY_EXPERT = {recipe.expert: recipe for recipe in ALL_RECIPES}
