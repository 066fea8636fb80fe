"""Results that are no single model: an adapter, a shared model with adapters (`twin`), and stores from which
experts are rebuilt (`reversible`, `compeft`).

Folders: `twin` is the shared model with `experts/NAME/`, adapters over it; the others hold `store.json` and
`reversible.safetensors`, or one `NAME.compeft` for each expert.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from pydantic import JsonValue
from torch import Tensor

from aggregators.weights import MERGE_METHODS
from aggregators.weights.adapters import merged_adapter
from aggregators.weights.compeft import CompeftOptions, pack
from aggregators.weights.lora import Lora, factor
from aggregators.weights.matrices import is_matrix
from aggregators.weights.reversible import ReversibleOptions, store
from aggregators.weights.twin import expert_adapter
from orchestrator.domain.merges import STORE_EXPERTS, STORE_FILE, MergeProblem
from orchestrator.errors import MergeError
from orchestrator.options import Options, parse_options
from workers.checkpoints.merging.adapters import AdapterHead
from workers.checkpoints.merging.headers import is_float
from workers.checkpoints.merging.inputs import Input
from workers.checkpoints.merging.layout import Made
from workers.checkpoints.merging.lora_files import read_lora, write_lora, write_tensors
from workers.checkpoints.merging.preflight import Checked
from workers.checkpoints.merging.recipe import ModelRef, Recipe
from workers.checkpoints.merging.streaming import (
    Merged,
    OnTensor,
    Parts,
    merge_full,
    method_parameters,
    parts_of,
    slot_of,
    theta,
)

STORE, EXPERTS = STORE_FILE, STORE_EXPERTS
REVERSIBLE = "reversible.safetensors"
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")


OptionsT = TypeVar("OptionsT", bound=Options)


class Order(NamedTuple):
    """A result to write: recipe, inputs, and the work folder."""

    recipe: Recipe
    checked: Checked
    folder: Path
    seed: int
    on_tensor: OnTensor


def expert_names(inputs: Sequence[Input]) -> list[str]:
    """Names of experts in a store: the last parts of their folders, numbered where these are equal."""
    names: list[str] = []
    for one in inputs:
        folder = one.weights.folder if one.adapter is None else one.adapter.folder
        plain = _PLAIN.sub("_", folder.name) or "expert"
        number, name = 2, plain
        while name in names:
            number, name = number + 1, f"{plain}-{number}"
        names.append(name)
    return names


def experts_of(order: Order) -> list[Input]:
    """Inputs beside the base, in the recipe's order."""
    models, base = order.checked.inputs.models, order.recipe.base_model
    return [models[ref] for ref in order.recipe.inputs if ref != base]


def write_adapter(order: Order) -> Merged:
    """`output: adapter`: the merge's difference to the base as LoRA.

    Raises:
        MergeError: a rank that is missing, or what the method raises.
    """
    recipe, inputs = order.recipe, order.checked.inputs
    base = inputs.base
    assert base is not None, "the preflight found it"
    experts = experts_of(order)
    are_adapters = all(
        one.adapter is not None and one.weights.folder == base.weights.folder for one in experts
    )
    found: dict[str, Lora] = {}
    for number, one in enumerate(order.checked.made, 1):
        adapter = _of_adapters(order, one) if are_adapters else _of_weights(order, one)
        if adapter is not None:
            found[one.name] = adapter
        order.on_tensor(number, len(order.checked.made))
    dtype = slot_of(recipe, order.checked.made[0], inputs).dtype
    digest, n = write_lora(
        order.folder, found, dtype=dtype, base=str(base.weights.folder), name=order.folder.name
    )
    return Merged({"adapter_model.safetensors": digest}, n, [])


