"""What a preflight knows of the methods is what the methods are."""

import pytest

from aggregators.weights import MERGE_METHODS
from workers.checkpoints.merging.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_same_in_both_tables(name: str) -> None:
    row, known = MERGE_METHODS.find(name), METHODS[name]
    names = {"lambda" if field == "lam" else field for field in row.options.model_fields}
    assert (known.parameters, known.needs_base, known.most) == (names, row.needs_base, row.most)


def test_every_method_is_in_both_tables() -> None:
    assert set(METHODS) == set(MERGE_METHODS)
