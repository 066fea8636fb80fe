"""Fusion rules: their laws, cases worked by hand, and agreement with the formulas in dense float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from aggregators.logits import LOGIT_RULES, Fused, fuse
from aggregators.logits import dynamic as dynamic_module
from tests.unit.aggregators.logits.dense_rules import dense_fuse

SIZES = st.tuples(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 40), st.floats(0.1, 6))
QUICK = settings(max_examples=60, deadline=None)


def draw(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def trio(size: tuple[int, int, int, float], n_experts: int = 1) -> dict[str, Tensor]:
    seed, n_rows, width, scale = size
    return {
        "large": draw(seed, n_rows, width, scale=scale),
        "experts": draw(seed + 1, n_experts, n_rows, width, scale=scale),
        "base": draw(seed + 2, n_rows, width, scale=scale),
    }


def assert_dense(rule: str, logits: dict[str, Tensor], params: dict[str, Any]) -> None:
    """Logits within 1e-6 of their size, the same alphas, losses within 1e-6."""
    ours = fuse(rule, logits, params)
    fused, alphas, losses = dense_fuse(rule, {name: t.numpy() for name, t in logits.items()}, params)
    assert ours.logits.dtype == torch.float32
    np.testing.assert_allclose(ours.logits.double().numpy(), fused, rtol=1e-6, atol=1e-5)
    if alphas is None:
        assert ours.alphas is None
        assert ours.losses is None
    else:
        assert ours.alphas is not None
        assert ours.losses is not None
        np.testing.assert_allclose(ours.alphas.numpy(), alphas, atol=1e-6)
        np.testing.assert_allclose(ours.losses.double().numpy(), losses, rtol=1e-6, atol=1e-6)


# ── agreement with the formulas ──────────────────────────────────────────────────────────────────────


@QUICK
@given(SIZES, st.integers(1, 3), st.data())
def test_upscale_is_its_formula(
    size: tuple[int, int, int, float], n_experts: int, data: st.DataObject
) -> None:
    betas = data.draw(st.lists(st.floats(-3, 3, width=32), min_size=n_experts, max_size=n_experts))
    assert_dense("upscale", trio(size, n_experts), {"betas": betas})


@QUICK
@given(SIZES, st.integers(1, 3))
def test_dynamic_chooses_as_its_formula(size: tuple[int, int, int, float], n_experts: int) -> None:
    assert_dense("dynamic", trio(size, n_experts), {})


@settings(max_examples=10, deadline=None)
@given(SIZES)
def test_dynamic_joint_chooses_as_its_formula(size: tuple[int, int, int, float]) -> None:
    assert_dense("dynamic", trio(size, 2), {"mode": "joint"})


@QUICK
@given(SIZES, st.sampled_from([0.0, 0.01, 0.1, 0.5]), st.floats(0, 3), st.floats(0.3, 3))
def test_contrast_is_its_formula(size: tuple[int, int, int, float], a: float, b: float, tau_w: float) -> None:
    logits = trio(size)
    assert_dense(
        "contrast", {"large": logits["large"], "weak": logits["base"]}, {"a": a, "b": b, "tau_w": tau_w}
    )


@QUICK
@given(SIZES, st.integers(1, 4), st.sampled_from(["log", "prob"]), st.booleans())
def test_average_is_its_formula(
    size: tuple[int, int, int, float], n_models: int, mean: str, is_weighted: bool
) -> None:
    models = trio(size, n_models)["experts"]
    weights = [(at + 1) / (n_models * (n_models + 1) / 2) for at in range(n_models)] if is_weighted else None
    assert_dense("average", {"models": models}, {"mean": mean, "weights": weights})


def test_dynamic_is_the_same_whatever_is_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = trio((5, 7, 50, 3.0), 2)
    whole = fuse("dynamic", logits, {"mode": "joint"})

    monkeypatch.setattr(dynamic_module, "MOST_AT_ONCE", {"cpu": 120})
    parts = fuse("dynamic", logits, {"mode": "joint"})

    assert whole.alphas is not None
    assert parts.alphas is not None
    assert torch.equal(whole.alphas, parts.alphas)
    assert torch.equal(whole.logits, parts.logits)


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────


@QUICK
@given(SIZES)
def test_upscale_by_nothing_is_the_large_model(size: tuple[int, int, int, float]) -> None:
    logits = trio(size)
    assert torch.equal(fuse("upscale", logits, {"betas": [0]}).logits, logits["large"])


@QUICK
@given(SIZES, st.sampled_from(["upscale", "dynamic"]))
def test_an_expert_that_is_its_base_leaves_the_large_model(
    size: tuple[int, int, int, float], rule: str
) -> None:
    logits = trio(size)
    fused = fuse(rule, {**logits, "experts": logits["base"][None]})

    assert torch.equal(fused.logits, logits["large"])
    if rule == "dynamic":
        assert fused.alphas is not None
        assert fused.alphas.abs().max() == 0


@QUICK
@given(SIZES)
def test_a_large_model_that_is_the_base_becomes_the_expert(size: tuple[int, int, int, float]) -> None:
    """Unless the expert is so near its base that all alphas are equal within 1e-12."""
    logits = trio(size)
    tuned, untuned = logits["experts"][0].softmax(-1), logits["base"].softmax(-1)
    assume((tuned - untuned).abs().amax(-1).min() > 0.01)
    same = {**logits, "large": logits["base"]}

    for fused in (fuse("upscale", same), fuse("dynamic", same)):
        torch.testing.assert_close(fused.logits, logits["experts"][0], rtol=1e-5, atol=1e-5)
    chosen = fuse("dynamic", same)
    assert chosen.alphas is not None
    assert chosen.losses is not None
    assert chosen.alphas.tolist() == [[1.0]] * len(logits["base"])
    assert chosen.losses.max() < 1e-12


@QUICK
@given(SIZES, st.integers(2, 3), st.integers(0, 10**6))
def test_rows_do_not_see_each_other(size: tuple[int, int, int, float], n_experts: int, seed: int) -> None:
    logits = trio(size, n_experts)
    order = torch.randperm(len(logits["large"]), generator=torch.Generator().manual_seed(seed))
    whole = fuse("dynamic", logits)
    moved = fuse("dynamic", {name: value[..., order, :] for name, value in logits.items()})

    assert whole.alphas is not None
    assert moved.alphas is not None
    assert torch.equal(whole.alphas[order], moved.alphas)
    torch.testing.assert_close(whole.logits[order], moved.logits)


@QUICK
@given(SIZES)
def test_contrast_with_itself_or_with_a_1_writes_the_strong_models_text(
    size: tuple[int, int, int, float],
) -> None:
    logits = trio(size)
    strong, weak = logits["large"], logits["base"]
    likeliest = strong.argmax(-1)

    assert torch.equal(fuse("contrast", {"large": strong, "weak": strong}).logits.argmax(-1), likeliest)
    only = fuse("contrast", {"strong": strong, "weak": weak}, {"a": 1}).logits
    assert torch.equal(only.argmax(-1), likeliest)
    assert (only.isfinite().sum(-1) == (strong == strong.amax(-1, keepdim=True)).sum(-1)).all()


@QUICK
@given(SIZES, st.sampled_from(["log", "prob"]), st.integers(1, 4))
def test_the_average_of_one_model_is_that_model(size: tuple[int, int, int, float], mean: str, n: int) -> None:
    model = trio(size)["large"]
    fused = fuse("average", {"models": model.expand(n, *model.shape)}, {"mean": mean})
    torch.testing.assert_close(fused.logits, model.log_softmax(-1), rtol=1e-5, atol=1e-5)


@QUICK
@given(SIZES, st.sampled_from(["log", "prob"]))
def test_an_average_is_a_distribution_and_has_no_order(size: tuple[int, int, int, float], mean: str) -> None:
    models = trio(size, 3)["experts"]
    fused = fuse("average", {"models": models}, {"mean": mean, "weights": [0.5, 0.2, 0.3]}).logits
    turned = fuse("average", {"models": models.flip(0)}, {"mean": mean, "weights": [0.3, 0.2, 0.5]}).logits

    torch.testing.assert_close(fused.exp().sum(-1), torch.ones(len(fused)))
    torch.testing.assert_close(fused, turned, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", LOGIT_RULES)
def test_nothing_is_modified_in_place(rule: str) -> None:
    logits = logits_for(rule)
    before = {name: value.clone() for name, value in logits.items()}
    fuse(rule, logits)
    assert all(torch.equal(before[name], value) for name, value in logits.items())


# ── by hand, V = 2 ───────────────────────────────────────────────────────────────────────────────────


def test_upscale_by_hand() -> None:
    """z = [1, 0] + 2·([3, 1] − [1, 1]) − 1·([0, 1] − [1, 1]) = [1 + 4 + 1, 0]."""
    fused = fuse(
        "upscale",
        {"large": [[1.0, 0.0]], "experts": [[[3.0, 1.0]], [[0.0, 1.0]]], "base": [[1.0, 1.0]]},
        {"betas": [2, -1]},
    )
    assert fused.logits.tolist() == [[6.0, 0.0]]


def test_dynamic_by_hand() -> None:
    """Q = (1/2, 1/2), Q_t = (3/4, 1/4): KL(Q_t‖Q) = .130812, KL(Q‖Q_t) = .143841.

    With P = (1/2, 1/2), too, alpha 1 gives P~ = Q_t and J = 0. With P = (9/10, 1/10), alpha 2 gives the odds
    9·3², P~ = (81/82, 1/82), KL(P~‖P) = .066295, KL(P‖P~) = .126632, J = (.066295 − .130812)² + (.126632 −
    .143841)² = .004459; smaller alphas leave more.
    """
    log3 = math.log(3)
    fused = fuse(
        "dynamic",
        {
            "large": [[0.0, 0.0], [2 * log3, 0.0]],
            "experts": [[[log3, 0.0], [log3, 0.0]]],
            "base": [[0.0, 0.0], [0.0, 0.0]],
        },
    )

    assert fused.alphas is not None
    assert fused.losses is not None
    assert fused.alphas.tolist() == [[1.0], [2.0]]
    assert fused.losses[0] < 1e-12
    assert float(fused.losses[1]) == pytest.approx(0.004459, abs=1e-6)
    np.testing.assert_allclose(fused.logits.numpy(), [[log3, 0], [4 * log3, 0]], atol=1e-6)


def test_equal_experts_are_a_tie_that_the_earlier_one_wins() -> None:
    """In `joint`, every way to split the same sum is equal: all of it goes to the first."""
    base = draw(1, 2, 30)
    expert = draw(2, 2, 30)
    logits = {"large": base, "experts": torch.stack([expert, expert]), "base": base}

    for mode in ("one", "joint"):
        fused = fuse("dynamic", logits, {"mode": mode})
        assert fused.alphas is not None
        assert fused.alphas.tolist() == [[1.0, 0.0]] * 2


def test_contrast_by_hand() -> None:
    """s = log(.6, .3, .1), w = log(.2, .3, .5), b = 1, a = .4: .1 < .4·.6 is out.

    2 log .6 − log .2 = log 1.8, 2 log .3 − log .3 = log .3.
    """
    fused = fuse(
        "contrast",
        {"large": [[math.log(0.6), math.log(0.3), math.log(0.1)]], "weak": [np.log([0.2, 0.3, 0.5])]},
        {"a": 0.4, "b": 1},
    )
    np.testing.assert_allclose(fused.logits[0, :2].numpy(), [math.log(1.8), math.log(0.3)], atol=1e-6)
    assert fused.logits[0, 2] == -math.inf


def test_average_by_hand() -> None:
    """p = (.8, .2) and (.2, .8): the geometric mean at weights 3/4, 1/4 has the odds 4^(3/4 − 1/4) = 2, the
    arithmetic one .65."""
    models = np.log([[[0.8, 0.2]], [[0.2, 0.8]]])
    geometric = fuse("average", {"models": models}, {"weights": [0.75, 0.25]})
    arithmetic = fuse("average", {"models": models}, {"weights": [0.75, 0.25], "mean": "prob"})

    np.testing.assert_allclose(geometric.logits.exp().numpy(), [[2 / 3, 1 / 3]], atol=1e-6)
    np.testing.assert_allclose(arithmetic.logits.exp().numpy(), [[0.65, 0.35]], atol=1e-6)


# ── banned tokens ────────────────────────────────────────────────────────────────────────────────────


def logits_for(rule: str, *, n_rows: int = 3, width: int = 20) -> dict[str, Tensor]:
    roles = LOGIT_RULES[rule].roles
    return {
        role.name: draw(at, *([2] if role.many else []), n_rows, width)
        for at, role in enumerate(roles, start=7)
    }


@pytest.mark.parametrize("mode", ["one", "joint"])
@pytest.mark.parametrize("by", ["large", "base", "experts"])
def test_dynamic_leaves_banned_tokens_out_of_its_divergences(by: str, mode: str) -> None:
    logits = logits_for("dynamic", width=21)
    logits[by][..., -1] = -math.inf
    allowed = {name: value[..., :-1] for name, value in logits.items()}

    fused, rest = fuse("dynamic", logits, {"mode": mode}), fuse("dynamic", allowed, {"mode": mode})

    assert fused.alphas is not None
    assert rest.alphas is not None
    assert (fused.logits[:, -1] == -math.inf).all()
    torch.testing.assert_close(fused.logits[:, :-1], rest.logits)
    assert torch.equal(fused.alphas, rest.alphas)


@pytest.mark.parametrize("rule", LOGIT_RULES)
def test_a_token_that_any_member_bans_is_banned_and_no_number_is_nan(rule: str) -> None:
    for name in logits_for(rule):
        logits = logits_for(rule)
        logits[name][..., 0, 4] = -math.inf
        fused = fuse(rule, logits).logits
        assert not fused.isnan().any()
        assert fused[0, 4] == -math.inf
        assert torch.equal(fused[1:], fuse(rule, logits_for(rule)).logits[1:])


def test_members_without_weight_ban_nothing() -> None:
    logits = logits_for("upscale")
    logits["experts"][1, :, 3] = -math.inf
    assert fuse("upscale", logits, {"betas": [1, 0]}).logits.isfinite().all()

    models = logits_for("average")["models"]
    models[1, :, 3] = -math.inf
    assert fuse("average", {"models": models}, {"weights": [1, 0]}).logits.isfinite().all()
    mixed = fuse("average", {"models": models}, {"mean": "prob"}).logits
    assert mixed.isfinite().all()


def test_a_row_that_is_not_a_number_spoils_itself_only() -> None:
    """The engine skips the checks and fails that row."""
    row = LOGIT_RULES["dynamic"]
    logits = logits_for("dynamic")
    good = row.fuse(logits, row.options())
    logits["experts"][1, 2, 0] = math.nan
    spoilt: Fused = row.fuse(logits, row.options())

    assert spoilt.logits[2].isnan().any()
    assert torch.equal(spoilt.logits[:2], good.logits[:2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64])
def test_arithmetic_is_float32_whatever_comes(dtype: torch.dtype) -> None:
    logits = {name: (value * 3).to(dtype) for name, value in logits_for("upscale").items()}
    fused = fuse("upscale", logits)
    assert fused.logits.dtype == torch.float32
    assert torch.equal(fused.logits, fuse("upscale", {n: v.float() for n, v in logits.items()}).logits)
