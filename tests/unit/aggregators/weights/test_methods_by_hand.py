"""Numbers of the methods, worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from aggregators.weights import merge_tensor
from aggregators.weights.masks import bernoulli_mask
from aggregators.weights.tsvm import ranks_by_density, without_outliers

LAYER = "model.layers.0.mlp.up_proj.weight"


def merged(method: str, models: list[list[float]] | list[Tensor], **params: object) -> list[float]:
    """The merge over a base of zeros, flattened."""
    tensors = [torch.as_tensor(model, dtype=torch.float32) for model in models]
    result = merge_tensor(method, torch.zeros_like(tensors[0]), tensors, params, name=LAYER)
    return [round(x, 5) + 0.0 for x in result.flatten().tolist()]


def diag(*values: float) -> Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float32))


# ── DARE ─────────────────────────────────────────────────────────────────────────────────────────────


def test_dare_keeps_what_its_mask_says_over_the_density() -> None:
    tau = torch.arange(1.0, 9.0)
    mask = bernoulli_mask(tau, 0.5, seed=3, name=LAYER, position=0)
    assert 0 < int(mask.sum()) < 8
    assert merged("dare_linear", [tau], density=0.5, seed=3) == (tau * mask * 2).tolist()
    assert merged("dare_linear", [tau], density=0.5, seed=3, rescale=False) == (tau * mask).tolist()


def test_dare_by_l1_keeps_the_sum_of_magnitudes() -> None:
    kept = merged("dare_linear", [[1, -2, 3, -4, 5, -6, 7, -8]], density=0.5, rescale="l1")
    assert sum(map(abs, kept)) == pytest.approx(36, abs=1e-4)
    assert kept == merged("dare_linear", [[1, -2, 3, -4, 5, -6, 7, -8]], density=0.5, rescale=True)


def test_dare_elects_signs_without_trimming() -> None:
    """At density 1 nothing is dropped: 3 + 1 against -2, and 2 against -3 - 1; normalize is off."""
    models = [[3.0, 2.0], [-2.0, -3.0], [1.0, -1.0]]
    assert merged("dare_ties", models, density=1) == [4, -4]
    assert merged("dare_ties", models, density=1, normalize=True) == [2, -2]
    assert merged("dare_ties", models, density=0) == [0, 0]


# ── breadcrumbs ──────────────────────────────────────────────────────────────────────────────────────

TEN = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0]


def test_breadcrumbs_drop_the_largest_and_the_smallest() -> None:
    """n 10, kept 5, dropped on top 2: places 3 to 7."""
    assert merged("breadcrumbs", [TEN], density=0.5, gamma=0.2) == [0, 0, 0, -4, 5, -6, 7, -8, 0, 0]


def test_breadcrumbs_keep_their_density_where_gamma_asks_for_more() -> None:
    """b = max(0, 10 - 5 - 9) = 0."""
    assert merged("breadcrumbs", [TEN], density=0.5, gamma=0.9) == [1, -2, 3, -4, 5, 0, 0, 0, 0, 0]


def test_breadcrumbs_of_equals_go_by_index() -> None:
    """n 4, kept 2, dropped on top 1: places 1 and 2."""
    assert merged("breadcrumbs", [[1, 1, -1, 1]], density=0.5, gamma=0.25) == [0, 1, -1, 0]


def test_breadcrumbs_add_or_elect() -> None:
    models = [[4.0, 1.0], [-2.0, 3.0]]
    assert merged("breadcrumbs", models, density=1, weight=[1, 0.5]) == [3, 2.5]
    assert merged("breadcrumbs_ties", models, density=1, weight=[1, 0.5]) == [4, 2.5]


# ── PCB ──────────────────────────────────────────────────────────────────────────────────────────────


def test_pcb_keeps_the_winners_of_the_competition() -> None:
    """x = (0, 1/3, 1), scores (tanh 1, e^(1/9) tanh 4, e tanh 16); the floor is the second: 4 wins alone."""
    assert merged("pcb", [[1, 2, 4]], r=0.5) == [0, 0, 4.8]


def test_pcb_shares_by_score_between_models() -> None:
    """x_1 = (1, 0): scores (e² tanh 2, 0), scales (1, 0). x_2 = (0, 1): scales (0, 1)."""
    assert merged("pcb", [[1, 0], [1, 2]], r=1, lam=1) == [1, 2]


def test_pcb_of_constant_scores_is_the_base() -> None:
    """r .1 of 2 entries: the floor is the largest score, all are raised to it, and minmax is 0."""
    assert merged("pcb", [[1, 2]]) == [0, 0]


def test_pcb_by_the_paper_keeps_scores_at_the_floor() -> None:
    """One model: scores go with tau², and scale · tau / scale is tau."""
    assert merged("pcb", [[1, 2, 4]], variant="paper", r=1, lam=1) == [1, 2, 4]
    assert merged("pcb", [[1, 2, 4]], variant="paper", r=0.5, lam=1) == [0, 2, 4]


def test_pcb_by_the_paper_mixes_by_intra_and_inter_balance() -> None:
    """tau_1 = (1, 0), tau_2 = (0, 1): intra (e², 1)/(e² + 1); products are 0: inter (e, 1)/(e + 1) + 1/2."""
    s_1 = math.e**2 / (math.e**2 + 1) * (math.e / (math.e + 1) + 0.5)
    s_2 = 1 / (math.e**2 + 1) * (1 / (math.e + 1) + 0.5)
    expected = round(s_1 / (s_1 + s_2), 5)
    assert merged("pcb", [[1, 0], [0, 1]], variant="paper", r=1, lam=1) == [expected, expected]


# ── TSV merging ──────────────────────────────────────────────────────────────────────────────────────


def test_tsvm_of_orthogonal_tasks_is_the_sum_of_their_leading_parts() -> None:
    """T 2: one triplet of each: 3 e_1 e_1ᵀ and 2 e_2 e_2ᵀ."""
    assert merged("tsvm", [diag(3, 1), diag(1, 2)]) == [3, 0, 0, 2]
    assert merged("tsvm", [diag(3, 1), diag(1, 2)], lam=0.5) == [1.5, 0, 0, 1]


def test_tsvm_of_other_tensors_is_their_mean() -> None:
    assert merged("tsvm", [[1, 2], [3, 6]]) == [2, 4]
    table = merge_tensor("tsvm", torch.zeros(2, 2), [diag(3, 1), diag(1, 2)], {}, name="lm_head.weight")
    assert table.tolist() == [[2, 0], [0, 1.5]]


def test_r_tsvm_clips_beyond_three_deviations() -> None:
    """One 16 among 16 entries: mean 1, variance (15 · 1 + 225)/16 = 15."""
    tau = torch.zeros(4, 4)
    tau[1, 2] = -16
    edge = 1 + 3 * math.sqrt(15)
    assert float(without_outliers(tau)[1, 2]) == pytest.approx(-edge)
    assert min(merged("r_tsvm", [tau])) == pytest.approx(-edge, abs=1e-4)


def test_r_tsvm_gives_denser_tasks_more_of_the_rank() -> None:
    """Densities 1 and 1/16 of R 4: 3.76 and .24; a task that changes nothing has none."""
    single = torch.zeros(4, 4)
    single[0, 0] = 2
    assert ranks_by_density([torch.ones(4, 4), single, torch.zeros(4, 4)]) == [3, 1, 0]


# ── twin merging ─────────────────────────────────────────────────────────────────────────────────────


def test_twin_adds_low_rank_experts_to_what_is_shared() -> None:
    """Shared .5 (diag(2, 0) + diag(0, 1)) = diag(1, .5); E_1 = diag(1, 0), E_2 = diag(-1, 0) at rank 1."""
    experts = [diag(2, 0), diag(0, 1)]
    assert merged("twin", experts, gamma=0.5, r=1, weight=[1, 0]) == [2, 0, 0, 0.5]
    assert merged("twin", experts, gamma=0.5, r=1, weight=[0, 1]) == [0, 0, 0, 0.5]
    assert merged("twin", experts, gamma=0.5, r=1) == [1, 0, 0, 0.5]


# ── ComPEFT and reversible merging ───────────────────────────────────────────────────────────────────

SPARSE = [4.0, -3.0, 1.0, 0, 0, 0, 0, 0, 0, 0]


def test_compeft_leaves_signs_and_one_magnitude() -> None:
    """Two of ten are kept: their mean magnitude is 3.5; all ten have mean .2 and variance 2.6 - .04."""
    assert merged("compeft", [SPARSE]) == [3.5, -3.5, 0, 0, 0, 0, 0, 0, 0, 0]
    assert merged("compeft", [SPARSE], alpha=1)[:3] == [1.6, -1.6, 0]
    assert merged("compeft", [SPARSE], alpha=2, scale="mean")[:3] == [7, -7, 0]


def test_compeft_keeps_no_zeros() -> None:
    """Five are kept, two of them 0: the mean magnitude is 8/5, and zeros stay."""
    assert merged("compeft", [SPARSE], density=0.5) == [1.6, -1.6, 1.6, 0, 0, 0, 0, 0, 0, 0]


def test_reversible_of_no_basis_is_the_mean() -> None:
    models = [
        torch.tensor([[0.0, 1], [2, 3]]),
        torch.tensor([[2.0, 1], [4, 3]]),
        torch.tensor([[4.0, 1], [6, 3]]),
    ]
    mean = merge_tensor("reversible", None, models, {"p": 0}, name="lora_A.weight")
    assert mean.tolist() == [[2, 1], [4, 3]]


def test_reversible_of_experts_on_a_line_needs_one_vector() -> None:
    models = [
        torch.tensor([[0.0, 1], [2, 3]]),
        torch.tensor([[2.0, 1], [4, 3]]),
        torch.tensor([[4.0, 1], [6, 3]]),
    ]
    for granularity in ("module", "position"):
        for expert, model in enumerate(models):
            params = {"p": 1, "expert": expert, "granularity": granularity}
            rebuilt = merge_tensor("reversible", None, models, params, name="lora_A.weight")
            assert torch.allclose(rebuilt, model, atol=1e-6)