def _of_adapters(order: Order, one: Made) -> Lora | None:
    """Products of the adapters of one weight, merged; None = none of them changes it."""
    parts = parts_of(order.recipe, one)
    inputs = [order.checked.inputs.models[ref] for ref, _ in parts.refs]
    read = [read_lora(i.adapter, one.name) if i.adapter is not None else None for i in inputs]
    known = next((lora for lora in read if lora is not None), None)
    if known is None:
        return None
    none = Lora(known.a[:0], known.b[:, :0])
    params = method_parameters(order.recipe, parts.row, one, parts.keep, seed=order.seed)
    adapters = [lora or none for lora in read]
    return merged_adapter(order.recipe.merge_method, adapters, params, name=one.name, rank=order.recipe.rank)


def _of_weights(order: Order, one: Made) -> Lora | None:
    """The difference of whole weights, cut to the rank; only matrices, which an adapter can change."""
    recipe, inputs = order.recipe, order.checked.inputs
    if one.base is None or recipe.rank is None:
        raise MergeError(
            "an adapter of whole models needs a base and a rank.",
            param="rank",
            remedy="Set both, or output: full.",
        )
    base = theta(inputs.models[one.base], one.base_source)
    if not is_matrix(one.name, base):
        return None
    parts = parts_of(recipe, one)
    merged = parts.merge(recipe, one, inputs, seed=order.seed, out_dtype=torch.float32)
    rest = merged - base.float()
    return factor(rest, recipe.rank, name=one.name) if bool(rest.any()) else None


def write_twin(order: Order, *, shard_bytes: int) -> Merged:
    """The shared model, and an adapter over it for each expert."""
    experts = experts_of(order)
    names = expert_names(experts)
    found: list[dict[str, Lora]] = [{} for _ in experts]
    rank = 0

    def keep_rest(one: Made, parts: Parts, models: Sequence[Tensor], shared: Tensor) -> None:
        nonlocal rank
        params = method_parameters(order.recipe, parts.row, one, parts.keep, seed=order.seed)
        rank = int(str(params.get("r", parts.row.options.model_fields["r"].get_default())))
        if is_matrix(one.name, shared):
            for adapters, model in zip(found, models, strict=True):
                adapters[one.name] = expert_adapter(model, shared.float(), rank, name=one.name)

    merged = merge_full(
        order.recipe,
        order.checked.inputs,
        order.checked.made,
        order.folder,
        seed=order.seed,
        shard_bytes=shard_bytes,
        on_tensor=order.on_tensor,
        also=keep_rest,
    )
    files, n = dict(merged.files), merged.n_tensors
    dtype = slot_of(order.recipe, order.checked.made[0], order.checked.inputs).dtype
    for name, adapters in zip(names, found, strict=True):
        place = f"{EXPERTS}/{name}"
        digest, written = write_lora(order.folder / place, adapters, dtype=dtype, base="../..", name=name)
        files[f"{place}/adapter_model.safetensors"] = digest
        n += written
    digests = {name: digest for name, digest in files.items() if name.startswith(EXPERTS)}
    _describe(order.folder, {"kind": "twin", "experts": [*names], "rank": rank, "sha256": {**digests}})
    return Merged(files, n, merged.problems)


def write_reversible(order: Order) -> Merged:
    """Adapters as bases and coefficients.

    Raises:
        MergeError: inputs that are no adapters.
    """
    experts = experts_of(order)
    adapters = [_adapter(one) for one in experts]
    options = _options(order, ReversibleOptions)
    tensors: dict[str, Tensor] = {}
    modules: dict[str, JsonValue] = {}
    weights = sorted({weight for adapter in adapters for weight in adapter.factors})
    problems: list[MergeProblem] = []
    costs = []
    for number, weight in enumerate(weights, 1):
        read = [read_lora(adapter, weight) for adapter in adapters]
        known = next(lora for lora in read if lora is not None)
        none = Lora(known.a[:0], known.b[:, :0])
        stored = store([lora or none for lora in read], options.p, options.granularity, name=weight)
        costs.append(stored.cost)
        for place, part in enumerate(stored.parts):
            for kind, tensor in zip(("mean", "vectors", "coefficients"), part, strict=True):
                if not bool(tensor.isfinite().all()):
                    raise MergeError(f"tensor '{weight}': NaN or infinity in the store.", param=weight)
                tensors[f"{weight}.{place}.{kind}"] = tensor
        modules[weight] = [stored.rank, stored.n_in, stored.n_out]
        order.on_tensor(number, len(weights))
    cost = sum(costs) / len(costs)
    if cost >= 1:
        have, want = f"{cost:.2f} of the adapters' numbers", "< 1: keep the adapters, or set a smaller p"
        problems.append(MergeProblem(kind="store_cost", severity="warning", have=have, want=want))
    digest = write_tensors(order.folder / REVERSIBLE, tensors)
    names = expert_names(experts)
    description: dict[str, JsonValue] = {
        "kind": "reversible",
        "experts": [*names],
        "granularity": options.granularity,
        "modules": modules,
    }
    _describe(order.folder, description)
    return Merged({REVERSIBLE: digest}, len(tensors), problems)


