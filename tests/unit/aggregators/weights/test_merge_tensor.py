"""Hand-worked cases of the methods on four numbers, and what `merge_tensor` refuses."""

import math

import pytest
import torch
from torch import Tensor

from aggregators.weights import MERGE_METHODS, merge_tensor
from orchestrator.errors import ConfigError, IncompatibleModelsError, MergeError, UnknownNameError

NAME = "model.layers.0.mlp.up_proj.weight"


def merged(method: str, base: list[float] | None, models: list[list[float]], **params: object) -> list[float]:
    result = merge_tensor(
        method, None if base is None else tensor(base), [tensor(m) for m in models], params, name=NAME
    )
    return [round(float(x), 5) for x in result]


def tensor(values: list[float], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def test_linear_divides_by_the_weights() -> None:
    assert merged("linear", None, [[1, 2], [4, 8]], weight=[2, 1]) == [2, 4]


def test_linear_without_normalize_adds() -> None:
    assert merged("linear", None, [[1, 2], [4, 8]], weight=[2, -1], normalize=False) == [-2, -4]


def test_slerp_keeps_the_norms_of_what_it_turns() -> None:
    """a = (1, 0), b = (0, 2), a right angle: half way is sin 45° (a + b)."""
    assert merged("slerp", [1, 0], [[0, 2]], t=0.5) == [round(math.sqrt(0.5), 5), round(math.sqrt(2), 5)]


def test_slerp_of_parallels_is_a_line() -> None:
    assert merged("slerp", [1, 1], [[3, 3]], t=0.25) == [1.5, 1.5]


def test_slerp_from_zero_has_a_right_angle() -> None:
    """A norm of 0 is not divided by: the cosine is 0, and b is scaled by sin(45°)."""
    assert merged("slerp", [0, 0], [[2, 0]], t=0.5) == [round(math.sqrt(2), 5), 0]


def test_task_arithmetic_adds_task_vectors() -> None:
    """tau = (1, 0) and (0, 4): 1 + .5(2 · 1), 1 + .5(1 · 4)."""
    assert merged("task_arithmetic", [1, 1], [[2, 1], [1, 5]], weight=[2, 1], lam=0.5) == [2, 3]


def test_ties_trims_elects_and_divides_by_who_agrees() -> None:
    """tau_1 = (4, -1, 2, 0) keeps (4, 0, 2, 0), tau_2 = (-1, 3, 4, 0) keeps (0, 3, 4, 0)."""
    models = [[4, -1, 2, 0], [-1, 3, 4, 0]]
    assert merged("ties", [0, 0, 0, 0], models, density=0.5) == [4, 3, 3, 0]
    assert merged("ties", [0, 0, 0, 0], models, density=0.5, normalize=False) == [4, 3, 6, 0]
    assert merged("ties", [1, 1, 1, 1], [[5, 0, 3, 1], [0, 4, 5, 1]], density=1.0, weight=[1, 3]) == [
        *(5, 4, 4.5, 1)  # 4 against -3; -1 against 9; (2 + 12)/4
    ]


def test_ties_counts_a_sum_of_zero_as_positive() -> None:
    assert merged("ties", [0], [[2], [-2]], density=1) == [2]


def test_ties_keeps_the_earlier_of_equals_and_at_least_one() -> None:
    assert merged("ties", [0, 0, 0], [[1, -1, 1]], density=0.34) == [1, 0, 0]
    assert merged("ties", [0, 0, 0], [[1, 1, 1]], density=0.7) == [1, 1, 0]
    assert merged("ties", [0, 0, 0], [[1, 1, 1]], density=0) == [0, 0, 0]


# ── what holds for all ───────────────────────────────────────────────────────────────────────────────


def test_lists_of_each_model_may_be_given_for_weight_and_density() -> None:
    assert merged("ties", [0, 0], [[2, 1], [4, 8]], density=[0.5, 1], weight=[1, 1]) == [3, 8]
    with pytest.raises(MergeError, match=r"'density' has 3 values for 2 models"):
        merged("ties", [0, 0], [[2, 1], [4, 8]], density=[0.5, 1, 1])


def test_lambda_may_be_called_by_its_name_in_recipes() -> None:
    assert merged("task_arithmetic", [0.0], [[2.0]], **{"lambda": 0.5}) == [1]
    with pytest.raises(MergeError, match="same option"):
        merged("task_arithmetic", [0.0], [[2.0]], lam=1, **{"lambda": 0.5})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_result_has_the_dtype_of_the_base_or_the_one_asked_for(dtype: torch.dtype) -> None:
    base, model = tensor([1, 2], dtype), tensor([3, 2], torch.float32)
    assert merge_tensor("ties", base, [model], {}, name=NAME).dtype == dtype
    assert merge_tensor("ties", base, [model], {}, name=NAME, out_dtype=torch.float32).dtype == torch.float32


def test_integers_are_the_bases() -> None:
    base, model = torch.tensor([1, 2]), torch.tensor([3, 4])
    assert merge_tensor("ties", base, [model], {}, name=NAME) is base
    assert merge_tensor("linear", None, [model, model], {}, name=NAME) is model
    with pytest.raises(MergeError, match="integers, which differ"):
        merge_tensor("linear", None, [base, model], {}, name=NAME)


def test_what_no_model_changes_is_the_bases_to_the_bit() -> None:
    base = torch.tensor([0.1, -0.0, 1e-42])
    result = merge_tensor("slerp", base, [base.clone()], {"t": 0.3}, name=NAME)
    assert result.view(torch.int32).tolist() == base.view(torch.int32).tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_input_that_is_no_number_ends_the_merge_by_name(value: float) -> None:
    with pytest.raises(MergeError, match=rf"'{NAME}': 1 of 2 numbers of model 1 are NaN or infinite"):
        merged("ties", [0, 0], [[value, 1]])
    with pytest.raises(MergeError, match=r"numbers of the base"):
        merged("ties", [value, 0], [[1, 1]])


def test_a_result_beyond_its_dtype_ends_the_merge() -> None:
    half = tensor([60000.0], torch.float16)
    with pytest.raises(MergeError, match=r"of the result of 'linear'"):
        merge_tensor("linear", None, [half], {"weight": 2, "normalize": False}, name=NAME)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn])
