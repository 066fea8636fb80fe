"""LoRA adapters as inputs and results of merges: methods act on the products s·BA, never on A and B apart.

Merging A and B apart collapses: the mean of products is not the product of means. LoRA: arXiv:2106.09685.

Shapes: m outputs and n inputs of the module, r the adapter's rank. Nothing is modified in place; a result may
share tensors with its arguments.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aggregators.weights.svd import Triplets, leading_triplets, low_rank_triplets
from orchestrator.errors import IncompatibleModelsError


class Lora(NamedTuple):
    """One module's adapter: it adds scale · b @ a to the module's weight.

    Attributes:
        a: float, [r, n].
        b: float, [m, r].
        scale: > 0: alpha / r, or alpha / sqrt(r) with rank-stabilised scaling.
    """

    a: Tensor
    b: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """r; 0 = the module is not changed."""
        return self.a.shape[0]


def product(adapter: Lora) -> Tensor:
    """s·BA, [m, n], in float32 (float64 of float64)."""
    folded = fold(adapter)
    return folded.b @ folded.a


def fold(adapter: Lora) -> Lora:
    """The same adapter with scale 1, which B has taken; in float32 (float64 of float64)."""
    dtype = torch.float64 if torch.float64 in (adapter.a.dtype, adapter.b.dtype) else torch.float32
    return Lora(adapter.a.to(dtype), adapter.b.to(dtype) * adapter.scale, 1.0)


def pad(adapter: Lora, rank: int) -> Lora:
    """The same adapter with zeros up to `rank`, or as it is where its rank is no smaller.

    The scale stays, so alpha grows with the rank.
    """
    missing = rank - adapter.rank
    if missing <= 0:
        return adapter
    a = torch.cat([adapter.a, adapter.a.new_zeros(missing, adapter.a.shape[1])])
    b = torch.cat([adapter.b, adapter.b.new_zeros(adapter.b.shape[0], missing)], dim=1)
    return Lora(a, b, adapter.scale)


def concatenate(adapters: Sequence[Lora], weights: Sequence[float], *, name: str) -> Lora:
    """sum_i w_i s_i B_i A_i as one adapter, exactly: factors side by side, w and s in B; rank <= sum r_i.

    An adapter of weight 0 is left out. In float32 (float64 where one is float64), with scale 1.

    Args:
        adapters: at least one.
        weights: one for each, of any sign.
        name: the module's, for errors.

    Raises:
        IncompatibleModelsError: adapters of modules of different sizes.
    """
    require_one_module(adapters, name=name)
    folded = [(fold(adapter), weight) for adapter, weight in zip(adapters, weights, strict=True) if weight]
    if not folded:
        first = fold(adapters[0])
        return Lora(first.a[:0], first.b[:, :0])
    a = torch.cat([adapter.a for adapter, _ in folded])
    b = torch.cat([adapter.b * weight for adapter, weight in folded], dim=1)
    return Lora(a, b)


def truncate(adapter: Lora, rank: int) -> Lora:
    """The nearest adapter of at most that rank, >= 0 (in the Frobenius norm), as `factor` writes it.

    No [m, n] matrix is made.
    """
    folded = fold(adapter)
    return _from_triplets(low_rank_triplets(folded.b, folded.a, rank), folded.a.dtype)


def factor(matrix: Tensor, rank: int, *, name: str) -> Lora:
    """The nearest matrix of at most that rank as an adapter: B = U √S, A = √S Vᵀ, scale 1.

    The sign of each pair is such that the largest entry of U's column is positive.

    Args:
        matrix: float, [m, n]; the adapter has its dtype.
        rank: >= 0.
        name: the tensor's, by which large matrices' random vectors are drawn.
    """
    return _from_triplets(leading_triplets(matrix, rank, name=name), matrix.dtype)


def _from_triplets(triplets: Triplets, dtype: torch.dtype) -> Lora:
    roots = triplets.s.sqrt()
    return Lora((triplets.v * roots).T.to(dtype).contiguous(), (triplets.u * roots).to(dtype))


def require_one_module(adapters: Sequence[Lora], *, name: str) -> None:
    """All adapters are of one module's size, and their factors fit each other.

    Raises:
        IncompatibleModelsError: they are not.
    """
    shapes = [(tuple(adapter.b.shape), tuple(adapter.a.shape)) for adapter in adapters]
    is_chained = all(len(b) == len(a) == 2 and b[1] == a[0] for b, a in shapes)
    if not is_chained or len({(b[0], a[1]) for b, a in shapes}) != 1:
        raise IncompatibleModelsError(
            f"adapters of '{name}' do not fit: B and A are {', '.join(map(str, shapes))}.",
            param=name,
            remedy="Bring adapters of one base model.",
        )
