"""Groups of rows, without vLLM: three members, a vocabulary of four, and a fifth column that no token has.

The rule is z = large + expert − base; rows 0, 1 and 2 of a group are those members in this order, or the base
is a lane beside vLLM.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from aggregators.logits import Fused
from orchestrator.domain.assignments import Sampling
from workers.backends.decoding.rows import uniforms
from workers.backends.decoding.sampling import pick_tokens
from workers.backends.vllm.fusion_groups import (
    MARK,
    Fuser,
    Group,
    Mark,
    Seen,
    mark_of,
    offered,
    take_offered,
)

NAN = float("nan")
LARGE, EXPERT, BASE = [3.0, 2.0, 1.0, 0.0, 99.0], [0.0, 0.0, 5.0, 0.0, 99.0], [0.0, 0.0, 1.0, 0.0, 0.0]
"""Fused: 3, 2, 5, 0, so token 2; the large model alone would take 0."""
PLACES = [[4, 1, 3], [0, 2, 5]]
"""Rows of logits of two groups, not in their order."""


def upscale(lanes: Sequence[Tensor]) -> Fused:
    large, expert, base = torch.cat(list(lanes), dim=1)[..., :4].unbind(1)
    return Fused(large + expert - base, torch.full((len(large), 1), 1.5), torch.full((len(large),), 0.25))


def fuser(groups: Sequence[Group]) -> Fuser:
    made = Fuser(upscale, n_rows=3)
    for group in groups:
        group.start()
        made.add(group)
    return made


def group(name: str = "a", **sampling: float) -> Group:
    return Group(name, ([1], [2], [3]), Sampling.model_validate(sampling))


def rows(n: int = 1) -> Tensor:
    """Logits of n groups at their PLACES."""
    logits = torch.zeros(6, 5)
    for places in PLACES[:n]:
        logits[places] = torch.tensor([LARGE, EXPERT, BASE])
    return logits


def seen(of: Group, places: Sequence[int] = (4, 1, 3), *, missing: int | None = None) -> list[Seen]:
    n_new = len(of.tokens) - of.n_carried
    newest = of.tokens[-1] if n_new else None
    marks = [Mark(of.id, of.attempt, row) for row in range(3)]
    whole = [Seen(at, mark, n_new, newest) for at, mark in zip(places, marks, strict=True)]
    return [row for row in whole if row.mark.row != missing]


def test_every_row_of_a_group_is_left_with_the_token_of_the_rule() -> None:
    one, two = group("one"), group("two")
    logits = rows(2)
    fuser([one, two]).fuse(logits, seen(two, PLACES[1]) + seen(one, PLACES[0]))
    assert one.tokens == two.tokens == [2]
    assert one.steps == [((1.5,), 0.25)]
    assert logits.argmax(dim=-1).tolist() == [2] * 6
    assert torch.softmax(logits, dim=-1)[:, 2].tolist() == [1.0] * 6


def test_group_without_one_of_its_rows_is_apart_and_the_other_goes_on() -> None:
    one, two = group("one"), group("two")
    logits = rows(2)
    before = logits[PLACES[0]].clone()
    fuser([one, two]).fuse(logits, seen(one, PLACES[0], missing=1) + seen(two, PLACES[1]))
    assert (one.is_apart, one.tokens) == (True, [])
    assert torch.equal(logits[PLACES[0]], before)
    assert (two.is_apart, two.tokens) == (False, [2])


@pytest.mark.parametrize(
    "other",
    [
        {"n_output": 0, "newest": None},
        {"n_output": 2},
        {"n_output": -3, "newest": None},
        {"newest": 1},
        {"mark": Mark("a", 2, 1)},
    ],
    ids=["behind", "ahead", "inside its prompt", "with another token", "of another start"],
)
def test_row_that_stands_elsewhere_takes_its_group_apart(other: dict[str, int]) -> None:
    of = group()
    made = fuser([of])
    made.fuse(rows(), seen(of))
    again = seen(of)
    again[1] = again[1]._replace(**other)  # type: ignore[arg-type]
    made.fuse(rows(), again)
    assert (of.is_apart, of.tokens) == (True, [2])


class LaneBeside:
    """The base, beside vLLM."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.n_clears = 0

    def logits(self, groups: Sequence[Group]) -> Tensor:
        self.asked.append([group.id for group in groups])
        return torch.tensor(BASE).expand(len(groups), 1, -1)

    def clear(self) -> None:
        self.n_clears += 1


