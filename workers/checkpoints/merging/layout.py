"""Layout of a result: which tensors it has, from which tensor of each input each is made, and the value of
every parameter there. Pure.

Semantics of gradients, filters and precedence are mergekit's: a numeric list is interpolated over the layers
of a slice, and stands at its first value for tensors outside the layers; of a list of conditions the first
whose `filter` is part of the name counts; a source's own value comes before the slice's, and that before the
recipe's.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from orchestrator.errors import ConfigError
from workers.checkpoints.merging.recipe import ModelEntry, ModelRef, Recipe, SliceEntry, SourceEntry

LISTS = frozenset({"layers", "h", "blocks", "layer"})
"""Words before the number of a layer in tensors' names."""
MAX_DIGITS = 6
_EXPONENT = re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{0,20})?[eE][+-]?[0-9]{1,3}")

Scalar = bool | int | float | str
ParameterValue = Scalar | list[Scalar | None]


class Made(NamedTuple):
    """A tensor of the result.

    Attributes:
        sources: name of the tensor in each source of the slice, in the slice's order.
        entries: these sources. base: the base and its tensor.
        slice_: whose parameters count.
        t: place in the layers of the slice, in [0, 1].
    """

    name: str
    entries: Sequence[ModelEntry]
    sources: Sequence[str]
    base: ModelRef | None
    base_source: str
    slice_: SliceEntry | None
    t: float


class Place(NamedTuple):
    """Place of a tensor in the layers: its name is `front`, number, `back`."""

    front: str
    number: int
    back: str


def place_of(name: str) -> Place | None:
    """`model.layers.3.mlp.weight` -> `model.layers.`, 3, `.mlp.weight`; None = outside the layers."""
    parts = name.split(".")
    for at, (word, number) in enumerate(itertools.pairwise(parts)):
        if word in LISTS and number.isdecimal() and len(number) < MAX_DIGITS and at + 2 < len(parts):
            return Place(".".join(parts[: at + 1]) + ".", int(number), "." + ".".join(parts[at + 2 :]))
    return None


def layers_of(names: Sequence[str]) -> int:
    """Number of layers that tensors' names speak of; 0 = none does."""
    return 1 + max((place.number for place in map(place_of, names) if place), default=-1)


def made_tensors(recipe: Recipe, names: Sequence[str]) -> list[Made]:
    """Tensors of the result, in the order of `names`, which are the first input's.

    Raises:
        ConfigError: sources of a slice that do not have the same number of layers.
    """
    n_layers = layers_of(names)
    slices: Sequence[SliceEntry | None] = recipe.slices or [None]
    templates = _templates(names)
    result: list[Made] = []
    outside = [name for name in names if place_of(name) is None]
    for name in outside:
        slice_ = slices[0] if _is_before(name) else slices[-1]
        entries = _entries(recipe, slice_)
        result.append(Made(name, entries, [name] * len(entries), _base(recipe, slice_), name, slice_, 0.0))
    index = 0
    for slice_ in slices:
        entries = _entries(recipe, slice_)
        firsts, length = _ranges(entries, n_layers)
        base = _base(recipe, slice_)
        base_first = next((f for f, e in zip(firsts, entries, strict=True) if e.model == base), firsts[0])
        for offset in range(length):
            t = offset / (length - 1) if length > 1 else 1.0
            for front, back in templates:
                sources = [f"{front}{first + offset}{back}" for first in firsts]
                base_source = f"{front}{base_first + offset}{back}"
                result.append(Made(f"{front}{index}{back}", entries, sources, base, base_source, slice_, t))
            index += 1
    return result


def _templates(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names of a layer without its number."""
    places = [place for place in map(place_of, names) if place]
    return list(dict.fromkeys((place.front, place.back) for place in places))


def _is_before(name: str) -> bool:
    """True for tensors that stand before the layers: these are the first slice's."""
    return "embed" in name or ".wte." in f".{name}" or ".wpe." in f".{name}"


def _entries(recipe: Recipe, slice_: SliceEntry | None) -> Sequence[ModelEntry]:
    return (recipe.models or ()) if slice_ is None else slice_.sources


def _base(recipe: Recipe, slice_: SliceEntry | None) -> ModelRef | None:
    own = None if slice_ is None else slice_.base_model
    base: ModelRef | None = own if own is not None else recipe.base_model
    return base


def _ranges(entries: Sequence[ModelEntry], n_layers: int) -> tuple[list[int], int]:
    """First layer in each source, and their number."""
    ranges = [e.layer_range if isinstance(e, SourceEntry) else (0, n_layers) for e in entries]
    lengths = {last - first for first, last in ranges}
    if len(lengths) > 1:
        raise ConfigError(
            f"the sources of a slice have {' and '.join(map(str, sorted(lengths)))} layers.",
            param="slices",
            remedy="Give all sources of a slice as many layers.",
        )
    return [first for first, _ in ranges], lengths.pop()


def parameters_at(made: Made, recipe: Recipe, names: Sequence[str]) -> dict[str, ParameterValue]:
    """Values of the parameters `names` for one tensor; those that nobody sets there are left out.

    A parameter that a source sets is a list over the sources, None where nothing is set for one of them.
    """
    found: dict[str, ParameterValue] = {}
    for name in names:
        shared = _first(name, made, _shared(made, recipe))
        own = [_first(name, made, [entry.parameters]) for entry in made.entries]
        if any(value is not None for value in own):
            found[name] = [shared if value is None else value for value in own]
        elif shared is not None:
            found[name] = shared
    return found


def _shared(made: Made, recipe: Recipe) -> list[Mapping[str, Any]]:
    return [*([made.slice_.parameters] if made.slice_ is not None else []), recipe.parameters]


def _first(name: str, made: Made, sections: Sequence[Mapping[str, Any]]) -> Scalar | None:
    for section in sections:
        if name in section:
            value = evaluated(section[name], made.name, made.t)
            if value is not None:
                return value
    return None


def evaluated(setting: JsonValue, tensor: str, t: float) -> Scalar | None:
    """A setting's value for one tensor; None = no condition of it holds there.

    `[0, 1]` at t = .25 -> .25; `[{filter: mlp, value: 1}, {value: 0}]` -> 1 for tensors of the MLP.
    """
    if not isinstance(setting, list):
        assert isinstance(setting, bool | int | float | str), "the recipe was checked"
        return _number(setting)
    if setting and isinstance(setting[0], dict):
        for condition in setting:
            assert isinstance(condition, dict), "the recipe was checked"
            pattern = condition.get("filter")
            if pattern in (None, "*") or (isinstance(pattern, str) and pattern in tensor):
                return evaluated(condition["value"], tensor, t)
        return None
    values = [_number(value) for value in setting if isinstance(value, bool | int | float | str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):  # of names or switches there is none between
        return values[int(t * (len(values) - 1))]
    at = t * (len(numbers) - 1)
    low = int(at)
    high = min(len(numbers) - 1, low + 1)
    return (1 - (at - low)) * numbers[low] + (at - low) * numbers[high]


def _number(value: Scalar) -> Scalar:
    """YAML reads `1e-3` as text."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value