def write_compeft(order: Order) -> Merged:
    """Each expert's adapter, or its difference to the base, as signs and one magnitude."""
    base = order.checked.inputs.base
    assert base is not None, "the preflight found it"
    files: dict[str, str] = {}
    described: dict[str, JsonValue] = {}
    n = 0
    experts = experts_of(order)
    refs = [ref for ref in order.recipe.inputs if ref != order.recipe.base_model]
    for number, (name, one, ref) in enumerate(zip(expert_names(experts), experts, refs, strict=True), 1):
        options = _options(order, CompeftOptions, of=ref)
        tensors = _stored_factors(one) if one.adapter is not None else _task_vector(order, one, base)
        data = pack(tensors, options)
        (order.folder / f"{name}.compeft").write_bytes(data)
        files[f"{name}.compeft"] = hashlib.sha256(data).hexdigest()
        scale = None if one.adapter is None else one.adapter.scaling
        described[name] = {
            "scale": scale,
            "bytes": len(data),
            "numbers": sum(t.numel() for t in tensors.values()),
        }
        n += len(tensors)
        order.on_tensor(number, len(experts))
    _describe(order.folder, {"kind": "compeft", "experts": described, "base": str(base.weights.folder)})
    return Merged(files, n, [])


def _stored_factors(one: Input) -> dict[str, Tensor]:
    """A and B as they are stored, by weight and side."""
    adapter = _adapter(one)
    pairs = {weight: read_lora(adapter, weight) for weight in adapter.factors}
    return {
        f"{weight}.{side}": getattr(lora, side).float()
        for weight, lora in pairs.items()
        if lora is not None
        for side in ("a", "b")
    }


def _task_vector(order: Order, one: Input, base: Input) -> dict[str, Tensor]:
    return {
        made.name: theta(one, made.name).float() - theta(base, made.name).float()
        for made in order.checked.made
        if is_float(base.weights.tensors[made.name])
    }


def _adapter(one: Input) -> AdapterHead:
    if one.adapter is None:
        raise MergeError(
            f"'{one.name}' is no adapter.", param="models", remedy="Name LoRA adapters of one base."
        )
    return one.adapter


def _options(order: Order, model: type[OptionsT], *, of: ModelRef | None = None) -> OptionsT:
    """Options of a store: one value for all tensors; `of`: of one input, which may have its own."""
    row = MERGE_METHODS.find(order.recipe.merge_method)
    first = order.checked.made[0]
    keep = [place for place, entry in enumerate(first.entries) if entry.model == of][:1]
    params = method_parameters(order.recipe, row, first, keep, seed=order.seed)
    if keep:
        params = {name: value[0] if isinstance(value, list) else value for name, value in params.items()}
    return parse_options(f"merge method '{order.recipe.merge_method}'", model, params)


def _describe(folder: Path, description: dict[str, JsonValue]) -> None:
    text = json.dumps({"format": 1, **description}, indent=2, ensure_ascii=False) + "\n"
    (folder / STORE).write_text(text, encoding="utf-8")
