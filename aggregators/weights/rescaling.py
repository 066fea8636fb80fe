"""Rescaling of task vectors from which entries were dropped."""

from torch import Tensor

LEAST_NORM = 1e-7


def with_l1_of(tau: Tensor, kept: Tensor) -> Tensor:
    """`kept`, scaled to the sum of magnitudes of `tau`; as it is where either is under 1e-7."""
    before, after = float(tau.abs().sum()), float(kept.abs().sum())
    if before < LEAST_NORM or after < LEAST_NORM:
        return kept
    return kept * (before / after)
