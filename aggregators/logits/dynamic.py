"""`dynamic`: at each token, the strength at which the large model moves as far as tuning moved the small one.

P, Q, Q_t, P~ = softmax of z_large, z_base, z_t, z_large + sum_t alpha_t (z_t − z_base). Alphas minimise

    J = sum_t [(KL(P~‖P) − KL(Q_t‖Q))² + (KL(P‖P~) − KL(Q‖Q_t))²]   over {0, 0.1, … 2}.

Source: arXiv:2406.15480, equation 3 and its section on several small models. Ours: among alphas whose J is
equal within 1e-12, the smallest sum wins, then the one that gives more to the earlier expert.

With S = sum_t alpha_t (z_t − z_base) and log Z = log E_P[exp S], both divergences follow from two means:
KL(P~‖P) = E_P~[S] − log Z and KL(P‖P~) = log Z − E_P[S]. So a candidate costs one exponential a token. J is
computed in float64: the squares would carry float32's rounding into the choice.

Shapes: B rows, V vocabulary, E experts, K candidates.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Literal

from aggregators.logits.rule import Fused, LogitRule, Role, RuleOptions
from aggregators.logits.shifts import NEVER, shifted, shifts_of

if TYPE_CHECKING:
    from torch import Tensor

N_STEPS = 20
STEPS_PER_UNIT = 10
"""Alphas are 0 to 20 tenths."""
EQUAL_LOSS = 1e-12
MOST_JOINT = 2
"""Experts in `joint`: 441 candidates; three would have 9,261."""
MOST_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 24}
"""Elements of a temporary array by kind of device: what stays in a core's cache (1 << 20 took twice the
seconds at a vocabulary of 150,000); on a GPU 128 MiB, for few launches."""


class DynamicOptions(RuleOptions):
    """Options of `dynamic`.

    Args:
        mode: `one` lets one expert act at a token (the paper's); `joint` tries all combinations of two.
    """

    mode: Literal["one", "joint"] = "one"

    def mistake(self, n_members: int) -> str | None:
        if self.mode == "one" or n_members <= MOST_JOINT:
            return None
        return f"mode joint takes at most {MOST_JOINT} experts, not {n_members}"


def fuse_dynamic(logits: Mapping[str, "Tensor"], options: DynamicOptions) -> Fused:
    """Fused logits [B, V], with each row's alphas [B, E], in {0, 0.1, … 2}, and their J [B].

    Args:
        logits: `large` and `base` [B, V], `experts` [E, B, V], all float32.
    """
    large, experts, base = logits["large"], logits["experts"], logits["base"]
    banned = (large == NEVER) | (base == NEVER) | (experts == NEVER).any(0)
    candidates = large.new_tensor(_candidates(len(experts), options.mode)).double() / STEPS_PER_UNIT
    losses = _losses(large, experts, base, banned, candidates)
    least = losses.amin(0)
    chosen = (losses <= least + EQUAL_LOSS).byte().argmax(0)
    alphas = candidates[chosen].float()
    taken = losses.gather(0, chosen[None])[0].float()
    return Fused(shifted(large, shifts_of(experts, base), alphas, banned), alphas, taken)


@lru_cache(maxsize=16)
def _candidates(n_experts: int, mode: str) -> tuple[tuple[int, ...], ...]:
    """Tenths for each expert, the preferred ones first."""
    if mode == "joint":
        found = list(product(range(N_STEPS + 1), repeat=n_experts))
    else:
        alone = (
            tuple(step if at == expert else 0 for at in range(n_experts))
            for step in range(1, N_STEPS + 1)
            for expert in range(n_experts)
        )
        found = [(0,) * n_experts, *alone]
    return tuple(sorted(found, key=lambda tenths: (sum(tenths), [-step for step in tenths])))


def _losses(
    large: "Tensor", experts: "Tensor", base: "Tensor", banned: "Tensor", candidates: "Tensor"
) -> "Tensor":
    """J of each candidate in each row, float64 [K, B], a few rows at a time.

    Args:
        large, base: float32 [B, V]; experts: float32 [E, B, V].
        banned: bool [B, V]; left out of all distributions.
        candidates: float64 [K, E].
    """
    n_rows, width = large.shape
    stride = max(1, _most_at_once(large) // (width * max(2, len(experts))))
    parts = []
    for start in range(0, n_rows, stride):
        rows = slice(start, start + stride)
        parts.append(_losses_of_rows(large[rows], experts[:, rows], base[rows], banned[rows], candidates))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _most_at_once(tensor: "Tensor") -> int:
    return MOST_AT_ONCE.get(tensor.device.type, MOST_AT_ONCE["cpu"])


def _joined(parts: list["Tensor"]) -> "Tensor":
    import torch

    return torch.cat(parts, dim=1)


def _losses_of_rows(
    large: "Tensor", experts: "Tensor", base: "Tensor", banned: "Tensor", candidates: "Tensor"
) -> "Tensor":
    log_p = large.double().masked_fill(banned, NEVER).log_softmax(-1)
    log_q = base.double().masked_fill(banned, NEVER).log_softmax(-1)
    log_tuned = experts.double().masked_fill(banned, NEVER).log_softmax(-1)
    gains = (log_tuned - log_q).masked_fill(banned, 0.0)
    tuned, untuned = (log_tuned.exp() * gains).sum(-1), -(log_q.exp() * gains).sum(-1)
    forth, back = _divergences(log_p, gains, candidates)
    return ((forth[:, None] - tuned) ** 2 + (back[:, None] - untuned) ** 2).sum(1)


def _divergences(log_p: "Tensor", shifts: "Tensor", candidates: "Tensor") -> tuple["Tensor", "Tensor"]:
    """KL(P~‖P) and KL(P‖P~) for each candidate, each float64 [K, B], a few candidates at a time.

    Args:
        log_p: float64 [B, V].
        shifts: float64 [E, B, V], up to a constant for each expert and row, which cancels.
        candidates: float64 [K, E].
    """
    n_rows, width = log_p.shape
    flat = shifts.reshape(len(shifts), n_rows * width)
    expected = candidates @ (log_p.exp() * shifts).sum(-1)
    stride = max(1, _most_at_once(log_p) // (n_rows * width))
    forth, back = expected.new_empty(expected.shape), expected.new_empty(expected.shape)
    for start in range(0, len(candidates), stride):
        some = slice(start, start + stride)
        shift = (candidates[some] @ flat).view(-1, n_rows, width)
        weights = shift + log_p
        top = weights.amax(-1)
        weights = weights.sub_(top[..., None]).exp_()
        mass = weights.sum(-1)
        log_z = top + mass.log()
        forth[some] = weights.mul_(shift).sum(-1) / mass - log_z
        back[some] = log_z - expected[some]
    return forth, back


DYNAMIC = LogitRule(
    fuse=fuse_dynamic,
    options=DynamicOptions,
    roles=(Role("large"), Role("experts", many=True), Role("base")),
    paper="https://arxiv.org/abs/2406.15480",
)
