from dataclasses import replace

import pytest

from orchestrator.domain.skills import SkillTag
from orchestrator.evaluation.swiss import Standing, subjects, swiss_standings
from tests.fakes.decks import profile

POINTS = [(1.0, 0.0)] * 8
LADDER = replace(
    profile(
        {
            "a": [1, 1, 1, 1, 1, 1, 1, 1],
            "b": [1, 1, 1, 0, 1, 1, 1, 0],
            "c": [1, 1, 0, 0, 1, 1, 0, 0],
            "d": [1, 0, 0, 0, 1, 0, 0, 0],
        },
        POINTS,
    ),
    domains=("sums",) * 4 + ("sorting",) * 4,
)
"""On both subjects a is better than b, b than c, c than d."""


def standings(**options: object) -> dict[str, Standing]:
    found = swiss_standings(LADDER, **{"seed": 0, "n_tournaments": 6000, "resample": False, **options})
    return {standing.expert_id: standing for standing in found}


def test_expected_wins_by_hand() -> None:
    """a wins both rounds, d none. b: meets a in round 1 (and then d), or in round 2: one win either way. Of
    four wins c has the fourth."""
    wins = {expert_id: standing.wins for expert_id, standing in standings().items()}
    assert wins == {"a": 2, "b": 1, "c": 1, "d": 0}


def test_failure_sensitivity_by_hand() -> None:
    """One of round 1's two losers leaves, the other has nobody to meet: half a win. b loses to a in 1 of 3
    draws: .25 wins then, else 1, so .75 of 1. c loses in 2 of 3: (.25 + .25 + 1)/3 = .5 of 1."""
    found = standings()
    assert found["a"].sensitivity == 0
    assert found["b"].sensitivity == pytest.approx(0.25, abs=0.02)
    assert found["c"].sensitivity == pytest.approx(0.5, abs=0.02)
    assert [found[e].eliminated for e in "abcd"] == [0, *(pytest.approx(n / 6, abs=0.02) for n in (1, 2, 3))]


def test_standings_are_best_first() -> None:
    assert [*standings()][:: len(LADDER.expert_ids) - 1] == ["a", "d"]


def test_equal_experts_share_their_wins() -> None:
    same = profile({"x": [1, 0], "y": [1, 0]}, POINTS[:2])
    found = swiss_standings(same, seed=0, n_tournaments=10, resample=False)
    assert [standing.wins for standing in found] == [0.5, 0.5]


def test_resampling_lets_a_narrow_lead_lose_at_times() -> None:
    assert 1.5 < standings(resample=True)["a"].wins < 2


def test_the_same_seed_gives_the_same_standings() -> None:
    first, again = (swiss_standings(LADDER, seed=3, n_tournaments=50) for _ in range(2))
    assert first == again


def test_a_small_pool_plays_until_two_are_left() -> None:
    assert standings(n_out=2)["a"].n_rounds == 2
    assert standings(n_out=3)["a"].n_rounds == 1


@pytest.mark.parametrize(("n_experts", "wins"), [(1, [0.0]), (3, [0.5] * 3)])
def test_odd_pools_and_single_experts_are_ranked(n_experts: int, wins: list[float]) -> None:
    """Three equals, one round: two draw, and who meets nobody has half a win too."""
    pool = profile({f"e{i}": [1, 0] for i in range(n_experts)}, POINTS[:2])
    found = swiss_standings(pool, seed=0, n_tournaments=20, resample=False)
    assert [standing.wins for standing in found] == wins


def test_without_domains_the_heaviest_skill_is_the_subject() -> None:
    algebra = (SkillTag(name="algebra"), SkillTag(name="sums", weight=0.5))
    found = subjects(replace(LADDER, domains=("",) * 8, skills=(algebra,) * 3 + ((),) * 5))
    assert {name: columns.tolist() for name, columns in found.items()} == {
        "": [3, 4, 5, 6, 7],
        "algebra": [0, 1, 2],
    }


def test_domains_are_the_subjects_where_there_are_any() -> None:
    assert set(subjects(LADDER)) == {"sums", "sorting"}
