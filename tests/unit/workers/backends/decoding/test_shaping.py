"""Extras of sampling over hand-worked logits."""

import math

import pytest
import torch
from torch import Tensor

from orchestrator.domain.terms import SamplingExtras
from workers.backends.decoding.shaping import shaped

LOGITS = torch.tensor([2.0, 1.0, -1.0, 0.0])
PROMPT, OUTPUT = torch.tensor([3]), torch.tensor([0, 0, 2])


def after(*, temperature: float = 1.0, **extras: object) -> list[float]:
    row: Tensor = shaped(
        LOGITS,
        SamplingExtras.model_validate(extras),
        prompt=PROMPT,
        output=OUTPUT,
        temperature=temperature,
    )
    assert LOGITS.tolist() == [2.0, 1.0, -1.0, 0.0]
    return row.tolist()


def test_a_bias_is_added() -> None:
    assert after(logit_bias=((1, 3.0), (2, -100.0))) == [2.0, 4.0, -101.0, 0.0]


def test_frequency_counts_and_presence_does_not() -> None:
    """Token 0 was written twice, token 2 once; the prompt's token 3 counts for neither."""
    assert after(frequency_penalty=0.5) == [1.0, 1.0, -1.5, 0.0]
    assert after(presence_penalty=0.5) == [1.5, 1.0, -1.5, 0.0]


def test_repetition_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    assert after(repetition_penalty=2.0) == [1.0, 1.0, -2.0, 0.0]


def test_top_k_keeps_the_likeliest() -> None:
    assert after(top_k=2) == [2.0, 1.0, -math.inf, -math.inf]
    assert after(top_k=9) == LOGITS.tolist()


@pytest.mark.parametrize(("temperature", "kept"), [(1.0, 1), (2.0, 2), (4.0, 4)])
def test_min_p_is_a_share_of_the_likeliest_at_the_temperature(temperature: float, kept: int) -> None:
    """exp((l - 2) / T) >= 0.4 for l = 2, 1, 0, -1: at T = 1 1, .37; at T = 2 1, .61, .37; at T = 4 the last
    is exp(-3 / 4) = .47."""
    row = after(min_p=0.4, temperature=temperature)
    assert sum(math.isfinite(value) for value in row) == kept


def test_a_greedy_choice_is_never_cut_off() -> None:
    assert after(top_k=1, min_p=1.0, temperature=0.0) == LOGITS.tolist()
