"""Results of a merge: weights, and the files beside them that make a model of them."""

import hashlib
import json
import shutil
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.merges import MergeProblem
from orchestrator.errors import MergeError
from orchestrator.runtime.files import read_json
from workers.checkpoints.merging.headers import is_float, is_inside, read_checkpoint
from workers.checkpoints.merging.inputs import Inputs
from workers.checkpoints.merging.layout import layers_of
from workers.checkpoints.merging.preflight import MAX_COPIED, Checked, template_of
from workers.checkpoints.merging.recipe import Recipe
from workers.checkpoints.merging.stores import (
    Order,
    write_adapter,
    write_compeft,
    write_reversible,
    write_twin,
)
from workers.checkpoints.merging.streaming import Merged, OnTensor, merge_full
from workers.checkpoints.merging.tensors import read_tensor

TOKENIZER_FILES = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "spiece.model",
    "tekken.json", "tiktoken.model", "chat_template*",
)  # fmt: skip


def merge_into(
    recipe: Recipe, checked: Checked, folder: Path, *, seed: int, shard_bytes: int, on_tensor: OnTensor
) -> Merged:
    """Write the whole result of a checked recipe into the work folder: weights of the base's shapes, an
    adapter, or a store of several experts, with the files that make a model of it.

    Args:
        seed: of methods that draw.
        shard_bytes: largest size of a file, unless a single tensor is larger.
        on_tensor: told of progress: how many tensors are done, of how many.

    Raises:
        MusterError: tensors that cannot be merged, or would hold NaN or infinity.
    """
    order = Order(recipe, checked, folder, seed, on_tensor)
    small = {"reversible": write_reversible, "compeft": write_compeft}.get(recipe.merge_method)
    if recipe.output == "adapter":
        small = write_adapter
    if small is not None:
        merged = small(order)
        if recipe.output == "adapter":
            _copy_tokenizer(recipe, checked.inputs, folder)
        return merged
    if recipe.merge_method == "twin":
        merged = write_twin(order, shard_bytes=shard_bytes)
        _write_config(recipe, checked, folder)
        _copy_tokenizer(recipe, checked.inputs, folder)
        return merged
    merged = merge_full(
        recipe,
        checked.inputs,
        checked.made,
        folder,
        seed=seed,
        shard_bytes=shard_bytes,
        on_tensor=on_tensor,
    )
    _write_config(recipe, checked, folder)
    _copy_tokenizer(recipe, checked.inputs, folder)
    return merged


def scan(folder: Path) -> Merged:
    """The weights that mergekit wrote: hashed, and looked through for what it does not look for.

    Raises:
        MergeError: no weights, or NaN or infinity in them.
    """
    problems: list[MergeProblem] = []
    whole = read_checkpoint(folder, "the result", problems.append)
    if whole is None:
        raise MergeError(f"mergekit's result cannot be read: {problems[0].line}.")
    for name, head in whole.tensors.items():
        tensor = read_tensor(head)
        if is_float(head) and not bool(tensor.isfinite().all()):
            raise MergeError(f"tensor '{name}': NaN or infinity of the result of mergekit.", param=name)
    files: dict[str, str] = {}
    for path in sorted({head.file for head in whole.tensors.values()}):
        with path.open("rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return Merged(files, len(whole.tensors), [])


def _write_config(recipe: Recipe, checked: Checked, folder: Path) -> None:
    """The base's configuration, with the result's number format and number of layers."""
    base = checked.inputs.base
    assert base is not None, "the preflight found it"
    config: dict[str, JsonValue] = dict(base.weights.config)
    inner = config.get("text_config")
    sections = [config] if not isinstance(inner, dict) else [config, inner]
    for section in sections:
        if recipe.result_dtype is not None:
            key = "torch_dtype" if "torch_dtype" in section and "dtype" not in section else "dtype"
            section[key] = recipe.result_dtype
        if recipe.slices is not None and "num_hidden_layers" in section:
            section["num_hidden_layers"] = layers_of([one.name for one in checked.made])
    config.pop("auto_map", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    _copy(base.weights.folder / "generation_config.json", folder)


def _copy_tokenizer(recipe: Recipe, inputs: Inputs, folder: Path) -> None:
    """Tokenizer and chat template of the base, or of whom the recipe names; `chat_template` comes over it."""
    assert inputs.base is not None, "the preflight found it"
    source = inputs.base.weights.folder
    if recipe.tokenizer_of != "base":
        source = next(
            (one.weights.folder for one in inputs.models.values() if one.name == recipe.tokenizer_of), source
        )
    for pattern in TOKENIZER_FILES:
        for path in sorted(source.glob(pattern)):
            _copy(path, folder)
    if recipe.chat_template is not None:
        _write_template(_chosen_template(recipe.chat_template, inputs), folder)


def _chosen_template(asked: str, inputs: Inputs) -> str | None:
    """Text of a template; `auto`: the one that most inputs have, of equals the first."""
    if asked != "auto":
        return asked
    found = [template for one in inputs.models.values() if (template := template_of(one.weights.folder))]
    return max(found, key=found.count) if found else None


def _write_template(template: str | None, folder: Path) -> None:
    if template is None:
        return
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    path = folder / "tokenizer_config.json"
    if path.is_file():
        config = read_json(path)
        if isinstance(config, dict) and config.pop("chat_template", None) is not None:
            path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy(path: Path, folder: Path) -> None:
    """A small file beside the weights; what leads elsewhere, or is no file, is left."""
    if path.is_file() and is_inside(path) and path.stat().st_size <= MAX_COPIED:
        shutil.copyfile(path, folder / path.name)