def test_other_kinds_of_numbers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(IncompatibleModelsError, match=NAME):
        merge_tensor("linear", None, [torch.zeros(2).to(dtype)], {}, name=NAME)


def test_integers_beside_floats_are_refused() -> None:
    with pytest.raises(IncompatibleModelsError, match="int64"):
        merge_tensor("ties", torch.zeros(2), [torch.zeros(2, dtype=torch.int64)], {}, name=NAME)


def test_shapes_must_be_equal() -> None:
    with pytest.raises(IncompatibleModelsError, match=r"\(2,\), \(1, 2\)"):
        merge_tensor("ties", torch.zeros(2), [torch.zeros(1, 2)], {}, name=NAME)


def test_weights_that_cannot_be_are_refused() -> None:
    with pytest.raises(MergeError, match=r"weights sum to 0"):
        merged("linear", None, [[1], [2]], weight=[1, -1])
    with pytest.raises(MergeError, match=r"weight -1.0 is negative"):
        merged("ties", [0], [[1], [2]], weight=[1, -1])
    assert merged("ties", [0], [[1], [2]], weight=[1, -1], normalize=False, density=1) == [-2]


def test_a_base_and_the_right_number_of_models_are_asked_for() -> None:
    with pytest.raises(MergeError, match="needs a base model"):
        merged("ties", None, [[1]])
    with pytest.raises(MergeError, match=r"exactly 1 model\(s\) beside the base, not 2"):
        merged("slerp", [1], [[1], [1]])
    with pytest.raises(MergeError, match=r"at least 1"):
        merged("linear", None, [])


def test_unknown_methods_and_options_are_named_with_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'ties'"):
        merged("tie", [1], [[1]])
    with pytest.raises(ConfigError, match=r"merge method 'ties' has no option 'densty'.*Valid: density, lam"):
        merged("ties", [1], [[1]], densty=1)
    with pytest.raises(ConfigError, match="option 'weight"):
        merged("ties", [1], [[1]], weight=math.nan)


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_empty_tensors_stay_empty(method: str) -> None:
    base = torch.zeros(0, 4)
    models = [torch.zeros(0, 4)] * MERGE_METHODS[method].least
    assert merge_tensor(method, base, models, {}, name=NAME).shape == (0, 4)


@pytest.mark.parametrize("method", MERGE_METHODS)
def test_every_method_links_to_its_source(method: str) -> None:
    assert MERGE_METHODS[method].paper.startswith("https://")
