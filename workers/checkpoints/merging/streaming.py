"""Streaming of a merge: tensor by tensor from the inputs through `aggregators.weights` into shards.

Run in a process of its own (`child.py`), which is the only one that loads torch.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights import MERGE_METHODS, MergeRow, merge_tensor
from aggregators.weights.blocks import places
from orchestrator.domain.merges import MergeProblem
from workers.checkpoints.merging.headers import INDEX, SINGLE, Head, is_float
from workers.checkpoints.merging.inputs import Input, Inputs
from workers.checkpoints.merging.layout import Made, parameters_at
from workers.checkpoints.merging.methods import METHODS
from workers.checkpoints.merging.preflight import judge_head, result_dtype
from workers.checkpoints.merging.recipe import ModelRef, Recipe
from workers.checkpoints.merging.tensors import TORCH, ShardWriter, Slot, read_tensor
from workers.checkpoints.merging.work import done_shards, keep_done

FAR = 0.3
"""Norm of a task vector over the base's, beyond which a model is hardly a fine-tune of that base."""

OnTensor = Callable[[int, int], None]
"""(done, of how many)."""


class Merged(NamedTuple):
    """Result of a merge: the SHA-256 of each file of weights, the number of tensors, what was found."""

    files: dict[str, str]
    n_tensors: int
    problems: list[MergeProblem]


class Parts(NamedTuple):
    """Sources that are merged to one tensor of the result.

    Attributes:
        row: the method. keep: places of the sources among those of the recipe.
        refs: these sources, with the name of the tensor in each.
    """

    row: MergeRow
    keep: list[int]
    refs: list[tuple[ModelRef, str]]

    def merge(
        self, recipe: Recipe, one: Made, inputs: Inputs, *, seed: int, out_dtype: torch.dtype
    ) -> Tensor:
        """The result, of the base's shape, in another number format than the recipe's."""
        params = method_parameters(recipe, self.row, one, self.keep, seed=seed)
        base = None if one.base is None else theta(inputs.models[one.base], one.base_source)
        models = [theta(inputs.models[ref], source) for ref, source in self.refs]
        return merge_tensor(recipe.merge_method, base, models, params, name=one.name, out_dtype=out_dtype)


Also = Callable[[Made, Parts, Sequence[Tensor], Tensor], None]
"""(tensor, its parts, the models' tensors, the result) of every tensor that was merged."""


class Norms:
    """Sums of squares of the base and of every model's distance from it, over all tensors."""

    def __init__(self, known: Mapping[str, float]) -> None:
        self.squares: dict[str, float] = dict(known)

    def add(self, base: Tensor, models: Mapping[str, Tensor]) -> None:
        """Add one tensor: of the base, and of models by their name, all of one shape, whatever it is."""
        flat = {name: tensor.reshape(-1) for name, tensor in models.items()}
        for place in places(base):
            theta = base.reshape(-1)[place].float()
            self._grow("", theta)
            for name, tensor in flat.items():
                self._grow(name, torch.sub(tensor[place].float(), theta))

    def problems(self) -> Iterator[MergeProblem]:
        """Models that are far from the base."""
        base = math.sqrt(self.squares.get("", 0.0))
        for name, square in self.squares.items():
            share = math.sqrt(square) / base if base else 0.0
            if name and share > FAR:
                have, want = f"{share:.2f} of the base's norm away from it", f"<= {FAR}, as fine-tunes are"
                yield MergeProblem(kind="far_from_base", severity="warning", model=name, have=have, want=want)

    def _grow(self, name: str, tensor: Tensor) -> None:
        square = float(torch.linalg.vector_norm(tensor)) ** 2 if tensor.numel() else 0.0
        self.squares[name] = self.squares.get(name, 0.0) + square


def merge_full(
    recipe: Recipe,
    inputs: Inputs,
    made: Sequence[Made],
    folder: Path,
    *,
    seed: int,
    shard_bytes: int,
    on_tensor: OnTensor,
    also: Also | None = None,
) -> Merged:
    """Write the result's weights into `folder`, shard by shard; shards that are there already stay.

    Args:
        seed: of methods that draw, unless the recipe gives them one.
        shard_bytes: largest size of a file, unless a single tensor is larger.
        on_tensor: told of progress: how many tensors are done, of how many.
        also: gets every tensor of the result, of any shape; then nothing that is there already stays.

    Raises:
        MusterError: tensors that cannot be merged, or would hold NaN or infinity.
    """
    slots = [slot_of(recipe, one, inputs) for one in made]
    shards = list(_shards(slots, shard_bytes))
    kept = done_shards(folder) if also is None else {}
    files = {n: s for n, s in _mapping(kept.get("files")).items() if isinstance(s, str)}
    norms = Norms({n: float(s) for n, s in _mapping(kept.get("norms")).items() if isinstance(s, int | float)})
    done = 0
    for number, shard in enumerate(shards):
        name = _file_name(number, len(shards))
        if name in files and (folder / name).is_file():
            done += len(shard)
            continue
        parts = [(made[i], slots[i]) for i in shard]
        writer = ShardWriter(folder / f"{name}.part", [slot for _, slot in parts])
        try:
            for one, slot in parts:
                parts_here = parts_of(recipe, one)
                models, result = _merged(recipe, one, parts_here, slot, inputs, norms, seed=seed)
                if also is not None:
                    also(one, parts_here, models, result)
                writer.write(result)
                done += 1
                on_tensor(done, len(slots))
            digest = writer.close()
        except BaseException:
            writer.abandon()
            raise
        (folder / f"{name}.part").rename(folder / name)
        files[name] = digest
        keep_done(folder, {"files": {**files}, "norms": {**norms.squares}})
    if len(shards) > 1:
        _write_index(folder, shards, slots)
    return Merged(files, len(slots), list(norms.problems()))


