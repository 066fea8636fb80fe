"""Families of models by their names."""

import pytest

from orchestrator.domain.families import family_of, main_family


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("qwen3-8b", "qwen"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("/models/gemma-2-9b/", "gemma"),
        ("openai/gpt-4o", "gpt"),
        ("bedrock/anthropic.claude-3", "anthropic"),
        ("7/42", ""),
        ("", ""),
    ],
)
def test_the_line_that_a_name_begins_with(model: str, family: str) -> None:
    assert family_of(model) == family


def test_more_than_half_make_a_main_family() -> None:
    assert main_family(["a/qwen2-1b", "b/Qwen3-8B", "gemma-2"]) == "qwen"
    assert main_family(["qwen-1", "gemma-2"]) is None
    assert main_family(["1", "2"]) is None
    assert main_family([]) is None
