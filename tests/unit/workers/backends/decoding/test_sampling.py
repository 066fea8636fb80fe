import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from orchestrator.domain.assignments import Sampling
from workers.backends.decoding.sampling import greedy_tokens, pick_tokens

PROBS = [0.2, 0.5, 0.3]


def pick(uniform: float, *, top_p: float = 1.0, temperature: float = 1.0) -> int:
    """One draw from probabilities .2, .5, .3; ranked: token 1 (.5), 2 (.3), 0 (.2)."""
    return int(pick_rows(torch.tensor([PROBS]).log(), [uniform], top_p=top_p, temperature=temperature))


def pick_rows(logits: Tensor, uniforms: list[float], *, top_p: float, temperature: float) -> Tensor:
    n_rows = len(uniforms)
    return pick_tokens(
        logits,
        temperature=torch.full((n_rows,), temperature),
        top_p=torch.full((n_rows,), top_p),
        uniforms=torch.tensor(uniforms),
    )


def test_uniform_draw_is_inverted_over_ranked_tokens() -> None:
    assert [pick(u) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.999)] == [1, 1, 2, 2, 0, 0]


def test_nucleus_keeps_the_smallest_set_that_reaches_top_p() -> None:
    """top_p .5 keeps token 1 alone; .6 keeps tokens 1 and 2, which share the draw 5 to 3."""
    assert pick(0.999, top_p=0.5) == 1
    assert [pick(u, top_p=0.6) for u in (0.61, 0.63, 0.999)] == [1, 2, 2]


def test_low_temperature_picks_the_likeliest() -> None:
    assert pick(0.999, temperature=0.01) == 1


@pytest.mark.parametrize("temperature", [1e-4, 1e-5, 1e-6, 1e-30, 1e-38, 1e-45])
def test_a_temperature_too_small_to_divide_by_picks_the_likeliest(temperature: float) -> None:
    assert [pick(u, temperature=temperature) for u in (0.0, 0.5, 0.999)] == [1, 1, 1]
    assert Sampling(temperature=temperature).temperature in (temperature, 0.0)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_rows_without_usable_logits_leave_the_others_alone(odd: float) -> None:
    """The rows beside it draw token 1 (.5) and token 0 (.2), as they do alone."""
    rows = torch.tensor([PROBS, [1.0, 1.0, 1.0], PROBS]).log()
    rows[1] = odd
    found = pick_rows(rows, [0.1, 0.5, 0.999], top_p=1.0, temperature=1.0).tolist()
    assert (found[0], found[2]) == (1, 0)
    assert 0 <= found[1] < 3


@given(st.lists(st.floats(0, 0.999), min_size=2, max_size=6), st.integers(0, 100), st.floats(0.1, 1))
def test_a_row_does_not_depend_on_its_neighbours(uniforms: list[float], seed: int, top_p: float) -> None:
    logits = torch.randn(len(uniforms), 11, generator=torch.Generator().manual_seed(seed))
    together = pick_rows(logits, uniforms, top_p=top_p, temperature=0.8)
    alone = [pick_rows(logits[i : i + 1], [u], top_p=top_p, temperature=0.8) for i, u in enumerate(uniforms)]
    assert together.tolist() == torch.cat(alone).tolist()


def test_rows_without_usable_logits_are_told_apart() -> None:
    nan, inf = float("nan"), float("inf")
    tokens, usable = greedy_tokens(torch.tensor([[1.0, 3.0, 2.0], [1.0, nan, 2.0], [-inf, -inf, -inf]]))
    assert tokens[0] == 1
    assert usable.tolist() == [True, False, False]
