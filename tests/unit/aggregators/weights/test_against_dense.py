"""Every method agrees with an implementation of its own, in NumPy on whole arrays, to 1e-6 in float32."""

from typing import Any

import numpy as np
import pytest
import torch

from aggregators.weights import merge_tensor
from tests.unit.aggregators.weights import dense

LAYER = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"
EMBEDDING = "model.embed_tokens.weight"

CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("linear", 3, {"weight": [1.0, 2.5, -0.5]}),
    ("linear", 3, {"weight": [0.5, 0.25, 0.5], "normalize": False}),
    ("slerp", 1, {"t": 0.3}),
    ("slerp", 1, {}),
    ("task_arithmetic", 3, {"weight": [0.3, 0.5, -0.2], "lam": 0.7}),
    ("task_arithmetic", 2, {"weight": [0.3, 0.5], "normalize": True}),
    ("ties", 3, {}),
    ("ties", 3, {"density": [0.3, 0.7, 1.0], "weight": [0.2, 0.5, 1.0], "lam": 1.3}),
    ("ties", 3, {"density": 0.5, "weight": [0.2, -0.5, 1.0], "normalize": False}),
    ("ties", 1, {"density": 0.0}),
    ("breadcrumbs", 3, {}),
    ("breadcrumbs", 2, {"density": [0.4, 0.9], "gamma": [0.2, 0.3], "weight": [0.6, 0.4]}),
    ("breadcrumbs", 2, {"density": 0.0}),
    ("breadcrumbs_ties", 3, {"density": 0.7, "gamma": 0.05, "normalize": True}),
    ("breadcrumbs_ties", 3, {"density": 0.7, "gamma": 0.05, "lam": 0.5}),
    ("pcb", 3, {}),
    ("pcb", 2, {"r": 0.6, "lam": 0.8}),
    ("pcb", 3, {"variant": "paper", "r": 0.3}),
    ("tsvm", 3, {}),
    ("tsvm", 2, {"lam": 0.4}),
    ("r_tsvm", 3, {}),
    ("twin", 3, {"r": 4, "weight": [0.2, 0.5, 0.3]}),
    ("twin", 3, {"gamma": 0.4}),
    ("compeft", 1, {}),
    ("compeft", 1, {"alpha": 1.5, "density": 0.1}),
    ("compeft", 1, {"scale": "mean", "density": 0.5}),
]


@pytest.mark.representatives(39)
@pytest.mark.parametrize(("name", "shape"), [(LAYER, (24, 33)), (NORM, (40,)), (EMBEDDING, (31, 12))])
@pytest.mark.parametrize(("method", "n_models", "params"), CASES, ids=str)
def test_methods_agree_with_whole_arrays(
    method: str, n_models: int, params: dict[str, Any], name: str, shape: tuple[int, ...]
) -> None:
    base, models = random_tensors(shape, n_models, seed=len(name))
    expected = dense.merge(
        method, base.double().numpy(), [model.double().numpy() for model in models], params, name
    )
    merged = merge_tensor(method, base, models, params, name=name)
    assert merged.dtype == torch.float32
    assert np.abs(merged.numpy() - expected).max() <= 1e-6


def random_tensors(
    shape: tuple[int, ...], n_models: int, *, seed: int, size: float = 0.1
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A base around 0 and models around it."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    return base, [base + size * torch.randn(shape, generator=generator) for _ in range(n_models)]
