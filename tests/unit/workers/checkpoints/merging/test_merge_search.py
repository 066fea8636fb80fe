"""What a search of `compeft`'s numbers tries, and what it chooses."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import MergeError
from workers.checkpoints.merging.methods import NATIVE
from workers.checkpoints.merging.recipe import ModelRef, Recipe, read_recipe
from workers.checkpoints.merging.search import (
    ALPHAS,
    DENSITIES,
    Candidate,
    Tried,
    candidates,
    chosen,
    is_searched,
    least_times,
    times_smaller,
    with_numbers,
)


def recipe(tmp_path: Path, parameters: dict[str, Any], **more: Any) -> Recipe:
    models = [{"model": "a"}, {"model": "b"}]
    document = {"merge_method": "compeft", "base_model": "base", "models": models, "parameters": parameters}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**document, **more}))
    return read_recipe(tmp_path / "recipe.yaml", native=NATIVE)


def test_density_and_magnitude_are_tried_together_unless_the_density_is_given(tmp_path: Path) -> None:
    both = candidates(recipe(tmp_path, {"alpha": "search"}))
    assert len(both) == len(set(both)) == len(DENSITIES) * len(ALPHAS)
    one = candidates(recipe(tmp_path, {"alpha": "search", "density": 0.3}))
    assert one == [Candidate(0.3, alpha) for alpha in ALPHAS]


def test_only_compeft_searches(tmp_path: Path) -> None:
    assert is_searched(recipe(tmp_path, {"alpha": "search"}))
    assert not is_searched(recipe(tmp_path, {"alpha": 2.0}))
    assert not is_searched(recipe(tmp_path, {"scale": "search"}))
    assert not is_searched(recipe(tmp_path, {"alpha": "search"}, merge_method="ties"))


@pytest.mark.parametrize(
    ("parameters", "more", "said"),
    [
        ({"alpha": {"value": "search"}}, {}, "alike"),
        ({"alpha": ["search"]}, {}, "alike"),
        ({"alpha": [{"filter": "mlp", "value": "search"}, {"value": 1}]}, {}, "alike"),
        ({"alpha": 2}, {"models": [{"model": "a", "parameters": {"alpha": "search"}}]}, "alike"),
        ({"density": [0.1, 0.5]}, {}, "density"),
        ({"density": 0}, {}, "density"),
        ({"density": "much"}, {}, "density"),
        ({"density": True}, {}, "density"),
        ({"scale": "std"}, {}, "means"),
        ({}, {"models": [{"model": "a", "parameters": {"density": 0.3}}]}, "no numbers of their own"),
        ({}, {"models": [{"model": "a", "parameters": {"alpha": "search"}}]}, "no numbers of their own"),
        (
            {},
            {"models": None, "slices": [{"sources": [{"model": "a", "layer_range": [0, 1]}]}]},
            "needs `models`",
        ),
    ],
)
def test_a_recipe_that_leaves_no_room_is_refused(
    tmp_path: Path, parameters: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    asked = recipe(tmp_path, {"alpha": "search", **parameters}, **more)
    assert is_searched(asked)
    with pytest.raises(MergeError, match=said):
        candidates(asked)


def test_the_most_accurate_that_is_small_enough_is_chosen_and_of_equals_the_smallest() -> None:
    large = Tried(Candidate(0.5, 1.2), 90, 7.9)
    tries = [
        large,
        Tried(Candidate(0.4, 1.0), 80, 9.0),
        Tried(Candidate(0.3, 1.5), 85, 14.0),
        Tried(Candidate(0.3, 1.0), 85, 14.0),
        Tried(Candidate(0.4, 1.2), 85, 9.0),
    ]
    assert chosen(tries, times=8.0).candidate == Candidate(0.3, 1.0)
    assert chosen(tries, times=7.0) == large
    with pytest.raises(MergeError, match="20 times smaller"):
        chosen(tries, times=20.0)


@pytest.mark.parametrize("given", [0.5, 17, True, "small", [8]])
def test_a_bound_that_is_none_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(MergeError, match="smaller"):
        least_times(recipe(tmp_path, {"alpha": "search", "smaller": given}))


def test_the_numbers_stand_in_the_recipe_in_place_of_the_search(tmp_path: Path) -> None:
    asked = recipe(tmp_path, {"alpha": "search", "density": 0.3, "smaller": 9})
    assert least_times(asked) == 9
    numbers = {ModelRef("a"): Candidate(0.3, 1.2), ModelRef("b"): Candidate(0.3, 1.0)}
    found = with_numbers(asked, numbers)
    assert found.parameters == {"scale": "mean"}
    assert [entry.parameters for entry in found.models or ()] == [
        {"density": 0.3, "alpha": 1.2},
        {"density": 0.3, "alpha": 1.0},
    ]
    assert not is_searched(found)
    assert found.hash != asked.hash


def test_sizes_by_hand() -> None:
    """1,000 numbers in 16 bits are 2,000 bytes."""
    assert times_smaller(250, 1000) == 8
