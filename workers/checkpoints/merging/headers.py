"""Headers of checkpoints: names, shapes and places of tensors, read as JSON; no tensor is loaded.

A checkpoint is somebody else's: every name in it may lead elsewhere, every number may be a lie.
"""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeGuard

from pydantic import JsonValue

from orchestrator.domain.merges import MergeProblem
from orchestrator.domain.origins import PICKLED
from orchestrator.runtime.files import open_regular, read_json
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS

BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
QUANTISED = frozenset({"F8_E4M3", "F8_E5M2"})
MAX_HEADER_BYTES = 100_000_000
"""As the safetensors library has it."""
MAX_SIDE = 1 << 40
MAX_AXES = 16
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BUFFERS = ("rotary_emb.inv_freq", "attn.masked_bias", "attention.masked_bias")
"""Ends of the names of buffers that old checkpoints hold and models compute by themselves."""
_SHARD = re.compile(r"model-[0-9]{1,9}-of-[0-9]{1,9}\.safetensors")

Tell = Callable[[MergeProblem], None]


class Head(NamedTuple):
    """A tensor in a file: number format, shape, and its bytes [start, end) there."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


class Checkpoint(NamedTuple):
    """A model's folder as far as its headers tell.

    Attributes:
        name: as the recipe calls it.
        tensors: by the name under which they are merged.
    """

    name: str
    folder: Path
    config: Mapping[str, JsonValue]
    tensors: Mapping[str, Head]

    @property
    def n_bytes(self) -> int:
        """Bytes of its tensors in their files, headers apart."""
        return sum(head.end - head.start for head in self.tensors.values())


def read_checkpoint(folder: Path, name: str, tell: Tell) -> Checkpoint | None:
    """Read configuration and headers; None = nothing to compare, and `tell` was told why."""

    def refuse(kind: str, have: JsonValue, *, tensor: str | None = None, want: JsonValue = None) -> None:
        tell(MergeProblem(kind=kind, model=name, tensor=tensor, have=have, want=want))

    if not folder.is_dir():
        refuse("model", "no such folder", want="a folder with config.json and safetensors weights")
        return None
    config = _object(folder / "config.json", refuse)
    files = weight_files(folder, refuse)
    if config is None or files is None:
        return None
    tensors: dict[str, Head] = {}
    is_whole = True
    for path, owned in files.items():
        heads = read_header(path, refuse)
        if heads is None:
            is_whole = False
            continue
        is_whole &= owns(path, heads, owned, refuse)
        for tensor, head in heads.items():
            if tensor in tensors:
                refuse("duplicate_tensor", path.name, tensor=tensor, want=tensors[tensor].file.name)
                is_whole = False
            tensors[tensor] = head
    if is_whole and not tensors:
        refuse("no_tensors", "weights without a tensor")
        is_whole = False
    return Checkpoint(name, folder, config, tensors) if is_whole else None


def read_header(path: Path, refuse: Callable[..., None], *, anywhere: bool = False) -> dict[str, Head] | None:
    """Tensors of one safetensors file; None = it is none, or broken, which was told.

    Args:
        anywhere: it may be a link that leads out of the folder.
    """
    if not (anywhere or is_inside(path)):
        refuse("symlink", f"{path.name} leads out of the model's folder")
        return None
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            if len(first) < 8 or 8 + length > size:
                kind = "header" if length > MAX_HEADER_BYTES else "truncated"
                refuse(kind, f"{path.name}: {size} bytes", want=f"a header of {length} bytes and its tensors")
                return None
            if length > MAX_HEADER_BYTES:
                refuse("header", f"{path.name}: a header of {length} bytes", want=f"<= {MAX_HEADER_BYTES}")
                return None
            raw = file.read(length)
    except OSError as error:
        refuse("missing_shard", f"{path.name}: {error.strerror}")
        return None
    try:
        entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
        heads = dict(_heads(entries, path, 8 + length))
    except (ValueError, RecursionError) as error:
        refuse("header", f"{path.name}: {_reason(error)}", want="a safetensors header")
        return None
    end = max((head.end for head in heads.values()), default=8 + length)
    if end > size:
        refuse("truncated", f"{path.name}: {size} bytes", want=f"{end} bytes, as its header says")
        return None
    if end < size or not _is_gapless(heads, 8 + length):
        refuse("header", f"{path.name}: its tensors do not fill it", want="tensors side by side to the end")
        return None
    return heads


def is_inside(path: Path) -> bool:
    """True unless a link leads out of the folder. The cache of the hub keeps files as links to
    `blobs` of the same model: these count as inside."""
    try:
        folder, target = path.parent.resolve(), path.resolve()
    except (OSError, RuntimeError):  # links that lead to each other
        return False
    if target.is_relative_to(folder):
        return True
    home = folder.parent.parent
    is_snapshot = folder.parent.name == "snapshots" and home.name.startswith("models--")
    return is_snapshot and target.is_relative_to(home / "blobs")


def is_float(head: Head) -> bool:
    """True for formats that are merged: 16 to 64 bits, not the quantised ones."""
    return head.dtype in FLOATS


def _object(
    path: Path, refuse: Callable[..., None], *, anywhere: bool = False
) -> dict[str, JsonValue] | None:
    """A JSON object of the folder."""
    if not (anywhere or is_inside(path)):
        refuse("symlink", f"{path.name} leads out of the model's folder")
        return None
    try:
        document = read_json(path)
    except FileNotFoundError:
        refuse("model", f"no {path.name}", want="a folder with config.json and safetensors weights")
        return None
    except (OSError, ValueError) as error:
        refuse("json", f"{path.name}: {_reason(error)}", want="JSON")
        return None
    if not isinstance(document, dict):
        refuse("json", f"{path.name} holds no object", want="a JSON object")
        return None
    return document


def weight_files(
    folder: Path, refuse: Callable[..., None], *, anywhere: bool = False
) -> dict[Path, frozenset[str] | None] | None:
    """Files with weights, and the tensors that the index says are in each; None = there are none, or not
    whole, which was told. Args: anywhere: as of `read_header`."""
    if (folder / SINGLE).exists() or (folder / SINGLE).is_symlink():
        return {folder / SINGLE: None}
    if (folder / INDEX).exists():
        return _indexed(folder, refuse, anywhere=anywhere)
    files = sorted(path for path in folder.glob("*.safetensors") if path.name != ADAPTER_WEIGHTS)
    shards = [path for path in files if _SHARD.fullmatch(path.name)]
    if len(files) == 1 and not shards:
        return {files[0]: None}
    if shards:
        refuse("index", f"{len(shards)} shards and no {INDEX}", want=INDEX)
        return None
    if files:
        refuse("index", f"{len(files)} files of weights and no {INDEX}", want=f"{SINGLE}, or {INDEX}")
        return None
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickles:
        refuse("pickle", f"{pickles[0]}, which can run code", want="safetensors")
    else:
        refuse("model", "no safetensors weights", want="a folder with config.json and safetensors weights")
    return None


def _indexed(
    folder: Path, refuse: Callable[..., None], *, anywhere: bool
) -> dict[Path, frozenset[str] | None] | None:
    index = _object(folder / INDEX, refuse, anywhere=anywhere)
    if index is None:
        return None
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        refuse("index", f"{INDEX} without a weight_map of names", want="tensor -> file")
        return None
    if not places:
        refuse("no_tensors", f"{INDEX} names no tensor")
        return None
    tensors: dict[str, set[str]] = {}
    for tensor, file in places.items():
        tensors.setdefault(str(file), set()).add(tensor)
    is_whole = True
    for file in sorted(tensors):
        if Path(file).name != file or file in ("", ".", "..") or "\\" in file or "\0" in file:
            refuse("index", f"{INDEX} names '{file}'", want="files of the same folder")
            is_whole = False
        elif not file.endswith(".safetensors"):
            kind = "pickle" if Path(file).suffix in PICKLED else "index"
            refuse(kind, f"{INDEX} names '{file}'", want="safetensors")
            is_whole = False
        elif not (folder / file).is_file():
            refuse("missing_shard", f"no {file}", want=f"{file}, which {INDEX} names")
            is_whole = False
    return {folder / file: frozenset(owned) for file, owned in sorted(tensors.items())} if is_whole else None


def owns(
    path: Path, heads: Mapping[str, Head], owned: frozenset[str] | None, refuse: Callable[..., None]
) -> bool:
    """True if a shard holds what the index says, and nothing else.

    Args:
        heads: of its tensors, by their names.
        owned: names of its tensors by the index; None = there is no index.
        refuse: told what differs.
    """
    if owned is None:
        return True
    for tensor in sorted(owned - heads.keys())[:5]:
        refuse("index", f"not in {path.name}", tensor=tensor, want=f"in {path.name}, as {INDEX} says")
    for tensor in sorted(heads.keys() - owned)[:5]:
        refuse("index", f"in {path.name}, and not in {INDEX}", tensor=tensor, want=f"named by {INDEX}")
    return owned == heads.keys()


def _heads(entries: object, path: Path, offset: int) -> Iterator[tuple[str, Head]]:
    """
    Raises:
        ValueError: not the entries of a safetensors header.
    """
    if not isinstance(entries, dict):
        raise ValueError("it holds no object")
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            raise ValueError(f"'{name}' is no entry")
        dtype, shape, places = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if dtype not in BYTES:
            raise ValueError(f"'{name}' has the unknown dtype '{dtype}'")
        if not _are_numbers(shape) or not _are_numbers(places) or len(places) != 2:
            raise ValueError(f"'{name}' has no shape or no offsets")
        start, end = places
        if end - start != prod(shape) * BYTES[dtype]:
            raise ValueError(f"'{name}' has {end - start} bytes for the shape {shape}")
        yield name, Head(dtype, tuple(shape), path, offset + start, offset + end)


def _are_numbers(value: object) -> TypeGuard[list[int]]:
    """A list of whole numbers of a size that a file can have; True is none."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_AXES
        and all(type(n) is int and 0 <= n < MAX_SIDE for n in value)
    )


def _is_gapless(heads: Mapping[str, Head], start: int) -> bool:
    at = start
    for head in sorted(heads.values(), key=lambda head: (head.start, head.end)):
        if head.start != at:
            return False
        at = head.end
    return True


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"'{name}' stands twice")
        found[name] = value
    return found


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def is_adapter(folder: Path) -> bool:
    """True if the folder has the configuration of a LoRA adapter; whether it can be used is not looked at."""
    return (folder / ADAPTER_CONFIG).is_file()
