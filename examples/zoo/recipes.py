"""What each member of the zoo is trained on. The order is the order of training."""

from dataclasses import dataclass
from typing import Literal

from examples.zoo.tasks import PAIR_TASKS, SINGLE_TASKS, TASKS

GENERALIST = "generalist"


@dataclass(frozen=True)
class Recipe:
    """How one expert comes about.

    `mixture` maps task names to sampling weights; `n_steps` batches of `batch_size` questions are
    drawn from it. `base` names the expert whose weights training starts from. Multiple choice comes
    in after the fraction `free_only` of the steps.
    """

    expert: str
    family: Literal["generalist", "specialist", "overlap", "pair", "aggregator"]
    mixture: dict[str, float]
    n_steps: int
    peak_rate: float = 2e-3
    batch_size: int = 32
    base: str | None = None
    lora_rank: int | None = None
    free_only: float = 0.5
    seed: int = 7

    @property
    def skills(self) -> list[str]:
        """Skills of the mixture, without repeats."""
        return list(dict.fromkeys(skill for task in self.mixture for skill in TASKS[task].skills))


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
BY_EXPERT = {recipe.expert: recipe for recipe in RECIPES}
