"""`upscale`: a large model moves as far as tuning moved a small one.

z = z_large + sum_i beta_i (z_i − z_base). Sources: emulated fine-tuning, arXiv:2310.12962; proxy tuning,
arXiv:2401.08565. Both have one expert at strength 1; several, each at its own, are the first one's trade
of traits when a model is asked.

Shapes: B rows, V vocabulary, E experts.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from aggregators.logits.rule import Fused, LogitRule, Role, RuleOptions
from aggregators.logits.shifts import NEVER, shifted, shifts_of

if TYPE_CHECKING:
    from torch import Tensor


class UpscaleOptions(RuleOptions):
    """Options of `upscale`.

    Args:
        betas: strength of each expert, in [−10, 10], no unit; None = 1 each. 0 leaves the expert out.
    """

    betas: tuple[Annotated[float, Field(ge=-10, le=10)], ...] | None = None

    def strengths(self, n_members: int) -> tuple[float, ...]:
        return self.betas if self.betas is not None else (1.0,) * n_members

    def mistake(self, n_members: int) -> str | None:
        if self.betas is None or len(self.betas) == n_members:
            return None
        return f"betas has {len(self.betas)} numbers for {n_members} experts"


def fuse_upscale(logits: Mapping[str, "Tensor"], options: UpscaleOptions) -> Fused:
    """Fused logits: z, [B, V]. Experts of strength 0, and without any other the base, are not read.

    Args:
        logits: `large` and `base` [B, V], `experts` [E, B, V], all float32.
    """
    large, experts, base = logits["large"], logits["experts"], logits["base"]
    betas = options.strengths(len(experts))
    used = [at for at, beta in enumerate(betas) if beta != 0]
    if not used:
        return Fused(large.clone())
    experts, strengths = experts[used], large.new_tensor([[betas[at] for at in used]])
    banned = (large == NEVER) | (base == NEVER) | (experts == NEVER).any(0)
    return Fused(shifted(large, shifts_of(experts, base), strengths, banned))


def blend_upscale(logits: Mapping[str, "Tensor"], options: UpscaleOptions, betas: "Tensor") -> Fused:
    """Fused logits at betas of each row's own.

    Args:
        logits: as `fuse_upscale`.
        betas: float32 [B, E]; a member's −inf counts only in the rows where it has strength.
    """
    del options
    large, experts, base = logits["large"], logits["experts"], logits["base"]
    is_used = (betas != 0).T[:, :, None]
    shifts = shifts_of(experts, base).masked_fill(~is_used, 0.0)
    moved = is_used.any(0)
    banned = (large == NEVER) | ((base == NEVER) & moved) | ((experts == NEVER) & is_used).any(0)
    return Fused(shifted(large, shifts, betas, banned))


UPSCALE = LogitRule(
    fuse=fuse_upscale,
    options=UpscaleOptions,
    roles=(Role("large"), Role("experts", many=True), Role("base")),
    paper="https://arxiv.org/abs/2310.12962",
    blend=blend_upscale,
)
