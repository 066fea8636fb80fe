"""ComPEFT: a task vector as signs of its largest entries and one magnitude. Source: arXiv:2311.13171.

`scale: mean` is sparse ternary compression (arXiv:1903.02891). Stored as a plane of mask bits and a plane of
sign bits, then LZMA: docs/decisions/0029 says why no other coder.

Shapes: n the entries of a flattened vector; S the shape of a tensor.
"""

import lzma
import math
import struct
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, field_validator
from torch import Tensor

from aggregators.weights.rows import MergeOptions, Tensors
from aggregators.weights.selecting import largest
from orchestrator.errors import MergeError

MAGIC = b"MUSTERCP"
VERSION = 1
HEAD = struct.Struct("<8sIQ")
"""Magic, version, length of the JSON that follows."""

CODER = ({"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 16},)
"""Bits of a plane have no neighbours to be predicted from: only how often a byte occurs is of use."""


class CompeftOptions(MergeOptions):
    """
    Args:
        density: share of entries that is kept, at least one.
        scale: magnitude of all kept: `std` = alpha times the standard deviation of the task vector, `mean` =
            alpha times the mean magnitude of those kept; None = `std` if alpha is given, else `mean`.
        alpha: None = 1; `search`: chosen on questions before anything is stored, together with the density
            unless the recipe sets that (`workers.checkpoints.merging.search`).
        smaller: times by which the store must be smaller than its numbers in 16 bits; of a search.
    """

    density: Annotated[float, Field(gt=0, le=1)] = 0.2
    scale: Literal["mean", "std"] | None = None
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["search"] | None = None
    smaller: Annotated[float, Field(ge=1, le=16)] | None = None

    @field_validator("alpha", mode="before")
    @classmethod
    def _number_or_search(cls, alpha: object) -> object:
        if isinstance(alpha, bool) or (isinstance(alpha, str) and alpha != "search"):
            raise ValueError("write a number above 0, or `search`")
        return alpha


class Head(BaseModel):
    """Head of a store: the magnitude, the coder of the planes, and shapes by tensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    magnitude: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    coder: Literal["xz"] = "xz"
    shapes: dict[str, tuple[NonNegativeInt, ...]]

    @property
    def sizes(self) -> list[int]:
        """Numbers of entries, in the order of `shapes`."""
        return [math.prod(shape) for shape in self.shapes.values()]


class Ternary(NamedTuple):
    """A vector of -magnitude, 0 and +magnitude.

    Attributes:
        mask: bool, [n]: not 0.
        is_positive: bool, [n]; False outside the mask.
        magnitude: >= 0, in the vector's unit.
    """

    mask: Tensor
    is_positive: Tensor
    magnitude: float

    def values(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The vector itself, [n]: a new tensor."""
        signs = self.is_positive.to(dtype) * 2 - 1
        return signs.mul_(self.mask).mul_(self.magnitude)


def compress(vector: Tensor, options: CompeftOptions) -> Ternary:
    """The max(1, int(density n)) largest entries by magnitude, as signs; of equals the earlier ones.

    The deviation of `scale: std` is that of all entries, divided by n.

    Args:
        vector: float, of any shape with n >= 1 entries; not modified.

    Raises:
        MergeError: `alpha: search`, which needs questions.
    """
    if options.alpha == "search":
        raise MergeError(
            "`alpha: search` needs questions to search on.",
            param="alpha",
            remedy="Give a number, or merge with muster.profile_set and without --no-profile.",
        )
    flat = vector.reshape(-1)
    magnitudes = flat.abs()
    kept = largest(magnitudes, max(1, int(options.density * flat.numel())))
    scale = options.scale or ("mean" if options.alpha is None else "std")
    size = flat.double().std(correction=0) if scale == "std" else magnitudes[kept].double().mean()
    magnitude = float(np.float32(float(size) * (options.alpha or 1.0)))
    mask = kept & (flat != 0)
    return Ternary(mask, mask & (flat > 0), magnitude)


def merge(tensors: Tensors, options: CompeftOptions) -> Tensor:
    """theta_0 plus the compressed task vector of this tensor alone (a store compresses an adapter as one).

    Returns:
        [S] in `dtype`.

    Raises:
        MergeError: `alpha: search`, which needs questions.
    """
    base = tensors.base_tensor()
    ternary = compress(tensors.task_vectors()[0], options)
    return base + ternary.values(tensors.dtype).view_as(base)


def pack(tensors: Mapping[str, Tensor], options: CompeftOptions) -> bytes:
    """Tensors, as one vector in the order of their names, compressed: all bytes of the store, with headers.

    Args:
        tensors: an adapter's A and B as stored, or a task vector by tensor; float, of any shape.

    Raises:
        MergeError: no tensors, NaN or infinity in one, or `alpha: search`.
    """
    names = sorted(tensors)
    if not names or not sum(tensors[name].numel() for name in names):
        raise MergeError("there is nothing to compress.", remedy="Bring tensors that are not empty.")
    for name in names:
        if not bool(torch.isfinite(tensors[name]).all()):
            raise MergeError(
                f"tensor '{name}' has NaN or infinity.", param=name, remedy="Bring sound weights."
            )
    ternary = compress(torch.cat([tensors[name].float().reshape(-1) for name in names]), options)
    shapes = {name: tuple(tensors[name].shape) for name in names}
    head = Head(magnitude=ternary.magnitude, shapes=shapes).model_dump_json().encode()
    planes = _bits(ternary.mask) + _bits(ternary.is_positive[ternary.mask])
    return HEAD.pack(MAGIC, VERSION, len(head)) + head + lzma.compress(planes, filters=CODER)


def unpack(data: bytes) -> dict[str, Tensor]:
    """The tensors of `pack` by name, in float32 and the shapes that they had.

    Raises:
        MergeError: bytes that `pack` did not write, or that were cut or changed.
    """
    try:
        return _unpacked(data)
    except ValidationError:
        reason = "its head cannot be read"
    except (struct.error, lzma.LZMAError, OverflowError, ValueError) as error:
        reason = str(error)
    raise MergeError(
        f"this is no store of compressed tensors: {reason}.", remedy="Compress the adapter again."
    )


def _unpacked(data: bytes) -> dict[str, Tensor]:
    magic, version, length = HEAD.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    head = Head.model_validate_json(data[HEAD.size : HEAD.size + length])
    n = sum(head.sizes)
    n_mask = (n + 7) // 8
    reader = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    planes = reader.decompress(data[HEAD.size + length :], 2 * n_mask + 1)
    if len(planes) < n_mask:
        raise ValueError("it ends too early")
    mask = _from_bits(planes[:n_mask], n)
    n_kept = int(mask.sum())
    if not reader.eof or len(planes) != n_mask + (n_kept + 7) // 8:
        raise ValueError("its planes have another length than its header says")
    is_positive = torch.zeros(n, dtype=torch.bool)
    is_positive[mask] = _from_bits(planes[n_mask:], n_kept)
    values = Ternary(mask, is_positive, head.magnitude).values()
    parts = torch.split(values, head.sizes)
    return {name: part.view(shape) for (name, shape), part in zip(head.shapes.items(), parts, strict=True)}


def _bits(mask: Tensor) -> bytes:
    return np.packbits(mask.numpy()).tobytes()


def _from_bits(data: bytes, n: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(bool))
