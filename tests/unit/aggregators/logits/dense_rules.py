"""The rules once more, from their formulas, row by row in numpy's float64: what ours must agree with."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def dense_fuse(
    rule: str, logits: Mapping[str, Any], params: Mapping[str, Any]
) -> tuple[Floats, list[list[float]] | None, list[float] | None]:
    """Fused logits [B, V], alphas [B][E] and losses [B] of any rule."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in logits.items()}
    n_rows = arrays["models"].shape[1] if "models" in arrays else len(arrays["large"])
    rows = [
        one_row(rule, {name: of_row(a, at) for name, a in arrays.items()}, params) for at in range(n_rows)
    ]
    fused = np.stack([row[0] for row in rows])
    if rule != "dynamic":
        return fused, None, None
    return fused, [row[1] for row in rows], [row[2] for row in rows]


def of_row(array: Floats, at: int) -> Floats:
    return array[:, at] if array.ndim == 3 else array[at]


def one_row(
    rule: str, z: Mapping[str, Floats], params: Mapping[str, Any]
) -> tuple[Floats, list[float], float]:
    if rule == "upscale":
        betas = params.get("betas") or [1.0] * len(z["experts"])
        moves = [beta * (expert - z["base"]) for beta, expert in zip(betas, z["experts"], strict=True)]
        return z["large"] + sum(moves), [], 0.0
    if rule == "contrast":
        s, w = np.log(softmax(z["large"])), np.log(softmax(z["weak"] / params.get("tau_w", 1.0)))
        a, b = params.get("a", 0.1), params.get("b", 0.5)
        fits = s >= s.max() + (np.log(a) if a else -np.inf)
        return np.where(fits, (1 + b) * s - b * w, -np.inf), [], 0.0
    if rule == "average":
        weights = params.get("weights") or [1 / len(z["models"])] * len(z["models"])
        p = [softmax(model) for model in z["models"]]
        if params.get("mean", "log") == "prob":
            return np.log(sum(w * one for w, one in zip(weights, p, strict=True))), [], 0.0
        product_of_experts = np.exp(sum(w * np.log(one) for w, one in zip(weights, p, strict=True)))
        return np.log(product_of_experts / product_of_experts.sum()), [], 0.0
    return dynamic_row(z, params.get("mode", "one"))


def dynamic_row(z: Mapping[str, Floats], mode: str) -> tuple[Floats, list[float], float]:
    p, q = softmax(z["large"]), softmax(z["base"])
    tuned = [softmax(expert) for expert in z["experts"]]
    best, found = np.inf, None
    for alphas in in_order(len(tuned), mode):
        moved = z["large"] + sum(a * (e - z["base"]) for a, e in zip(alphas, z["experts"], strict=True))
        p_moved = softmax(moved)
        loss = sum((kl(p_moved, p) - kl(t, q)) ** 2 + (kl(p, p_moved) - kl(q, t)) ** 2 for t in tuned)
        if loss < best - 1e-12:
            best, found = loss, (moved, list(alphas), float(loss))
    assert found is not None
    return found


def in_order(n_experts: int, mode: str) -> Sequence[tuple[float, ...]]:
    """Candidates, smaller alphas first, then those that give more to earlier experts."""
    steps = product(range(21), repeat=n_experts)
    allowed = [s for s in steps if mode == "joint" or sum(step > 0 for step in s) <= 1]
    allowed.sort(key=lambda s: (sum(s), tuple(-step for step in s)))
    return [tuple(step / 10 for step in s) for s in allowed]


def softmax(z: Floats) -> Floats:
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum(), dtype=np.float64)


def kl(p: Floats, q: Floats) -> float:
    return float(np.sum(p * (np.log(p) - np.log(q))))
