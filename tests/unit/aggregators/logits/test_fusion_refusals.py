"""What `fuse` refuses: one clear line each, with the thing at fault and what to do."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from aggregators.logits import fuse, read_rule_options
from orchestrator.errors import ConfigError, IncompatibleModelsError, InputError, UnknownNameError

GOOD = {"large": np.zeros((2, 5)), "experts": np.zeros((1, 2, 5)), "base": np.zeros((2, 5))}
TWO = {**GOOD, "experts": np.zeros((2, 2, 5))}


def test_an_unknown_rule_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'upscale'"):
        fuse("upscle", GOOD)


@pytest.mark.parametrize(
    ("rule", "logits", "params", "says"),
    [
        ("upscale", GOOD, {"beta": [1]}, "no option 'beta'.*betas"),
        ("upscale", GOOD, {"betas": [1, 2]}, "2 numbers for 1 experts"),
        ("upscale", GOOD, {"betas": [math.nan]}, "betas"),
        ("upscale", GOOD, {"betas": [11]}, "betas"),
        ("upscale", GOOD, {"betas": []}, "0 numbers for 1 experts"),
        ("upscale", GOOD, {"betas": "many"}, "betas"),
        ("dynamic", GOOD, {"mode": "both"}, "mode"),
        ("dynamic", {**GOOD, "experts": np.zeros((3, 2, 5))}, {"mode": "joint"}, "at most 2 experts, not 3"),
        ("contrast", {"large": GOOD["large"], "weak": GOOD["base"]}, {"a": 1.5}, "'a'"),
        ("contrast", {"large": GOOD["large"], "weak": GOOD["base"]}, {"b": -1}, "'b'"),
        ("contrast", {"large": GOOD["large"], "weak": GOOD["base"]}, {"tau_w": 0}, "tau_w"),
        ("average", {"models": TWO["experts"]}, {"weights": [0.5, 0.4]}, "sum to 0.9"),
        ("average", {"models": TWO["experts"]}, {"weights": [1.5, -0.5]}, "weights"),
        ("average", {"models": TWO["experts"]}, {"weights": [1]}, "1 numbers for 2 models"),
        ("average", {"models": TWO["experts"]}, {"mean": "median"}, "mean"),
    ],
)
def test_options_out_of_range(rule: str, logits: Any, params: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fuse(rule, logits, params)


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        ({}, "lacks the logits of large, experts, base"),
        ({"large": GOOD["large"], "base": GOOD["base"]}, "lacks the logits of experts"),
        ({**GOOD, "weak": GOOD["base"]}, "no role 'weak'"),
        ({**GOOD, "experts": GOOD["base"]}, r"'experts' have the shape \[2, 5\]"),
        ({**GOOD, "large": np.zeros((1, 2, 5))}, "'large' have the shape"),
        ({**GOOD, "base": np.zeros((3, 5))}, "different numbers of rows: large 2, experts 2, base 3"),
        ({**GOOD, "experts": np.zeros((0, 2, 5))}, "shape"),
        ({"large": np.zeros((0, 5)), "experts": np.zeros((1, 0, 5)), "base": np.zeros((0, 5))}, "shape"),
        ({**GOOD, "large": "logits"}, "no array of numbers"),
        ({**GOOD, "large": None}, "no array of numbers"),
        ({**GOOD, "large": [[1.0], [1.0, 2.0]]}, "no array of numbers"),
        ({**GOOD, "large": torch.zeros(2, 5, dtype=torch.complex64)}, "complex"),
        ({**GOOD, "large": np.full((2, 5), math.nan)}, "'large' hold NaN"),
        ({**GOOD, "base": np.full((2, 5), math.inf)}, r"'base' hold \+inf"),
        ({**GOOD, "base": np.full((2, 5), -math.inf)}, "nothing is finite"),
    ],
)
def test_logits_that_do_not_fit(logits: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        fuse("dynamic", logits)


def test_vocabularies_of_different_sizes() -> None:
    with pytest.raises(IncompatibleModelsError, match="large 5, experts 5, base 6"):
        fuse("dynamic", {**GOOD, "base": np.zeros((2, 6))})


def test_a_role_by_both_of_its_names() -> None:
    with pytest.raises(InputError, match="given twice"):
        fuse("contrast", {"large": GOOD["large"], "strong": GOOD["large"], "weak": GOOD["base"]})


def test_members_that_ban_everything_together() -> None:
    large, base = np.zeros((1, 2)), np.zeros((1, 2))
    large[0, 0] = base[0, 1] = -math.inf
    with pytest.raises(InputError, match="no token is allowed by all members"):
        fuse("upscale", {"large": large, "experts": np.zeros((1, 1, 2)), "base": base})


def test_options_are_read_without_members() -> None:
    """A pool file is checked before anything is loaded."""
    assert read_rule_options("contrast", {"a": 0.2}).model_dump() == {"a": 0.2, "b": 0.5, "tau_w": 1.0}
    with pytest.raises(ConfigError, match="2 numbers for 3 experts"):
        read_rule_options("upscale", {"betas": [1, 2]}, n_members=3)