def theta(one: Input, source: str) -> Tensor:
    """A tensor of an input, of the shape in its file; with an adapter, the product of its factors is added in
    float64."""
    tensor = read_tensor(one.weights.tensors[source])
    factors = one.adapter.factors.get(source) if one.adapter is not None else None
    if one.adapter is None or factors is None:
        return tensor
    down, up = read_tensor(factors.down).double(), read_tensor(factors.up).double()
    return tensor.double().addmm_(up, down, alpha=one.adapter.scaling)


def parts_of(recipe: Recipe, one: Made) -> Parts:
    """Sources of a tensor that are merged: the base is none of them where the method has one."""
    row = MERGE_METHODS.find(recipe.merge_method)
    keep = [i for i, entry in enumerate(one.entries) if not row.needs_base or entry.model != one.base]
    return Parts(row, keep, [(one.entries[i].model, one.sources[i]) for i in keep])


def _merged(
    recipe: Recipe, one: Made, parts: Parts, slot: Slot, inputs: Inputs, norms: Norms, *, seed: int
) -> tuple[list[Tensor], Tensor]:
    """The tensors that were merged, and what came out."""
    params = method_parameters(recipe, parts.row, one, parts.keep, seed=seed)
    if METHODS[recipe.merge_method].stores:
        params["weight"] = [0.0] * len(parts.refs)  # what is shared; the rest goes into adapters
    base = None if one.base is None else theta(inputs.models[one.base], one.base_source)
    models = [theta(inputs.models[ref], source) for ref, source in parts.refs]
    if base is not None and is_float(_head_of(one, inputs)):
        apart = zip(parts.refs, models, strict=True)
        norms.add(base, {str(ref): tensor for (ref, _), tensor in apart if ref != one.base})
    result = merge_tensor(
        recipe.merge_method, base, models, params, name=one.name, out_dtype=TORCH[slot.dtype]
    )
    return models, result


def method_parameters(
    recipe: Recipe, row: MergeRow, one: Made, keep: Sequence[int], *, seed: int
) -> dict[str, JsonValue]:
    """Options of a method for one tensor, under their names in Python.

    Args:
        keep: places of the sources that are merged; the base is none of them.
    """
    fields = row.options.model_fields
    values: dict[str, JsonValue] = dict(row.recipe_defaults)
    for name, value in parameters_at(one, recipe, sorted(METHODS[recipe.merge_method].parameters)).items():
        python = "lam" if name == "lambda" else name
        if isinstance(value, list):
            default = row.recipe_defaults.get(python, fields[python].get_default())
            per_model = [default if value[i] is None else value[i] for i in keep]
            values[python] = [*per_model]
        else:
            values[python] = value
    if "seed" in fields and "seed" not in values:
        values["seed"] = seed
    return values


def _head_of(one: Made, inputs: Inputs) -> Head:
    head = judge_head(one, inputs)
    assert head is not None, "the preflight found it"
    return head


def slot_of(recipe: Recipe, one: Made, inputs: Inputs) -> Slot:
    """The place of a tensor in the result."""
    head = _head_of(one, inputs)
    return Slot(one.name, result_dtype(recipe, head), head.shape)


def _shards(slots: Sequence[Slot], shard_bytes: int) -> Iterator[list[int]]:
    """Places of the tensors of each file: as many as fit, at least one."""
    shard: list[int] = []
    size = 0
    for place, slot in enumerate(slots):
        if shard and size + slot.n_bytes > shard_bytes:
            yield shard
            shard, size = [], 0
        shard.append(place)
        size += slot.n_bytes
    yield shard


def _file_name(number: int, n: int) -> str:
    return SINGLE if n == 1 else f"model-{number + 1:05}-of-{n:05}.safetensors"


def _write_index(folder: Path, shards: Sequence[Sequence[int]], slots: Sequence[Slot]) -> None:
    places = {
        slots[i].name: _file_name(number, len(shards)) for number, shard in enumerate(shards) for i in shard
    }
    total = sum(slot.n_bytes for slot in slots)
    document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
