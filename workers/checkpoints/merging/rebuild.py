"""Experts rebuilt from stores: an adapter of `twin`, `reversible` or `compeft`, or a model of `compeft`.

Needs torch: run in the process that merges.
"""

import hashlib
import shutil
from pathlib import Path

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError
from torch import Tensor

from aggregators.weights.compeft import unpack
from aggregators.weights.lora import Lora
from aggregators.weights.reversible import Basis, Granularity, Stored, rebuild
from orchestrator.errors import InputError, MergeError, UnknownNameError
from orchestrator.runtime.files import read_json
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from workers.checkpoints.merging.headers import is_float, is_inside, read_checkpoint, read_header
from workers.checkpoints.merging.lora_files import write_lora, write_tensors
from workers.checkpoints.merging.stores import EXPERTS, REVERSIBLE, STORE
from workers.checkpoints.merging.streaming import Merged
from workers.checkpoints.merging.tensors import read_tensor
from workers.checkpoints.merging.work import REBUILT

_MODULES: TypeAdapter[dict[str, tuple[int, int, int]]] = TypeAdapter(dict[str, tuple[int, int, int]])
MAX_STORE_BYTES = 8 << 30


def rebuild_into(store: Path, expert: str, folder: Path) -> Merged:
    """Write one expert of a store into a folder that is there.

    Raises:
        InputError: no store. UnknownNameError: no such expert. MergeError: a store that is broken.
    """
    description = _description(store)
    known = description.get("experts")
    names = list(known) if isinstance(known, list | dict) else []
    if expert not in names:
        raise UnknownNameError("expert", expert, [str(name) for name in names], param="expert")
    if Path(expert).name != expert or expert in ("", ".", ".."):
        raise MergeError(f"the store names an expert '{expert}', which leads out of it.")
    kind = description.get("kind")
    if kind == "twin":
        _copy_adapter(store / EXPERTS / expert, folder)
    elif kind == "reversible":
        adapters = _reversible(store, description, names.index(expert))
        write_lora(folder, adapters, dtype="F32", base="", name=expert)
    elif kind == "compeft":
        assert isinstance(known, dict), "its experts are described"
        _compeft(store, expert, known[expert], str(description.get("base")), folder)
    else:
        raise InputError(f"'{store}' holds a store of an unknown kind.", param="store")
    files: dict[str, str] = {}
    n = 0
    for path in sorted(folder.glob("*.safetensors")):
        n += len(read_header(path, lambda *_, **__: None) or {})
        with path.open("rb") as file:
            files[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return Merged(files, n, [])


def rebuild_all(store: Path) -> None:
    """Write every expert of a store into `REBUILT/NAME` in it.

    Raises:
        InputError: no store. MergeError: a store that is broken.
    """
    known = _description(store).get("experts")
    for name in known if isinstance(known, list | dict) else ():
        folder = store / REBUILT / str(name)
        folder.mkdir(parents=True)
        rebuild_into(store, str(name), folder)


def _copy_adapter(source: Path, folder: Path) -> None:
    """
    Raises:
        MergeError: it is not there, or a link leads elsewhere.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        path = source / name
        if not path.is_file() or not is_inside(path):
            raise MergeError(f"the store holds no '{EXPERTS}/{source.name}/{name}'.", remedy="Merge again.")
        shutil.copyfile(path, folder / name)


def _description(store: Path) -> dict[str, JsonValue]:
    try:
        document = read_json(store / STORE)
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{store}' is no store of experts: {error}.",
            param="store",
            remedy="Name the folder of a merge by twin, reversible or compeft.",
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"'{store}' is no store of experts.", param="store")
    return document


def _reversible(store: Path, description: dict[str, JsonValue], place: int) -> dict[str, Lora]:
    reasons: list[str] = []

    def refuse(kind: str, have: object, **_: object) -> None:
        reasons.append(f"{kind}: {have}")

    heads = read_header(store / REVERSIBLE, refuse)
    if heads is None:
        raise MergeError(f"the store cannot be read: {reasons[0]}.")
    names = description.get("experts")
    n = len(names) if isinstance(names, list) else 0
    granularity: Granularity = "position" if description.get("granularity") == "position" else "module"
    found = {}
    try:
        modules = _MODULES.validate_python(description.get("modules"))
        for weight, (rank, n_in, n_out) in modules.items():
            parts = tuple(
                Basis(*(read_tensor(heads[f"{weight}.{at}.{kind}"]) for kind in Basis._fields))
                for at in range(2 if granularity == "position" else 1)
            )
            found[weight] = rebuild(Stored(granularity, parts, rank, n_in, n_out, n), place)
    except (ValidationError, KeyError, RuntimeError) as error:
        raise MergeError(f"the store is broken: {type(error).__name__}: {error}.") from error
    return found


def _compeft(store: Path, expert: str, entry: JsonValue, base: str, folder: Path) -> None:
    path = store / f"{expert}.compeft"
    if not path.is_file() or path.stat().st_size > MAX_STORE_BYTES or not isinstance(entry, dict):
        raise MergeError(f"the store holds no '{path.name}'.")
    tensors = unpack(path.read_bytes())
    scale = entry.get("scale")
    if isinstance(scale, int | float):
        weights = {name.removesuffix(".a") for name in tensors if name.endswith(".a")}
        pairs = {w: Lora(tensors[f"{w}.a"], tensors[f"{w}.b"], float(scale)) for w in weights}
        write_lora(folder, pairs, dtype="F32", base=base, name=expert)
        return
    _add_to_base(tensors, Path(base), folder)


def _add_to_base(tensors: dict[str, Tensor], base: Path, folder: Path) -> None:
    reasons: list[str] = []
    whole = read_checkpoint(base, str(base), lambda problem: reasons.append(problem.line))
    if whole is None:
        raise MergeError(f"the base of the store cannot be read: {reasons[0]}.", remedy="Bring it back.")
    merged = {}
    for name, head in whole.tensors.items():
        theta = read_tensor(head)
        if name in tensors and is_float(head):
            theta = (theta.to(torch.float32) + tensors[name].view_as(theta)).to(theta.dtype)
        merged[name] = theta
    write_tensors(folder / "model.safetensors", merged)
    for path in sorted(base.iterdir()):
        if (
            path.is_file()
            and path.suffix in (".json", ".jinja", ".model", ".txt")
            and "index" not in path.name
        ):
            shutil.copyfile(path, folder / path.name)
