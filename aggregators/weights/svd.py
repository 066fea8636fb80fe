"""Singular value decompositions of task matrices, at the size of language models.

Exact up to 1,024 rows or columns, whichever are fewer. Beyond: randomised where few triplets are asked for
(seeded by the tensor's name; oversampling 16, four power iterations; arXiv:0909.4061), else by the
eigenvectors of the smaller Gram matrix. All in float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aggregators.weights.masks import stream_of

EXACT_UP_TO = 1024
OVERSAMPLE = 16
N_POWERS = 4
FEW = 0.125
"""Share of all triplets up to which the randomised decomposition is the cheaper one."""

LEAST_SINGULAR = 1e-9
"""Directions whose singular value is at most so much of the largest are noise."""

LEAST_BY_GRAM = 1e-7
"""The same where a Gram matrix was decomposed, which squares the values and so loses half of their digits."""


class Triplets(NamedTuple):
    """Leading singular triplets, largest first: matrix ≈ u diag(s) vᵀ.

    Attributes:
        u: float64, [m, k]; the largest entry of each column by magnitude is positive.
        s: float64, [k].
        v: float64, [n, k].
    """

    u: Tensor
    s: Tensor
    v: Tensor

    def first(self, k: int) -> "Triplets":
        """The k largest, or all where there are no more."""
        return Triplets(self.u[:, :k], self.s[:k], self.v[:, :k])

    def above_noise(self) -> "Triplets":
        """Without those whose value is at most 1e-9 of the largest."""
        return self.first(int((self.s > LEAST_SINGULAR * self.s[:1]).sum()))


def leading_triplets(matrix: Tensor, k: int, *, name: str, seed: int = 0) -> Triplets:
    """The k leading triplets.

    Args:
        matrix: float, [m, n]; not modified.
        k: >= 0; min(m, n) at most are there.
        name: the tensor's, by which random vectors are drawn, together with `seed`.
    """
    wide = matrix.double()
    size = min(wide.shape)
    k = min(k, size)
    if size <= EXACT_UP_TO:
        u, s, vh = _svd(wide)
        found = Triplets(u, s, vh.T)
    elif k <= FEW * size:
        found = _randomised(wide, k, stream_of(seed, name))
    else:
        found = _by_gram(wide)
    return _with_fixed_signs(found.first(k))


def low_rank_triplets(left: Tensor, right: Tensor, k: int) -> Triplets:
    """The k leading triplets of left @ right, from factors of few columns and rows: no big matrix is made.

    Args:
        left: float, [m, r].
        right: float, [r, n].
        k: >= 0; min(m, n, r) at most are there.
    """
    q_left, r_left = _qr(left.double())
    q_right, r_right = _qr(right.double().T)
    u, s, vh = _svd(r_left @ r_right.T)
    return _with_fixed_signs(Triplets(q_left @ u, s, q_right @ vh.T).first(k))


def polar_factor(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal columns, within the directions that the matrix has.

    With its decomposition u diag(s) vᵀ it is u vᵀ over the singular values above 1e-9 of the largest (1e-7
    where both sides exceed 1,024 and the Gram matrix is decomposed).

    Args:
        matrix: float64, [m, k]; not modified.

    Returns:
        float64, [m, k].
    """
    if min(matrix.shape) <= EXACT_UP_TO:
        u, s, vh = _svd(matrix)
        kept = s > LEAST_SINGULAR * s[:1]
        return u[:, kept] @ vh[kept]
    found = _by_gram(matrix)
    kept = found.s > LEAST_BY_GRAM * found.s[:1]
    return found.u[:, kept] @ found.v[:, kept].T


def _randomised(matrix: Tensor, k: int, generator: torch.Generator) -> Triplets:
    n_columns = min(k + OVERSAMPLE, min(matrix.shape))
    start = torch.randn(matrix.shape[1], n_columns, generator=generator, dtype=torch.float64)
    basis = _orthonormal(matrix @ start.to(matrix.device))
    for _ in range(N_POWERS):
        basis = _orthonormal(matrix @ _orthonormal(matrix.T @ basis))
    u, s, vh = _svd(basis.T @ matrix)
    return Triplets(basis @ u, s, vh.T)


def _orthonormal(matrix: Tensor) -> Tensor:
    return _qr(matrix)[0]


def _qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(matrix)
    return q, r


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u, s, vh


def _by_gram(matrix: Tensor) -> Triplets:
    if matrix.shape[0] > matrix.shape[1]:
        turned = _by_gram(matrix.T)
        return Triplets(turned.v, turned.s, turned.u)
    squares, u = torch.linalg.eigh(matrix @ matrix.T)
    s = squares.clamp(min=0).sqrt().flip(0)
    u = u.flip(1)
    v = (matrix.T @ u) / s.clamp(min=torch.finfo(s.dtype).tiny)
    return Triplets(u, s, v)


def _with_fixed_signs(found: Triplets) -> Triplets:
    """The largest entry of every left vector (the first of equals) becomes positive, whatever library ran."""
    if not found.u.numel():
        return found
    largest = found.u.abs().argmax(dim=0)
    signs = torch.where(found.u.gather(0, largest[None])[0] < 0, -1.0, 1.0).to(found.u.dtype)
    return Triplets(found.u * signs, found.s, found.v * signs)
