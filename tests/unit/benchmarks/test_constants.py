"""The choice of constants, on ladders worked by hand and on a small recorded pool."""

from pathlib import Path

import pytest

from benchmarks.constants import (
    LARGE,
    SMALL,
    SUBJECTS,
    Climber,
    Count,
    Ladder,
    Rung,
    Score,
    Setting,
    chosen,
    climber,
    confidence_of,
    loads,
    parts,
    regret,
)
from orchestrator.bootstrap.replay import with_vectors
from orchestrator.compositions.waves import WaveOptions
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.ports.composing import Outlook
from orchestrator.settings.schema import MusterSettings
from tests.fakes.replay_sets import write_replay_set

AUTO = SUBJECTS["auto"]
SHIPPED, LIMITS = AUTO.shipped, AUTO.most_calls
MID = Setting("mid", LARGE)
LAVISH = WaveOptions(agree=3)


@pytest.fixture
def replay(tmp_path: Path) -> ReplaySet:
    return with_vectors(read_replay_set(write_replay_set(tmp_path, n=60)), MusterSettings())


def rung(n_votes: int, *, n_agree: int, is_right: bool, n_left: int, confidence: float = 0.5) -> Rung:
    """The votes so far, all worth 1; another one could still change the answer."""
    return Rung(Outlook(n_votes, n_agree, 0.1, confidence, (1.0,) * n_left), is_right)


AGREE_AT_TWO = Ladder(
    ("a", "b", "c"),
    (3.0, 1.0, 1.0),
    (
        rung(1, n_agree=1, is_right=False, n_left=2),
        rung(2, n_agree=2, is_right=True, n_left=1, confidence=0.8),
        rung(3, n_agree=2, is_right=False, n_left=0),
    ),
)


def test_the_first_rung_that_is_enough_ends_it() -> None:
    assert AGREE_AT_TWO.asked(SHIPPED) == 2
    assert AGREE_AT_TWO.asked(LAVISH) == 3, "nobody is left"


def test_who_is_asked_in_any_case_is_asked_even_if_the_first_answer_would_do() -> None:
    """Before anybody answers, the next two may outvote the first; its answer then weighs more."""
    sure = AGREE_AT_TWO._replace(rungs=(rung(1, n_agree=1, is_right=True, n_left=0), *AGREE_AT_TWO.rungs[1:]))
    assert sure.asked(SHIPPED) == 1
    assert sure._replace(weights=(1.0, 1.0, 1.0)).asked(SHIPPED) == 2


def test_scores_are_of_the_rung_that_ended_it() -> None:
    count = Count()
    count.add(MID, [AGREE_AT_TWO], SHIPPED)
    assert count.scores == {MID: Score(100.0, 2.0)}
    assert confidence_of([AGREE_AT_TWO], SHIPPED).accuracy == 100
    assert confidence_of([AGREE_AT_TWO], SHIPPED).ece == pytest.approx(0.2)


def test_of_what_can_be_paid_the_most_accurate_is_chosen() -> None:
    limit = LIMITS["mid"]
    scores = {SHIPPED: {MID: Score(50.0, limit)}, LAVISH: {MID: Score(51.0, limit + 0.1)}}
    assert chosen(scores, LIMITS) == SHIPPED
    assert chosen({**scores, LAVISH: {MID: Score(51.0, limit)}}, LIMITS) == LAVISH


def test_regret_compares_at_equal_calls() -> None:
    thrifty = WaveOptions(confidence=0.0)
    scores = {
        SHIPPED: {MID: Score(50.0, 3.0)},
        LAVISH: {MID: Score(52.0, 3.1)},
        thrifty: {MID: Score(50.5, 2.9)},
    }
    assert regret(scores, SHIPPED) == (thrifty, 0.5)


def test_loads_are_those_of_a_device_that_serves_the_most_waiting_first() -> None:
    """a (2 waiting) first, then b for both; the third wanted b, then a again: a, b, a."""

    def asks(*expert_ids: str) -> Ladder:
        last = rung(len(expert_ids), n_agree=1, is_right=True, n_left=0)
        rungs = [rung(n, n_agree=1, is_right=True, n_left=9) for n in range(1, len(expert_ids))]
        return Ladder(expert_ids, (9.0,) * len(expert_ids), (*rungs, last))

    assert loads([asks("a", "b"), asks("a", "b"), asks("b", "a")], SHIPPED) == 3
    assert loads([asks("a", "b"), asks("a", "b")], SHIPPED) == 2


def test_parts_divide_the_largest_profile_and_leave_the_test_alone(replay: ReplaySet) -> None:
    whole = set(replay.splits["seed0"]["many"].tolist())
    small, *large = parts(replay, 0, ["four"], (SMALL, LARGE))
    assert (small.setting, {p.setting for p in large}) == (Setting("four", SMALL), {Setting("four", LARGE)})
    for part in (small, *large):
        profile, test = set(part.columns.profile.tolist()), set(part.columns.test.tolist())
        assert profile | test == whole
        assert not profile & test
    assert sorted(c for part in large for c in part.columns.test.tolist()) == sorted(whole)


def test_every_left_out_question_is_answered_as_far_as_experts_are_held_ready(replay: ReplaySet) -> None:
    part = parts(replay, 0, ["four"])[0]
    of_part: Climber = climber(replay, part)
    ladders = of_part.climb(AUTO)
    assert len(ladders) == len(part.columns.test)
    assert all(len(ladder.rungs) == len(ladder.expert_ids) == 4 for ladder in ladders)
