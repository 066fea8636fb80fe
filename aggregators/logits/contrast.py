"""`contrast`: what a strong model likes more than a weak one does, among what it finds plausible.

s, w = log probabilities of both, w at temperature tau_w; z = (1 + b) s − b w where s >= max s + log a, −inf
elsewhere. Source: arXiv:2309.09117, with its a and b; the weak one may be the same mixture-of-experts model
under another routing, arXiv:2405.14507. Ours: a token that the weak model bans (−inf) is banned.

Shapes: B rows, V vocabulary.
"""

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING

from pydantic import Field

from aggregators.logits.rule import Fused, LogitRule, Role, RuleOptions
from aggregators.logits.shifts import NEVER

if TYPE_CHECKING:
    from torch import Tensor


class ContrastOptions(RuleOptions):
    """Options of `contrast`; no units.

    Args:
        a: least share of the likeliest token's probability, in [0, 1]; 1 = greedy text of the strong model.
        b: strength, in [0, 10]; 0 = the strong model among its plausible tokens.
        tau_w: temperature of the weak model, in (0, 100].
    """

    a: float = Field(default=0.1, ge=0, le=1)
    b: float = Field(default=0.5, ge=0, le=10)
    tau_w: float = Field(default=1.0, gt=0, le=100)


def fuse_contrast(logits: Mapping[str, "Tensor"], options: ContrastOptions) -> Fused:
    """Fused logits: z, not normalised, [B, V].

    Args:
        logits: `large` and `weak`, float32 [B, V]; `weak` is not read at b = 0.
    """
    strong = logits["large"].log_softmax(-1)
    banned = strong == NEVER
    if options.a > 0:
        banned = banned | (strong < strong.amax(-1, keepdim=True) + log(options.a))
    if options.b == 0:
        return Fused(strong.masked_fill(banned, NEVER))
    weak = (logits["weak"] / options.tau_w).log_softmax(-1)
    fused = (1 + options.b) * strong - options.b * weak
    return Fused(fused.masked_fill(banned | (weak == NEVER), NEVER))


CONTRAST = LogitRule(
    fuse=fuse_contrast,
    options=ContrastOptions,
    roles=(Role("large", synonym="strong"), Role("weak")),
    paper="https://arxiv.org/abs/2309.09117",
)
