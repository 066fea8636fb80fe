"""Operations of forward passes, worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.compute import PassCost, total_flop

TINY = PassCost(body=100, head=10, n_layers=2, attention_width=3)
tokens = st.integers(0, 500)


def test_a_response_reads_its_prompt_and_all_it_wrote_but_the_last_token() -> None:
    """Prompt 3, written 2: 4 tokens read, 2·100·4 = 800; head 2·10·2 = 40; positions attended to
    1 + 2 + 3 + 4 = 10, 4·2·3·10 = 240."""
    assert TINY.flop(prompt_tokens=3, completion_tokens=2) == 800 + 40 + 240


def test_a_prompt_alone_is_read_and_nothing_written() -> None:
    """3 tokens: 2·100·3 + 4·2·3·6."""
    assert TINY.flop(prompt_tokens=3, completion_tokens=0) == 600 + 144


def test_without_layers_the_attention_is_left_out() -> None:
    assert PassCost(body=100).flop(prompt_tokens=5, completion_tokens=1) == 2 * 100 * 5


@given(tokens, tokens)
def test_models_that_write_together_cost_the_sum(prompt: int, written: int) -> None:
    other = PassCost(body=7, head=3, n_layers=1, attention_width=5)
    apart = sum(m.flop(prompt_tokens=prompt, completion_tokens=written) for m in (TINY, other))
    assert total_flop([TINY, other], prompt_tokens=prompt, completion_tokens=written) == apart


@given(tokens, st.integers(1, 500))
def test_more_tokens_cost_more(prompt: int, written: int) -> None:
    more = TINY.flop(prompt_tokens=prompt, completion_tokens=written + 1)
    assert more > TINY.flop(prompt_tokens=prompt, completion_tokens=written)


@pytest.mark.parametrize("field", ["body", "head", "n_layers", "attention_width"])
def test_no_size_is_negative(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        PassCost(**{"body": 1, field: -1})
