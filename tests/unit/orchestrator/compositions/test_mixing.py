"""Weights of recruits become shares in tenths."""

import pytest

from orchestrator.compositions.mixing import rounded_shares


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"a": 0.62, "b": 0.33, "c": 0.04}, (("a", 0.6), ("b", 0.3))),
        ({"a": 1.0}, (("a", 1.0),)),
        ({"a": 0.5, "b": 0.5}, (("a", 0.5), ("b", 0.5))),
        ({str(i): 1 / 30 for i in range(30)}, (("0", 1.0),)),
        ({"b": 0.0, "a": 0.0}, (("a", 1.0),)),
    ],
)
def test_by_hand(weights: dict[str, float], shares: object) -> None:
    assert rounded_shares(weights) == shares
