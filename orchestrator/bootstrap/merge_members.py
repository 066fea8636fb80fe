"""Members of the pool that a merge makes or needs: the result, its parents, experts of a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from orchestrator.domain.merges import Lineage, MergedExpert
from orchestrator.domain.origins import objection
from orchestrator.domain.values import content_hash
from orchestrator.errors import InputError
from workers.checkpoints.merging.runner import CheckedOrder

if TYPE_CHECKING:
    from orchestrator.bootstrap.app import App
    from orchestrator.domain.experts import Expert


def expert_name(checked: CheckedOrder) -> str:
    """Id of the expert that a merge makes."""
    return checked.recipe.name or checked.order.out.name


def input_names(checked: CheckedOrder) -> list[str]:
    """Inputs by the recipe's names, the base among them."""
    return [one.name for one in checked.inputs]


def parents_of(checked: CheckedOrder, app: "App") -> dict[str, str]:
    """Experts of the pool that are inputs, by the recipe's names: known by their weights."""
    from workers.checkpoints.identity import weights_hash

    by_hash: dict[str, str] = {}
    for expert in app.pool.answerers:
        by_hash.setdefault(expert.weights_hash, expert.id)
    found = {}
    for one in checked.inputs:
        adapter = None if one.adapter is None else str(one.adapter.folder)
        mark = weights_hash(str(one.weights.folder), adapter)
        if mark and mark in by_hash:
            found[one.name] = by_hash[mark]
    return found


def applicant_of(checked: CheckedOrder, app: "App", parents: "Sequence[Expert]") -> MergedExpert:
    """The merged model as a member of the pool: run as its first parent there is."""
    lineage = Lineage(
        method=checked.recipe.merge_method,
        recipe_hash=checked.recipe.hash,
        parents=tuple(parents_of(checked, app).get(name, name) for name in input_names(checked)),
    )
    like = parents[0] if parents else None
    row = member_row(checked, app, expert_name(checked), checked.order.out, like, checked.is_adapter)
    return MergedExpert(id=expert_name(checked), member=row, lineage=lineage)


def member_row(
    checked: CheckedOrder, app: "App", name: str, model: Path, like: "Expert | None", is_adapter: bool
) -> dict[str, JsonValue]:
    """Row of `model_list` of weights that are run as an expert of the pool is, over the recipe's base where
    they are an adapter."""
    rows = [m for m in app.settings.model_list if like is not None and m.model_name == like.id]
    member = rows[0].model_dump(mode="json", exclude_unset=True) if rows else {}
    info = {**member.get("model_info", {})}
    muster = {k: v for k, v in info.get("muster", {}).items() if k not in ("adapter", "revision")}
    info.pop("base_model", None)
    if is_adapter:
        muster["adapter"] = "lora"
        base = checked.checked.inputs.base
        assert base is not None, "an adapter has one"
        info["base_model"] = str(base.weights.folder)
    if not rows:
        muster["max_model_len"] = _context(checked)
    params = {k: v for k, v in member.get("litellm_params", {}).items() if k in ("max_tokens", "temperature")}
    return {
        "model_name": name,
        "litellm_params": {**params, "model": str(model)},
        "model_info": {**info, "muster": muster},
    }


def stranger(checked: CheckedOrder, name: str) -> MergedExpert:
    """A parent that is nobody of the pool, for the time of the comparison.

    Raises:
        InputError: its weights are of an origin that is not served.
    """
    one = next(one for one in checked.inputs if one.name == name)
    muster: dict[str, object] = {"max_model_len": _context(checked)}
    info: dict[str, object] = {"muster": muster}
    model = one.weights.folder
    if one.adapter is not None:
        muster["adapter"], info["base_model"] = "lora", str(model)
        model = one.adapter.folder
    if against := objection(str(model), None):
        raise InputError(f"{against.why}.", param="models", remedy=against.remedy)
    member = {"model_name": stranger_id(name), "litellm_params": {"model": str(model)}, "model_info": info}
    lineage = Lineage(method="", recipe_hash="", parents=())
    return MergedExpert.model_validate({"id": stranger_id(name), "member": member, "lineage": lineage})


def stranger_id(name: str) -> str:
    """Id, for the time of the comparison, of a parent that is nobody of the pool.

    Args:
        name: of the input in the recipe; equal names, equal ids.
    """
    return f"parent-{Path(name.replace('+', '/')).name}-{content_hash(name)[:4]}"


def _context(checked: CheckedOrder) -> int:
    from orchestrator.bootstrap.pool_file import context_of

    base = checked.checked.inputs.base
    stated = None if base is None else context_of(base.weights.folder)
    return min(4096, stated or 4096)
