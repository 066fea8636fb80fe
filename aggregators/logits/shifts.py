"""Shifts, which experts add to a large model: the difference that tuning made to their small base.

Source: arXiv:2310.12962; `upscale` and `dynamic` share them. Ours: what is made of −inf.

Shapes: B rows, V vocabulary, E experts.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NEVER = float("-inf")


def shifts_of(experts: "Tensor", base: "Tensor") -> "Tensor":
    """Differences of logits to the base; 0 where an expert or the base bans the token (−inf).

    Args:
        experts: float32 [E, B, V].
        base: float32 [B, V].

    Returns:
        float32 [E, B, V], a new tensor.
    """
    return (experts - base).masked_fill((experts == NEVER) | (base == NEVER), 0.0)


def shifted(large: "Tensor", shifts: "Tensor", alphas: "Tensor", banned: "Tensor") -> "Tensor":
    """`large` + sum over experts of alpha · shift.

    Args:
        large: float32 [B, V].
        shifts: float32 [E, B, V].
        alphas: float32 [B, E], or [1, E] of all rows.
        banned: bool [B, V]; tokens that nobody may sample.

    Returns:
        float32 [B, V], a new tensor; −inf where banned.
    """
    moved = large + (alphas.T[:, :, None] * shifts).sum(0)
    return moved.masked_fill(banned, NEVER)
