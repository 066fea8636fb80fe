"""Blocks cover a tensor once, on any device."""

from itertools import pairwise

import pytest
import torch

from aggregators.weights.blocks import BLOCK, BLOCK_ON_DEVICE, places


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK_ON_DEVICE + 1])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_blocks_cover_every_entry_once(n: int, device: str) -> None:
    found = list(places(torch.empty(n, device=device)))
    assert sum(place.stop - place.start for place in found) == n
    assert all(a.stop == b.start for a, b in pairwise(found))


def test_blocks_are_larger_beyond_the_cpu() -> None:
    n = 3 * BLOCK
    assert len(list(places(torch.empty(n)))) == 3
    assert len(list(places(torch.empty(n, device="meta")))) == 1