def test_lane_beside_vllm_is_asked_for_whole_groups_and_cleared_when_none_is_left() -> None:
    base = LaneBeside()
    made = Fuser(upscale, n_rows=2, beside={1: base})
    one, two = group("one"), group("two")
    for of in (one, two):
        of.start()
        made.add(of)
    logits = rows(2)
    made.fuse(logits, seen(two, PLACES[1])[:1] + seen(one, PLACES[0])[:2])
    assert base.asked == [["one"]]
    assert (one.tokens, two.is_apart) == ([2], True)
    made.remove("one")
    assert base.n_clears == 0
    made.remove("two")
    assert base.n_clears == 1


def test_rows_of_nobody_are_left_alone() -> None:
    logits = rows()
    before = logits.clone()
    made = fuser([])
    made.fuse(logits, seen(group("stranger")))
    assert torch.equal(logits, before)


def test_sampled_tokens_are_those_of_the_seed_whatever_the_batch() -> None:
    alone = group("alone", temperature=1.0, seed=7)
    made = fuser([alone])
    for _ in range(20):
        made.fuse(rows(), seen(alone))
    one, two = group("one", temperature=1.0, seed=7), group("two", temperature=2.0, seed=8)
    made = fuser([one, two])
    for _ in range(20):
        made.fuse(rows(2), seen(two, PLACES[1]) + seen(one, PLACES[0]))
    draws = uniforms(7)
    wanted = pick_tokens(
        torch.tensor([[3.0, 2.0, 5.0, 0.0]]).expand(20, -1),
        temperature=torch.ones(20),
        top_p=torch.ones(20),
        uniforms=torch.tensor([next(draws) for _ in range(20)]),
    )
    assert alone.tokens == one.tokens == wanted.tolist()
    assert len(set(alone.tokens)) > 1
    assert two.tokens != one.tokens


def test_group_that_starts_again_goes_on_with_its_tokens_and_its_draws() -> None:
    through, twice = (group(temperature=1.0, seed=3) for _ in range(2))
    for of, n_first in ((through, 12), (twice, 5)):
        made = fuser([of])
        for _ in range(n_first):
            made.fuse(rows(), seen(of))
    made = fuser([twice])
    assert (twice.attempt, twice.n_carried) == (2, 5)
    for _ in range(7):
        made.fuse(rows(), seen(twice))
    assert twice.tokens == through.tokens
    assert len(twice.steps) == 12


def test_logits_that_are_not_numbers_spoil_their_own_group_only() -> None:
    one, two = group("one"), group("two")
    logits = rows(2)
    logits[PLACES[0][1], 1] = NAN
    fuser([one, two]).fuse(logits, seen(one, PLACES[0]) + seen(two, PLACES[1]))
    assert (one.is_unusable, two.is_unusable) == (True, False)
    assert two.tokens == [2]


def test_mark_survives_the_way_through_vllm() -> None:
    assert mark_of({MARK: ["a", 2, 1]}) == Mark("a", 2, 1)
    assert mark_of({"other": 1}) is mark_of(None) is None


def test_processor_finds_the_fuser_only_while_its_engine_is_loaded() -> None:
    made = fuser([])
    with offered(made):
        assert take_offered() is made
    with pytest.raises(RuntimeError, match="no fusion"):
        take_offered()
