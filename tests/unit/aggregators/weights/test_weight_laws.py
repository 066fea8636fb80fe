"""Laws of merge methods, on tensors of many shapes and dtypes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aggregators.weights import MERGE_METHODS, merge_tensor
from aggregators.weights.masks import bernoulli_mask

LAYER = "model.layers.3.self_attn.k_proj.weight"
ON_A_BASE = sorted(name for name, row in MERGE_METHODS.items() if row.needs_base and row.most is None)
SYMMETRIC = sorted(name for name in ("linear", *ON_A_BASE) if not name.startswith("dare"))
ADDITIVE = ["task_arithmetic", "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties"]
few = settings(max_examples=25, deadline=None)


@st.composite
def stacks(draw: st.DrawFn, *, most: int = 4, dims: tuple[int, ...] = (1, 2)) -> Tensor:
    """A base and models, [1 + n, ...]: eighths, whose sums are exact in float32."""
    shape = tuple(draw(st.integers(1, 7)) for _ in range(draw(st.sampled_from(dims))))
    n = draw(st.integers(1, most))
    seed = draw(st.integers(0, 2**31))
    values = np.random.default_rng(seed).integers(-40, 41, (1 + n, *shape)) / 8
    return torch.tensor(values, dtype=torch.float32)


def merged(method: str, stack: Tensor, name: str = LAYER, **params: Any) -> Tensor:
    base = stack[0] if MERGE_METHODS[method].needs_base else None
    return merge_tensor(method, base, list(stack[1:]), params, name=name)


@pytest.mark.parametrize("method", MERGE_METHODS)
@few
@given(stack=stacks(most=1))
def test_a_model_that_is_the_base_changes_nothing(method: str, stack: Tensor) -> None:
    stack[1] = stack[0]
    assert torch.equal(merged(method, stack), stack[0])


@pytest.mark.parametrize("method", ["linear", "tsvm", *ADDITIVE])
@few
@given(stack=stacks(most=1))
def test_one_model_whole_is_that_model(method: str, stack: Tensor) -> None:
    params = {"density": 1.0} if method in ADDITIVE and method != "task_arithmetic" else {}
    assert torch.allclose(merged(method, stack, **params), stack[1], atol=1e-5)


@pytest.mark.parametrize("method", SYMMETRIC)
@few
@given(stack=stacks(), seed=st.integers(0, 99))
def test_the_order_of_the_models_does_not_matter(method: str, stack: Tensor, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(stack) - 1) + 1
    turned = stack[[0, *order.tolist()]]
    assert torch.allclose(merged(method, turned), merged(method, stack), atol=1e-4)


@pytest.mark.parametrize("method", ["linear", "ties"])
@few
@given(stack=stacks(), factor=st.sampled_from([0.25, 2.0, 8.0]))
def test_normalised_weights_count_by_their_shares(method: str, stack: Tensor, factor: float) -> None:
    weights = [0.5, 1.0, 0.25, 2.0][: len(stack) - 1]
    scaled = [weight * factor for weight in weights]
    assert torch.allclose(
        merged(method, stack, weight=weights), merged(method, stack, weight=scaled), atol=1e-5
    )


@pytest.mark.parametrize("method", [*ADDITIVE, "pcb", "tsvm", "r_tsvm"])
@few
@given(stack=stacks())
def test_lambda_scales_what_is_added(method: str, stack: Tensor) -> None:
    whole, half = merged(method, stack, lam=1), merged(method, stack, lam=0.5)
    assert torch.equal(merged(method, stack, lam=0), stack[0])
    assert torch.allclose(half - stack[0], (whole - stack[0]) / 2, atol=1e-5)


@pytest.mark.parametrize("method", MERGE_METHODS)
@few
@given(stack=stacks(most=3))
def test_the_result_is_rounded_once_to_half_precision(method: str, stack: Tensor) -> None:
    if MERGE_METHODS[method].most == 1:
        stack = stack[:2]
    halves = stack.to(torch.bfloat16)  # eighths up to 5 are exact in it
    assert torch.equal(merged(method, halves), merged(method, stack).to(torch.bfloat16))


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_inputs_are_not_modified(method: str) -> None:
    stack = torch.randn(3 if MERGE_METHODS[method].most is None else 2, 6, 5)
    before = stack.clone()
    merged(method, stack)
    assert torch.equal(stack, before)


# ── of one method ────────────────────────────────────────────────────────────────────────────────────


@few
@given(stack=stacks(most=1), t=st.floats(0, 1))
def test_slerp_ends_at_both_models_and_runs_the_same_way_back(stack: Tensor, t: float) -> None:
    assert torch.allclose(merged("slerp", stack, t=0), stack[0], atol=1e-5)
    assert torch.allclose(merged("slerp", stack, t=1), stack[1], atol=1e-5)
    assert torch.allclose(merged("slerp", stack, t=t), merged("slerp", stack.flip(0), t=1 - t), atol=1e-4)


@few
@given(stack=stacks())
def test_ties_of_agreeing_models_is_their_mean(stack: Tensor) -> None:
    tau = stack[1:].abs() + 0.125
    stack[1:] = stack[0] + tau
    assert torch.allclose(merged("ties", stack, density=1), stack[0] + tau.mean(dim=0), atol=1e-5)


@few
@given(stack=stacks(), density=st.floats(0.05, 0.95))
def test_ties_with_no_sign_but_the_elected_one(stack: Tensor, density: float) -> None:
    """Each entry of the merge lies between 0 and the furthest task vector on the elected side."""
    added = merged("ties", stack, density=density) - stack[0]
    taus = stack[1:] - stack[0]
    assert bool((added <= taus.clamp(min=0).amax(0) + 1e-5).all())
    assert bool((added >= taus.clamp(max=0).amin(0) - 1e-5).all())


@few
@given(stack=stacks(), r=st.floats(0, 1), variant=st.sampled_from(["code", "paper"]))
def test_pcb_lies_between_the_models(stack: Tensor, r: float, variant: str) -> None:
    """Scales are shares, or all 0, which leaves the base."""
    added = merged("pcb", stack, r=r, variant=variant, lam=1) - stack[0]
    taus = stack[1:] - stack[0]
    assert bool((added <= taus.amax(0).clamp(min=0) + 1e-4).all())
    assert bool((added >= taus.amin(0).clamp(max=0) - 1e-4).all())


@few
@given(stack=stacks(), density=st.floats(0, 1), gamma=st.floats(0, 1))
def test_breadcrumbs_keep_their_share(stack: Tensor, density: float, gamma: float) -> None:
    tau = torch.arange(1.0, stack[0].numel() + 1).view_as(stack[0])
    added = merged("breadcrumbs", torch.stack([tau * 0, tau]), density=density, gamma=gamma)
    kept = tau.numel() if density >= 1 else int(density * tau.numel())
    assert int((added != 0).sum()) == kept


# ── DARE ─────────────────────────────────────────────────────────────────────────────────────────────


def test_dare_gives_the_same_bytes_for_the_same_seed_name_and_position() -> None:
    stack = torch.randn(3, 30, 20)
    first = merged("dare_ties", stack, density=0.5, seed=7)
    assert torch.equal(merged("dare_ties", stack, density=0.5, seed=7), first)
    assert not torch.equal(merged("dare_ties", stack, density=0.5, seed=8), first)
    assert not torch.equal(merged("dare_ties", stack, name="other.weight", density=0.5, seed=7), first)
    alike = torch.stack([stack[0], stack[1], stack[1]])
    one, both = merged("dare_linear", alike[:2], density=0.5), merged("dare_linear", alike, density=0.5)
    assert not torch.equal(both - alike[0], 2 * (one - alike[0]))  # places have masks of their own


def test_dare_masks_keep_their_stream() -> None:
    """Written down: merges stay the same in later releases and on other machines."""
    mask = bernoulli_mask(torch.zeros(3, 4), 0.5, seed=1, name="a.weight", position=2)
    assert mask.int().tolist() == [[0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]]


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_dare_keeps_its_density_and_rescales(density: float) -> None:
    base, tau = torch.zeros(200, 200), torch.rand(200, 200) + 0.5
    added = merged("dare_linear", torch.stack([base, tau]), density=density)
    kept = added != 0
    assert abs(float(kept.float().mean()) - density) <= 0.03
    assert torch.allclose(added[kept], (tau / density)[kept])


def test_dare_is_the_task_vector_on_average() -> None:
    """Two hundred seeds: the mean is within five standard errors everywhere."""
    stack = torch.stack([torch.zeros(8, 8), torch.linspace(-1, 1, 64).view(8, 8)])
    mean = torch.stack([merged("dare_linear", stack, density=0.5, seed=s) for s in range(200)]).mean(0)
    assert float((mean - stack[1]).abs().max()) <= 5 / 200**0.5


# ── matrices ─────────────────────────────────────────────────────────────────────────────────────────


@few
@given(tau=stacks(most=1, dims=(2,)), n=st.integers(1, 4))
def test_tsvm_of_copies_is_the_truncated_decomposition(tau: Tensor, n: int) -> None:
    matrix = tau[1] + 1e-3 * torch.arange(tau[1].numel()).view_as(tau[1])  # no equal singular values
    k = max(1, min(matrix.shape) // n)
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    expected = (u[:, :k] * s[:k]) @ vh[:k]
    stack = torch.stack([matrix * 0] + [matrix] * n)
    assert torch.allclose(merged("tsvm", stack).double(), expected, atol=2e-4)


@few
@given(seed=st.integers(0, 2**31), n=st.integers(2, 3))
def test_tsvm_of_orthogonal_tasks_is_the_sum_of_their_leading_parts(seed: int, n: int) -> None:
    """Each task lives in rows and columns of its own."""
    generator = torch.Generator().manual_seed(seed)
    stack = torch.zeros(1 + n, 4 * n, 5 * n)
    for i in range(n):
        stack[1 + i, 4 * i : 4 * i + 4, 5 * i : 5 * i + 5] = torch.randn(4, 5, generator=generator)
    assert torch.allclose(merged("tsvm", stack), stack[1:].sum(0), atol=1e-5)  # k = 4: all of each


@few
@given(stack=stacks(dims=(2,)))
def test_twin_of_full_rank_with_one_expert_is_that_expert(stack: Tensor) -> None:
    for i in range(1, len(stack)):
        weight = [float(j == i) for j in range(1, len(stack))]
        assert torch.allclose(merged("twin", stack, weight=weight), stack[i], atol=1e-4)


@few
@given(stack=stacks(dims=(2,)))
def test_twin_of_full_rank_with_shares_is_the_weighted_mean(stack: Tensor) -> None:
    weight = [1.0, 2.0, 3.0, 4.0][: len(stack) - 1]
    shares = torch.tensor(weight) / sum(weight)
    expected = (stack[1:] * shares.view(-1, 1, 1)).sum(0)
    assert torch.allclose(merged("twin", stack, weight=shares.tolist()), expected, atol=1e-4)
