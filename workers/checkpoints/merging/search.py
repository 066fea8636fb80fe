"""Search of `compeft`'s numbers: what is tried, and what of it is chosen. Source: arXiv:2311.13171.

The paper searches the magnitude alone, on a validation set; we search it together with the density.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.errors import MergeError
from workers.checkpoints.merging.recipe import ModelRef, Recipe

METHOD, ALPHA, DENSITY, SMALLER, SCALE = "compeft", "alpha", "density", "smaller", "scale"
SEARCH = "search"
DENSITIES = (0.2, 0.3, 0.4, 0.5)
ALPHAS = (1.0, 1.1, 1.2, 1.35, 1.5)
"""Times the mean magnitude of what is kept."""
TIMES = 8.0
"""How many times smaller than in 16 bits a store must be, unless the recipe says."""
BYTES = 2
"""Of a number in 16 bits."""


class Candidate(NamedTuple):
    """Numbers of one expert: the share that is kept, and its magnitude in means of what is kept."""

    density: float
    alpha: float


class Tried(NamedTuple):
    """A candidate, how many questions its expert answered right, and how many times smaller it is."""

    candidate: Candidate
    n_right: int
    smaller: float


def is_searched(recipe: Recipe) -> bool:
    """True if the recipe asks for a search, wherever."""
    sections = [recipe.parameters, *(entry.parameters for entry in recipe.models or ())]
    return recipe.merge_method == METHOD and any(_mentions(section.get(ALPHA)) for section in sections)


def candidates(recipe: Recipe) -> list[Candidate]:
    """All that is tried: the recipe's density, or several, with each magnitude.

    Raises:
        MergeError: a recipe that leaves no room to search.
    """
    if recipe.parameters.get(ALPHA) != SEARCH:
        raise MergeError(
            "`alpha: search` is of all models and tensors alike.",
            param=ALPHA,
            remedy="Write it among the recipe's own `parameters`, without conditions.",
        )
    for entry in recipe.models or ():
        if set(entry.parameters) & {ALPHA, DENSITY, SCALE, SMALLER}:
            raise MergeError(
                "with `alpha: search`, models have no numbers of their own.",
                param=ALPHA,
                remedy="Give `density` for all, or leave it out.",
            )
    if recipe.models is None:
        raise MergeError("`alpha: search` needs `models`.", param="models", remedy="List them.")
    if recipe.parameters.get(SCALE) not in (None, "mean"):
        raise MergeError("`alpha: search` searches means.", param=SCALE, remedy="Leave `scale` out.")
    given = recipe.parameters.get(DENSITY)
    if given is not None and not _is_number(given, 0, 1):
        raise MergeError("density is a number above 0, at most 1.", param=DENSITY, remedy="Give one number.")
    densities = DENSITIES if given is None else (float(given),)
    return [Candidate(density, alpha) for density in densities for alpha in ALPHAS]


def least_times(recipe: Recipe) -> float:
    """The least number of times by which the store of an expert must be smaller than in 16 bits.

    Raises:
        MergeError: no number of at least 1.
    """
    given = recipe.parameters.get(SMALLER, TIMES)
    if not _is_number(given, 0, 16) or given < 1:
        raise MergeError("smaller is a number from 1 to 16.", param=SMALLER, remedy="Give one number.")
    return float(given)


def chosen(tries: Sequence[Tried], *, times: float) -> Tried:
    """The most accurate that is small enough; of equals the least dense, then the plainest magnitude.

    Args:
        times: the least number of times by which it must be smaller than in 16 bits, >= 1.

    Raises:
        MergeError: none is small enough.
    """
    able = [one for one in tries if one.smaller >= times]
    if not able:
        most = max(one.smaller for one in tries)
        raise MergeError(
            f"no density makes it {times:g} times smaller; {most:.1f} is the most.",
            param=SMALLER,
            remedy="Ask for less, or leave `density` out.",
        )
    return max(able, key=lambda one: (one.n_right, -one.candidate.density, -abs(one.candidate.alpha - 1)))


def with_numbers(recipe: Recipe, numbers: Mapping[ModelRef, Candidate]) -> Recipe:
    """The recipe with the numbers of each model in place of the search."""
    entries = [
        entry.model_copy(update={"parameters": {**entry.parameters, **numbers[entry.model]._asdict()}})
        if entry.model in numbers
        else entry
        for entry in recipe.models or ()
    ]
    kept = {k: v for k, v in recipe.parameters.items() if k not in (ALPHA, DENSITY, SMALLER)}
    return recipe.model_copy(update={"models": entries, "parameters": {**kept, SCALE: "mean"}})


def times_smaller(n_bytes: int, n_numbers: int) -> float:
    """Size of numbers in 16 bits over that of their store."""
    return BYTES * n_numbers / n_bytes


def _mentions(setting: object) -> bool:
    """True if a setting, or a condition or a list in it, is the search."""
    if isinstance(setting, dict):
        return _mentions(setting.get("value"))
    return any(map(_mentions, setting)) if isinstance(setting, list) else setting == SEARCH


def _is_number(value: object, above: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value <= most
