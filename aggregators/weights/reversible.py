"""Reversible merging of adapters: few basis vectors and coefficients, from which each is rebuilt.

Source: arXiv:2510.14163, which does it at every position; one basis per module is ours, the default, and
never costs more than the adapters themselves.

Shapes: n experts, P places (of a module 1, else its rows or columns), d numbers of a vector, p basis vectors.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from aggregators.weights.lora import Lora, fold, pad, require_one_module
from aggregators.weights.rows import MergeOptions, Tensors
from orchestrator.errors import MergeError

Granularity = Literal["module", "position"]


class ReversibleOptions(MergeOptions):
    """
    Args:
        p: basis vectors; what is beyond the number of adapters less one, or at `position` beyond their rank,
            changes nothing and is not kept.
        granularity: `module` = one basis for a module's factors together; `position` = one for every row of B
            and every column of A.
        expert: which model's tensor `merge_tensor` rebuilds, from 0.
    """

    p: Annotated[int, Field(ge=0)] = 1
    granularity: Granularity = "module"
    expert: Annotated[int, Field(ge=0)] = 0


class Basis(NamedTuple):
    """n vectors of d numbers, at P places each, as a mean, p basis vectors and coefficients.

    Attributes:
        mean: float, [P, d].
        vectors: float, [P, d, p], orthonormal columns.
        coefficients: float, [P, p, n].
    """

    mean: Tensor
    vectors: Tensor
    coefficients: Tensor

    def rebuild(self, expert: int) -> Tensor:
        """Vector of one expert, from 0, at every place; [P, d], a new tensor."""
        return self.mean + (self.vectors @ self.coefficients[:, :, expert, None])[:, :, 0]

    @property
    def n_numbers(self) -> int:
        """Numbers that are stored: P (d + d p + p n)."""
        return self.mean.numel() + self.vectors.numel() + self.coefficients.numel()


class Stored(NamedTuple):
    """The adapters of one module in all experts; scale 1, which B has taken.

    Attributes:
        granularity: how `parts` are laid out: one for `module`, those of A and of B for `position`.
        rank, n_in, n_out: of the adapters: A is [rank, n_in], B [n_out, rank].
        n_experts: how many.
    """

    granularity: Granularity
    parts: tuple[Basis, ...]
    rank: int
    n_in: int
    n_out: int
    n_experts: int

    @property
    def cost(self) -> float:
        """Numbers stored over numbers of the adapters, >= 0; from 1 on the adapters are the better store."""
        plain = self.n_experts * self.rank * (self.n_in + self.n_out)
        return sum(part.n_numbers for part in self.parts) / max(plain, 1)


def store(adapters: Sequence[Lora], p: int, granularity: Granularity = "module", *, name: str) -> Stored:
    """The adapters of one module as a basis; smaller ranks are padded.

    Args:
        adapters: of every expert; not modified.
        p: basis vectors, >= 0, kept as far as they change anything (`ReversibleOptions`).
        granularity: one basis for the module, or one at every row of B and column of A.
        name: the module's, for errors.

    Raises:
        MergeError: no adapters.
        IncompatibleModelsError: adapters of modules of different sizes.
    """
    if not adapters:
        raise MergeError(f"no adapters of '{name}' to store.", param="models", remedy="Name at least one.")
    require_one_module(adapters, name=name)
    rank = max(adapter.rank for adapter in adapters)
    same = [pad(fold(adapter), rank) for adapter in adapters]
    if granularity == "module":
        flat = [torch.cat([adapter.a.reshape(-1), adapter.b.reshape(-1)]) for adapter in same]
        parts: tuple[Basis, ...] = (basis_of(torch.stack(flat)[None], p),)
    else:
        columns = torch.stack([adapter.a.T for adapter in same], dim=1)
        rows = torch.stack([adapter.b for adapter in same], dim=1)
        parts = (basis_of(columns, p), basis_of(rows, p))
    n_in, n_out = same[0].a.shape[1], same[0].b.shape[0]
    return Stored(granularity, parts, rank, n_in, n_out, len(adapters))


def rebuild(stored: Stored, expert: int) -> Lora:
    """The adapter of one expert, from 0: of the rank of the largest, with scale 1.

    Raises:
        MergeError: no such expert.
    """
    if not 0 <= expert < stored.n_experts:
        raise MergeError(
            f"there is no expert {expert} among {stored.n_experts}.",
            param="expert",
            remedy=f"Name one from 0 to {stored.n_experts - 1}.",
        )
    if stored.granularity == "module":
        flat = stored.parts[0].rebuild(expert)[0]
        a, b = torch.split(flat, [stored.rank * stored.n_in, stored.n_out * stored.rank])
        return Lora(a.view(stored.rank, stored.n_in), b.view(stored.n_out, stored.rank))
    columns, rows = (part.rebuild(expert) for part in stored.parts)
    return Lora(columns.T.contiguous(), rows)


def basis_of(vectors: Tensor, p: int) -> Basis:
    """Mean, and the p leading left singular vectors of what is left, at every place.

    Computed in float64, kept in the vectors' dtype. p is cut to min(d, n - 1): more would say nothing.

    Args:
        vectors: float, [P, n, d]: n vectors at P places; not modified.
        p: >= 0.
    """
    _, n, d = vectors.shape
    wide = vectors.double()
    mean = wide.mean(dim=1)
    rest = wide - mean[:, None]
    kept = min(p, d, n - 1)
    # Rows are the vectors: their right singular vectors are the left ones of the matrix of columns.
    vh = torch.linalg.svd(rest, full_matrices=False).Vh[:, :kept]
    coefficients = vh @ rest.transpose(1, 2)
    parts = (mean, vh.transpose(1, 2), coefficients)
    return Basis(*(part.to(vectors.dtype).contiguous() for part in parts))


def merge(tensors: Tensors, options: ReversibleOptions) -> Tensor:
    """One expert's tensor as it comes out of the store: A or B by the name (`lora_A`: columns), else rows.

    Returns:
        In the models' shape, in `dtype`.

    Raises:
        MergeError: no such expert; or `granularity: position` of a tensor that is no [m, n].
    """
    if options.expert >= len(tensors.models):
        raise MergeError(
            f"tensor '{tensors.name}': there is no expert {options.expert} among {len(tensors.models)}.",
            param="expert",
            remedy="Count from 0.",
        )
    models = [model.to(tensors.dtype) for model in tensors.models]
    if options.granularity == "module":
        flat = torch.stack([model.reshape(-1) for model in models])[None]
        return basis_of(flat, options.p).rebuild(options.expert)[0].view_as(models[0])
    if models[0].dim() != 2:
        raise MergeError(
            f"tensor '{tensors.name}' has no rows and columns.",
            param="granularity",
            remedy="Set granularity: module.",
        )
    is_a = "lora_A" in tensors.name
    places = torch.stack([model.T if is_a else model for model in models], dim=1)
    rebuilt = basis_of(places, options.p).rebuild(options.expert)
    return rebuilt.T.contiguous() if is_a else rebuilt
