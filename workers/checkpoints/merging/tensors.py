"""Tensors of safetensors files, one at a time: read by their headers, written under a header that is known
before the first of them."""

import hashlib
import json
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import torch
from torch import Tensor

from orchestrator.errors import EngineLoadError
from workers.checkpoints.merging.headers import BYTES, Head

TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


def read_tensor(head: Head) -> Tensor:
    """One tensor, of the shape and format in its header, in memory of its own: nothing of the file is mapped.

    Raises:
        EngineLoadError: the file became shorter.
    """
    n_bytes = head.end - head.start
    if not n_bytes:
        return torch.empty(head.shape, dtype=TORCH[head.dtype])
    buffer = torch.empty(n_bytes, dtype=torch.uint8)  # a bytearray would be filled with zeros first
    with head.file.open("rb", buffering=0) as file:
        file.seek(head.start)
        view, got = buffer.numpy().data, 0
        while got < n_bytes and (part := file.readinto(view[got:])):
            got += part
    if got < n_bytes:
        raise EngineLoadError(f"'{head.file.name}' ended early.", remedy="Merge again when nobody writes it.")
    return buffer.view(TORCH[head.dtype]).reshape(head.shape)


class Slot(NamedTuple):
    """A tensor to come: its name, number format as safetensors call it, and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes that it takes in a file."""
        return prod(self.shape) * BYTES[self.dtype]


class ShardWriter:
    """A safetensors file, written front to back and hashed on the way.

    Args:
        slots: all tensors of the file, in the order in which they will come.
    """

    def __init__(self, path: Path, slots: Sequence[Slot]) -> None:
        self._slots = iter(slots)
        self._digest = hashlib.sha256()
        self._file: IO[bytes] = path.open("wb")
        header = _header(slots)
        self._put(len(header).to_bytes(8, "little"))
        self._put(header)

    def write(self, tensor: Tensor) -> None:
        """Write the next tensor; it is not modified.

        Args:
            tensor: of the shape and dtype that its slot was announced with.

        Raises:
            ValueError: it has another.
        """
        slot = next(self._slots)
        if tuple(tensor.shape) != slot.shape or tensor.dtype != TORCH[slot.dtype]:
            raise ValueError(f"'{slot.name}' is {tensor.dtype} {tuple(tensor.shape)}, and was to be {slot}")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            self._put(flat.view(torch.uint8).numpy().data)

    def close(self) -> str:
        """SHA-256 of the file, which is on the disk now."""
        assert next(self._slots, None) is None, "all tensors came"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Close the file as it is, unfinished."""
        self._file.close()

    def _put(self, part: bytes | memoryview) -> None:
        self._digest.update(part)
        self._file.write(part)


def _header(slots: Sequence[Slot]) -> bytes:
    """Header of a file, padded so that the first tensor starts at a multiple of eight bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for slot in slots:
        entries[slot.name] = {
            "dtype": slot.dtype,
            "shape": list(slot.shape),
            "data_offsets": [at, at + slot.n_bytes],
        }
        at += slot.n_bytes
    raw = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return raw + b" " * (-len(raw) % 8)
