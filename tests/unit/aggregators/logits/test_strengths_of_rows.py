"""Strengths of each row's own: a batch of them is what each row gives by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aggregators.logits import LOGIT_RULES, fuse, read_rule_options
from aggregators.logits.shifts import NEVER

SEEDS = st.integers(0, 10**6)
QUICK = settings(max_examples=60, deadline=None)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def rows_of(logits: dict[str, Tensor], at: int) -> dict[str, Tensor]:
    return {name: t[:, at : at + 1] if t.ndim == 3 else t[at : at + 1] for name, t in logits.items()}


def blend(rule: str, logits: dict[str, Tensor], strengths: Tensor, **params: object) -> Tensor:
    row = LOGIT_RULES[rule]
    assert row.blend is not None
    return row.blend(logits, read_rule_options(rule, params), strengths).logits


@QUICK
@given(SEEDS, st.integers(1, 4), st.integers(1, 3))
def test_upscale_at_betas_of_each_row(seed: int, n_rows: int, n_experts: int) -> None:
    logits = {
        "large": draw(seed, n_rows, 9),
        "experts": draw(seed + 1, n_experts, n_rows, 9),
        "base": draw(seed + 2, n_rows, 9),
    }
    betas = (draw(seed + 3, n_rows, n_experts) * 2).round() / 2
    betas[0] = 0.0
    found = blend("upscale", logits, betas)
    for at in range(n_rows):
        alone = fuse("upscale", rows_of(logits, at), {"betas": betas[at].tolist()}).logits
        torch.testing.assert_close(found[at : at + 1], alone)


@QUICK
@given(SEEDS, st.integers(1, 4), st.integers(1, 3), st.sampled_from(["log", "prob"]))
def test_average_at_weights_of_each_row(seed: int, n_rows: int, n_models: int, mean: str) -> None:
    logits = {"models": draw(seed, n_models, n_rows, 9)}
    weights = torch.softmax(draw(seed + 1, n_rows, n_models), -1)
    weights[0] = torch.eye(n_models)[0]
    found = blend("average", logits, weights, mean=mean)
    for at in range(n_rows):
        params = {"weights": weights[at].tolist(), "mean": mean}
        alone = fuse("average", rows_of(logits, at), params).logits
        torch.testing.assert_close(found[at : at + 1], alone)


def test_who_has_no_strength_in_a_row_bans_nothing_there() -> None:
    """The second expert bans token 0, the base token 1; the first row is the large model's, the second leaves
    the second expert out."""
    large, base = torch.zeros(3, 3), torch.zeros(3, 3)
    experts = torch.zeros(2, 3, 3)
    experts[1, :, 0] = NEVER
    base[:, 1] = NEVER
    betas = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    found = blend("upscale", {"large": large, "experts": experts, "base": base}, betas)
    assert (found == NEVER).tolist() == [[False, False, False], [False, True, False], [True, True, False]]

    models = torch.zeros(2, 2, 3)
    models[1, :, 0] = NEVER
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    for mean, banned in (("log", True), ("prob", False)):
        found = blend("average", {"models": models}, weights, mean=mean)
        assert (found == NEVER).tolist() == [[False] * 3, [banned, False, False]]


@pytest.mark.parametrize("rule", ["dynamic", "contrast"])
def test_rules_that_choose_or_have_no_strengths_take_none(rule: str) -> None:
    assert LOGIT_RULES[rule].blend is None
