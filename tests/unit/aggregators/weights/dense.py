"""The methods once more, in NumPy and float64, on whole arrays, from their definitions in docs/methods.md.

Nothing of `aggregators` is used. Inputs are float32 tensors; task vectors are rounded to float32 as there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Params = dict[str, Any]


def merge(method: str, base: Array | None, models: Sequence[Array], params: Params, name: str) -> Array:
    """The merge of float32 arrays, in float64."""
    if method == "linear":
        return linear(models, params)
    assert base is not None
    if method == "slerp":
        return slerp(base, models[0], params)
    taus = [(m.astype(np.float32) - base.astype(np.float32)).astype(np.float64) for m in models]
    return base + params.get("lam", LAMBDAS.get(method, 1.0)) * DELTAS[method](taus, params, name)


def listed(params: Params, option: str, default: float, n: int) -> list[float]:
    value = params.get(option, default)
    return list(value) if isinstance(value, list | tuple) else [value] * n


def linear(models: Sequence[Array], params: Params) -> Array:
    weights = listed(params, "weight", 1.0, len(models))
    total = sum(w * m for w, m in zip(weights, models, strict=True))
    return np.asarray(total / sum(weights) if params.get("normalize", True) else total)


def slerp(a: Array, b: Array, params: Params) -> Array:
    t = params.get("t", 0.5)
    norms = [np.linalg.norm(x) if np.linalg.norm(x) > 1e-8 else 1.0 for x in (a, b)]
    cos = float((a / norms[0]).ravel() @ (b / norms[1]).ravel())
    if abs(cos) > 0.9995:
        return (1 - t) * a + t * b
    omega = np.arccos(cos)
    return np.asarray((np.sin((1 - t) * omega) * a + np.sin(t * omega) * b) / np.sin(omega))


def order_by_size(tau: Array) -> NDArray[np.intp]:
    """Indices, smallest magnitude first, equals by index."""
    return np.argsort(np.abs(tau).ravel(), kind="stable")


def keep(tau: Array, indices: NDArray[np.intp]) -> Array:
    mask = np.zeros(tau.size)
    mask[indices] = 1
    return tau * mask.reshape(tau.shape)


def trim(tau: Array, density: float) -> Array:
    if density >= 1:
        return tau
    if density <= 0:
        return tau * 0
    largest_first = np.argsort(-np.abs(tau).ravel(), kind="stable")
    return keep(tau, largest_first[: max(1, int(density * tau.size))])


def crumbs(tau: Array, density: float, gamma: float) -> Array:
    if density >= 1:
        return tau
    n, k = tau.size, int(density * tau.size)
    b = max(0, n - k - int(gamma * n))
    return keep(tau, order_by_size(tau)[b : b + k])


def add(deltas: Sequence[Array], params: Params) -> Array:
    weights = listed(params, "weight", 1.0, len(deltas))
    total = sum(w * d for w, d in zip(weights, deltas, strict=True))
    return np.asarray(total / sum(weights) if params.get("normalize", False) else total)


def elect(deltas: Sequence[Array], params: Params, *, normalize: bool) -> Array:
    weights = np.array(listed(params, "weight", 1.0, len(deltas)))
    parts = np.stack(deltas) * weights.reshape(-1, *[1] * deltas[0].ndim)
    sign = np.where(parts.sum(axis=0) >= 0, 1, -1)
    agrees = np.sign(parts) == sign
    total = (parts * agrees).sum(axis=0)
    if not params.get("normalize", normalize):
        return np.asarray(total)
    divisor = (agrees * weights.reshape(-1, *[1] * deltas[0].ndim)).sum(axis=0)
    return np.asarray(total / np.where(divisor == 0, 1, divisor))


def task_arithmetic(taus: Sequence[Array], params: Params, name: str) -> Array:
    return add(taus, params)


def ties(taus: Sequence[Array], params: Params, name: str) -> Array:
    densities = listed(params, "density", 0.2, len(taus))
    trimmed = [trim(t, d) for t, d in zip(taus, densities, strict=True)]
    return elect(trimmed, params, normalize=True)


def breadcrumbs(taus: Sequence[Array], params: Params, name: str) -> Array:
    return add(_crumbs(taus, params), params)


def breadcrumbs_ties(taus: Sequence[Array], params: Params, name: str) -> Array:
    return elect(_crumbs(taus, params), params, normalize=False)


def _crumbs(taus: Sequence[Array], params: Params) -> list[Array]:
    densities = listed(params, "density", 0.9, len(taus))
    gammas = listed(params, "gamma", 0.01, len(taus))
    return [crumbs(t, d, g) for t, d, g in zip(taus, densities, gammas, strict=True)]


def minmax(x: Array) -> Array:
    width = x.max() - x.min()
    return (x - x.min()) / width if width > 0 else x * 0


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def pcb(taus: Sequence[Array], params: Params, name: str) -> Array:
    flat = [t.ravel() for t in taus]
    n, size, r = len(flat), flat[0].size, params.get("r", 0.1)
    place = min(int(size * (1 - r)), size - 1)
    scales = []
    for tau in flat:
        if params.get("variant", "code") == "code":
            score = np.exp(n * minmax(np.abs(tau)) ** 2) * np.tanh(tau * sum(flat))
            scales.append(minmax(np.maximum(score, np.sort(score)[place])))
        else:
            score = softmax(n * minmax(tau**2)) * sum(softmax(minmax(tau * other)) for other in flat)
            scales.append(np.where(score >= np.sort(score)[place], score, 0))
    total = sum(s * t for s, t in zip(scales, flat, strict=True))
    divisor = sum(scales)
    if params.get("variant", "code") == "code":
        divisor = np.maximum(divisor, 1e-12)
    return np.asarray(np.divide(total, divisor, out=np.zeros(size), where=divisor != 0)).reshape(
        taus[0].shape
    )


def tsvm(taus: Sequence[Array], params: Params, name: str) -> Array:
    if taus[0].ndim != 2 or "embed" in name or "lm_head" in name:
        return np.asarray(np.mean(taus, axis=0))
    k = max(1, min(taus[0].shape) // len(taus))
    return _joined(taus, [k] * len(taus))


def r_tsvm(taus: Sequence[Array], params: Params, name: str) -> Array:
    if taus[0].ndim != 2 or "embed" in name or "lm_head" in name:
        return np.asarray(np.mean(taus, axis=0))
    clipped = []
    for tau in taus:
        edge = np.abs(tau).mean() + 3 * np.abs(tau).std()
        clipped.append(np.clip(tau, -edge, edge))
    d = [np.abs(t).sum() ** 2 / (t.size * (t**2).sum()) if t.any() else 0.0 for t in clipped]
    rank = min(taus[0].shape)
    return _joined(clipped, [max(1, int(rank * x / sum(d))) if x else 0 for x in d])


def _joined(taus: Sequence[Array], ranks: Sequence[int]) -> Array:
    us, ss, vs = [], [], []
    for tau, k in zip(taus, ranks, strict=True):
        u, s, vt = np.linalg.svd(tau, full_matrices=False)
        kept = [i for i in range(k) if s[i] > 1e-9 * s[0]]
        us.append(u[:, kept])
        ss.append(s[kept])
        vs.append(vt[kept].T)
    if not np.concatenate(ss).size:
        return np.zeros_like(taus[0])
    return np.asarray(_polar(np.hstack(us)) @ np.diag(np.concatenate(ss)) @ _polar(np.hstack(vs)).T)


def _polar(x: Array) -> Array:
    p, s, qt = np.linalg.svd(x, full_matrices=False)
    kept = s > 1e-9 * s[0]
    return np.asarray(p[:, kept] @ qt[kept])


def twin(taus: Sequence[Array], params: Params, name: str) -> Array:
    shared = params.get("gamma", 0.3) * sum(taus)
    if taus[0].ndim != 2 or "embed" in name or "lm_head" in name:
        return np.asarray(shared)
    weights = listed(params, "weight", 1 / len(taus), len(taus))
    total = np.asarray(shared)
    for tau, weight in zip(taus, weights, strict=True):
        u, s, vt = np.linalg.svd(tau - shared, full_matrices=False)
        r = params.get("r", 32)
        total = total + weight * (u[:, :r] * s[:r]) @ vt[:r]
    return total


def compeft(taus: Sequence[Array], params: Params, name: str) -> Array:
    (tau,) = taus
    kept = trim(tau, params.get("density", 0.2))
    chosen = np.argsort(-np.abs(tau).ravel(), kind="stable")[
        : max(1, int(params.get("density", 0.2) * tau.size))
    ]
    size = np.abs(tau).ravel()[chosen].mean()
    if "alpha" in params and params.get("scale") != "mean":
        size = params["alpha"] * tau.std()
    return np.asarray(np.sign(kept) * size)


LAMBDAS = {"pcb": 1.2}
DELTAS: dict[str, Callable[[Sequence[Array], Params, str], Array]] = {
    "task_arithmetic": task_arithmetic,
    "ties": ties,
    "breadcrumbs": breadcrumbs,
    "breadcrumbs_ties": breadcrumbs_ties,
    "pcb": pcb,
    "tsvm": tsvm,
    "r_tsvm": r_tsvm,
    "twin": twin,
    "compeft": compeft,
}
