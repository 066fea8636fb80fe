"""Logits to tokens. Pure tensor functions; R rows, V vocabulary."""

import torch
from torch import Tensor

from orchestrator.domain.assignments import LEAST_TEMPERATURE


def pick_tokens(logits: Tensor, *, temperature: Tensor, top_p: Tensor, uniforms: Tensor) -> Tensor:
    """Sample one token per row by inverting the distribution function of its nucleus.

    Each row uses its own uniform draw, so a row's token does not depend on its neighbours. The
    nucleus is the smallest set of likeliest tokens with mass >= top_p (Holtzman et al.,
    arXiv:1904.09751).

    A temperature that is too small to divide by takes the likeliest token, and a row without usable
    logits (NaN, nothing finite) any token: it does not disturb the others.

    Args:
        logits: float, [R, V]; not modified.
        temperature: float, [R], > 0.
        top_p: float, [R], in (0, 1].
        uniforms: float, [R], in [0, 1).

    Returns:
        int64, [R].
    """
    logits = logits.float()
    below = logits - logits.max(dim=-1, keepdim=True).values  # the likeliest is 0, whatever divides it
    probs = torch.softmax(
        (below / temperature[:, None].clamp(min=LEAST_TEMPERATURE)).nan_to_num(-torch.inf), -1
    )
    ranked, order = probs.sort(dim=-1, descending=True, stable=True)
    mass = ranked.cumsum(dim=-1)
    nucleus = torch.where(mass - ranked < top_p[:, None], ranked, 0.0)
    cumulated = nucleus.cumsum(dim=-1)
    rank = (cumulated <= uniforms[:, None] * cumulated[:, -1:]).sum(dim=-1, keepdim=True)
    last = ((nucleus > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return order.gather(1, rank.minimum(last)).squeeze(1)


def greedy_tokens(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Likeliest tokens, int64 [R], and whether each row's logits are usable, bool [R].

    A NaN anywhere in a row, or nothing finite in it, makes it unusable.
    """
    best, tokens = logits.max(dim=-1)
    return tokens, best.isfinite()
