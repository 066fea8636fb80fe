"""Adapters: methods act on products; twin, reversible and ComPEFT stores give back what they should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aggregators.weights import MERGE_METHODS, merge_tensor
from aggregators.weights.adapters import merged_adapter, merged_product
from aggregators.weights.compeft import CompeftOptions, compress, pack, unpack
from aggregators.weights.lora import Lora, concatenate, factor, fold, pad, product, truncate
from aggregators.weights.reversible import rebuild, store
from aggregators.weights.svd import FEW, leading_triplets, polar_factor
from aggregators.weights.twin import compose, rounded
from orchestrator.errors import IncompatibleModelsError, MergeError

LAYER = "model.layers.0.self_attn.q_proj.weight"
few = settings(max_examples=20, deadline=None)


def lora(seed: int, rank: int = 2, n_out: int = 6, n_in: int = 5, scale: float = 2.0) -> Lora:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, n_in, generator=generator)
    return Lora(a, torch.randn(n_out, rank, generator=generator), scale)


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=2e-5)


# ── merges of adapters ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", sorted(m for m, row in MERGE_METHODS.items() if row.takes_products))
def test_methods_act_on_products_as_on_task_vectors(method: str) -> None:
    adapters = [lora(0), lora(1, rank=3, scale=0.5)]
    base = torch.randn(6, 5)
    models = [base + product(adapter) for adapter in adapters]
    whole = merge_tensor(method, base, models, {}, name=LAYER)
    if method == "linear":
        whole = merge_tensor("task_arithmetic", base, models, {"normalize": True}, name=LAYER)
    assert close(base + merged_product(method, adapters, {}, name=LAYER), whole)


@given(rank_1=st.integers(0, 4), rank_2=st.integers(1, 4), w=st.floats(-2, 2))
@few
def test_linear_merges_as_adapters_are_exact(rank_1: int, rank_2: int, w: float) -> None:
    adapters = [lora(1, rank_1), lora(2, rank_2, scale=0.25)]
    for method, params in (
        ("task_arithmetic", {"weight": [w, 1], "lam": 0.5}),
        ("linear", {"weight": [1, 3]}),
    ):
        joined = merged_adapter(method, adapters, params, name=LAYER)
        assert joined.rank <= rank_1 + rank_2
        assert close(product(joined), merged_product(method, adapters, params, name=LAYER))


def test_the_mean_of_products_is_no_product_of_means() -> None:
    one, other = lora(0), lora(1)
    means = Lora((one.a + other.a) / 2, (one.b + other.b) / 2, 2.0)
    joined = merged_adapter("linear", [one, other], {}, name=LAYER)
    assert close(product(joined), (product(one) + product(other)) / 2)
    assert not close(product(joined), product(means))


def test_other_methods_are_cut_to_a_rank() -> None:
    adapters = [lora(0), lora(1)]
    whole = merged_product("ties", adapters, {}, name=LAYER)
    assert close(product(merged_adapter("ties", adapters, {}, name=LAYER, rank=5)), whole)
    u, s, vh = torch.linalg.svd(whole)
    nearest = (u[:, :2] * s[:2]) @ vh[:2]
    assert close(product(merged_adapter("ties", adapters, {}, name=LAYER, rank=2)), nearest)
    with pytest.raises(MergeError, match=r"Set rank, or output: full"):
        merged_adapter("ties", adapters, {}, name=LAYER)


def test_exact_merges_are_cut_only_where_they_must_be() -> None:
    adapters = [lora(0), lora(1)]
    assert merged_adapter("linear", adapters, {}, name=LAYER, rank=4).rank == 4
    cut = merged_adapter("linear", adapters, {}, name=LAYER, rank=3)
    whole = merged_product("linear", adapters, {}, name=LAYER)
    assert cut.rank == 3
    assert close(product(cut), product(factor(whole, 3, name=LAYER)))


@pytest.mark.parametrize("method", ["slerp", "reversible", "compeft"])
def test_methods_that_need_more_than_products_say_so(method: str) -> None:
    with pytest.raises(MergeError, match=r"does not act on the products.*These do: breadcrumbs"):
        merged_product(method, [lora(0)], {}, name=LAYER)


def test_adapters_of_other_sizes_are_refused() -> None:
    with pytest.raises(IncompatibleModelsError, match=LAYER):
        merged_product("linear", [lora(0), lora(1, n_in=4)], {}, name=LAYER)
    with pytest.raises(IncompatibleModelsError, match=LAYER):
        concatenate([Lora(torch.zeros(2, 5), torch.zeros(6, 3))], [1.0], name=LAYER)


def test_padding_and_folding_change_no_product() -> None:
    adapter = lora(3)
    assert pad(adapter, 8).rank == 8
    assert torch.equal(product(pad(adapter, 8)), product(adapter))
    assert fold(adapter).scale == 1
    assert torch.equal(product(fold(adapter)), product(adapter))


def test_factors_share_the_singular_values_and_have_fixed_signs() -> None:
    matrix = torch.diag(torch.tensor([4.0, -9.0]))
    found = factor(matrix, 1, name=LAYER)
    assert close(found.b, torch.tensor([[0.0], [3.0]]))
    assert close(found.a, torch.tensor([[0.0, -3.0]]))
    assert close(product(truncate(lora(0), 2)), product(lora(0)))


# ── twin ─────────────────────────────────────────────────────────────────────────────────────────────


def test_composed_adapters_are_the_weighted_sum_of_experts() -> None:
    experts = [{"q": lora(0), "v": lora(1)}, {"q": lora(2, rank=3)}, {"v": lora(4)}]
    composed = compose(experts, [0.5, 0.31, 0.0])
    assert set(composed) == {"q", "v"}
    assert composed["q"].rank == 5
    assert composed["v"].rank == 2  # who weighs 0 takes no rank
    assert close(product(composed["q"]), 0.5 * product(experts[0]["q"]) + 0.3 * product(experts[1]["q"]))
    exact = compose(experts, [0.5, 0.31, 0.0], step=None)
    assert close(product(exact["q"]), 0.5 * product(experts[0]["q"]) + 0.31 * product(experts[1]["q"]))


def test_weights_are_rounded_to_steps_so_that_mixtures_recur() -> None:
    assert rounded([0.31, 0.649, 0.04]) == (0.3, 0.6, 0.0)


# ── reversible ───────────────────────────────────────────────────────────────────────────────────────


@given(n=st.integers(1, 5), rank=st.integers(1, 3), seed=st.integers(0, 999))
@few
def test_reversible_rebuilds_exactly_from_enough_vectors(n: int, rank: int, seed: int) -> None:
    adapters = [lora(seed + i, rank, scale=1 + i / 4) for i in range(n)]
    for granularity, p in (("module", n - 1), ("position", min(rank, n - 1)), ("position", n + rank)):
        stored = store(adapters, p, granularity, name=LAYER)  # type: ignore[arg-type]
        for i, adapter in enumerate(adapters):
            rebuilt = rebuild(stored, i)
            assert close(rebuilt.a, adapter.a)
            assert close(rebuilt.b, adapter.b * adapter.scale)


def test_reversible_pads_smaller_ranks() -> None:
    adapters = [lora(0, rank=1), lora(1, rank=3)]
    stored = store(adapters, 1, name=LAYER)
    assert close(product(rebuild(stored, 0)), product(adapters[0]))
    assert stored.rank == 3


def test_reversible_costs_what_it_keeps() -> None:
    """Module: (p + 1) / n and n p coefficients; position: (r + r p + p n) / (r n)."""
    adapters = [lora(i, rank=2, n_out=300, n_in=200) for i in range(5)]
    assert store(adapters, 1, name=LAYER).cost == pytest.approx(2 / 5 + 5 / (5 * 1000))
    assert store(adapters, 1, "position", name=LAYER).cost == pytest.approx((2 + 2 + 5) / 10)
    assert store(adapters, 9, name=LAYER).cost == pytest.approx(1 + 4 / 1000)


def test_reversible_by_module_errs_less_at_equal_cost() -> None:
    """Sixteen adapters around a few common ones: more of them fit into a basis per module."""
    commons = [lora(100 + i, rank=8, n_out=64, n_in=64) for i in range(4)]
    adapters = []
    for i in range(16):
        weights = torch.rand(4, generator=torch.Generator().manual_seed(i)).tolist()
        own = lora(i, rank=8, n_out=64, n_in=64)
        a = sum(w * c.a for w, c in zip(weights, commons, strict=True)) + 0.3 * own.a
        b = sum(w * c.b for w, c in zip(weights, commons, strict=True)) + 0.3 * own.b
        adapters.append(Lora(a, b))
    by_position = store(adapters, 2, "position", name=LAYER)
    by_module = store(adapters, int(by_position.cost * 16) - 1, name=LAYER)
    assert by_module.cost <= by_position.cost + 0.01
    assert _error(by_module, adapters) < _error(by_position, adapters)


def _error(stored: object, adapters: list[Lora]) -> float:
    total = 0.0
    for i, adapter in enumerate(adapters):
        rebuilt = rebuild(stored, i)  # type: ignore[arg-type]
        total += float((rebuilt.a - adapter.a).square().sum() + (rebuilt.b - adapter.b).square().sum())
    return total


def test_reversible_names_the_experts_that_it_has() -> None:
    with pytest.raises(MergeError, match=r"no expert 2 among 2.*0 to 1"):
        rebuild(store([lora(0), lora(1)], 1, name=LAYER), 2)
    with pytest.raises(MergeError, match="no adapters"):
        store([], 1, name=LAYER)


# ── ComPEFT ──────────────────────────────────────────────────────────────────────────────────────────


@given(seed=st.integers(0, 999), density=st.floats(0.01, 1))
@few
def test_stored_signs_come_back(seed: int, density: float) -> None:
    adapter = lora(seed)
    options = CompeftOptions(density=density)
    back = unpack(pack({"lora_B": adapter.b, "lora_A": adapter.a}, options))
    flat = torch.cat([adapter.a.reshape(-1), adapter.b.reshape(-1)])
    expected = compress(flat, options).values()
    assert torch.equal(torch.cat([back["lora_A"].reshape(-1), back["lora_B"].reshape(-1)]), expected)
    assert torch.equal(compress(expected, options).values(), expected)


def test_a_store_is_far_smaller_than_half_precision() -> None:
    tensors = {"a": torch.randn(16, 2000), "b": torch.randn(2000, 16)}
    size = len(pack(tensors, CompeftOptions()))
    assert 2 * 64000 / size >= 16  # .72 bits of mask and .2 of signs, instead of 16


@pytest.mark.parametrize("damage", ["cut", "flip", "head", "magic", "empty", "shapes", "huge"])
def test_stores_that_are_damaged_are_refused(damage: str) -> None:
    data = pack({"a": torch.randn(50, 50)}, CompeftOptions())
    broken = {
        "cut": data[:-20],
        "flip": data[:200] + bytes([data[200] ^ 255]) + data[201:],
        "head": data[:21] + b"[" + data[22:],
        "magic": b"x" + data[1:],
        "empty": b"",
        "shapes": data.replace(b"[50,50]", b"[50,99]"),
        "huge": data.replace(b"[50,50]", b"[9e99] "),
    }[damage]
    with pytest.raises(MergeError, match="no store of compressed tensors") as caught:
        unpack(broken)
    assert "\n" not in str(caught.value)


def test_nothing_and_no_numbers_are_not_stored() -> None:
    with pytest.raises(MergeError, match="nothing to compress"):
        pack({}, CompeftOptions())
    with pytest.raises(MergeError, match="'a' has NaN"):
        pack({"a": torch.tensor([float("nan")])}, CompeftOptions())


# ── decompositions of large matrices ─────────────────────────────────────────────────────────────────


def decaying(n: int, m: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(n, 40, generator=generator, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(m, 40, generator=generator, dtype=torch.float64)).Q
    return (u * 0.8 ** torch.arange(40.0)) @ v.T


@pytest.mark.parametrize("k", [8, 150])
def test_large_matrices_are_decomposed_as_small_ones(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are lowered: one by random projections, one by the Gram matrix."""
    matrix = decaying(200, 160)
    exact = leading_triplets(matrix, k, name=LAYER)
    monkeypatch.setattr("aggregators.weights.svd.EXACT_UP_TO", 100)
    found = leading_triplets(matrix, k, name=LAYER)
    assert (k <= FEW * 160) == (k == 8)
    assert torch.allclose((exact.u * exact.s) @ exact.v.T, (found.u * found.s) @ found.v.T, atol=1e-7)
    assert torch.equal(found.s, leading_triplets(matrix, k, name=LAYER).s)


def test_polar_factors_of_large_matrices_are_those_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = decaying(200, 160)[:, :30]
    exact = polar_factor(matrix)
    monkeypatch.setattr("aggregators.weights.svd.EXACT_UP_TO", 20)
    assert torch.allclose(polar_factor(matrix), exact, atol=1e-6)
