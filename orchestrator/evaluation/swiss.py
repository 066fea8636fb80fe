"""Rank a pool by Swiss-system rounds over the subjects of its profile: arXiv:2512.21010 (methods 1.6).

Shapes: S tournaments, R rounds, E experts, K subjects.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.domain.cards import RIGHT, UNKNOWN, Profile

N_TOURNAMENTS = 1000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Standing(NamedTuple):
    """Results of an expert on average.

    Attributes:
        wins: expected wins when everybody plays all rounds; a tie, or a round without opponent, is half.
        sensitivity: share of these wins that is lost when the last ones leave after each round; below 0 for
            who profits from it. Specialists lose more than generalists.
        eliminated: share of tournaments in which it had to leave.
    """

    expert_id: str
    wins: float
    n_rounds: int
    sensitivity: float
    eliminated: float


class _Tournaments(NamedTuple):
    """Wins [S, E], and who was still in at the end [S, E]."""

    wins: Floats
    alive: Bools


def swiss_standings(
    profile: Profile,
    *,
    seed: int,
    n_tournaments: int = N_TOURNAMENTS,
    n_out: int = 1,
    resample: bool = True,
) -> list[Standing]:
    """Standings, best first; ties in the order of the profile.

    Each round is on one subject (domain, or where there are none the heaviest skill; the order is drawn
    anew for each tournament). Experts with equally many wins so far meet; who has more right answers on
    the subject's questions wins. Where we differ from the paper: questions are resampled for each
    tournament, so that a lead of one question is no certain win, and two experts may meet again.

    Args:
        n_out: how many leave after a round, >= 1 (the paper's T_k, the same for every round). Two are left
            in the last one, which limits the rounds of a small pool.
        resample: False = the questions as they are.
    """
    n_experts = len(profile.expert_ids)
    strengths = _strengths(profile, n_tournaments, resample=resample, seed=seed)
    n_rounds = min(strengths.shape[1], max(n_experts - 2, 0) // n_out + 1) if n_experts > 1 else 0
    rounds = strengths[:, :n_rounds]
    full, knock_out = (_play(rounds, n, seed=seed) for n in (0, n_out))
    wins, kept = full.wins.mean(axis=0), knock_out.wins.mean(axis=0)
    sensitivity = np.where(wins > 0, 1 - kept / np.where(wins > 0, wins, 1), 0)
    eliminated = 1 - knock_out.alive.mean(axis=0)
    columns = (wins.tolist(), [n_rounds] * n_experts, sensitivity.tolist(), eliminated.tolist())
    standings = [Standing(*row) for row in zip(profile.expert_ids, *columns, strict=True)]
    return sorted(standings, key=lambda standing: -standing.wins)


def subjects(profile: Profile) -> dict[str, Ints]:
    """Profile questions by domain; without domains by their heaviest skill, "" where they have none."""
    columns: dict[str, list[int]] = defaultdict(list)
    labelled = any(profile.domains)
    for column, (domain, skills) in enumerate(zip(profile.domains, profile.skills, strict=True)):
        columns[domain if labelled else skills[0].name if skills else ""].append(column)
    return {name: np.array(of_subject) for name, of_subject in sorted(columns.items())}


def _strengths(profile: Profile, n_tournaments: int, *, resample: bool, seed: int) -> Floats:
    """Share of right answers of each expert in each round, [S, K, E]; subjects in an order of their own for
    each tournament, 0 where nothing was measured."""
    rng = np.random.default_rng([seed, 0])
    right = (profile.outcomes == RIGHT).astype(np.float64).T
    known = (profile.outcomes != UNKNOWN).astype(np.float64).T
    by_subject = []
    for columns in subjects(profile).values():
        n = len(columns)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_tournaments) if resample else np.ones((1, n))
        share = (drawn @ right[columns]) / np.maximum(drawn @ known[columns], 1)
        by_subject.append(np.broadcast_to(share, (n_tournaments, share.shape[1])))
    table = np.stack(by_subject, axis=1)
    order = rng.permuted(np.tile(np.arange(table.shape[1]), (n_tournaments, 1)), axis=1)
    return np.take_along_axis(table, order[:, :, None], axis=1)


def _play(rounds: Floats, n_out: int, *, seed: int) -> _Tournaments:
    """All tournaments at once; ties of the table are broken at random."""
    rng = np.random.default_rng([seed, 1])
    n_tournaments, n_rounds, n_experts = rounds.shape
    wins = np.zeros((n_tournaments, n_experts))
    alive = np.ones((n_tournaments, n_experts), dtype=bool)
    for r in range(n_rounds):
        table = _table(wins, alive, rng)[:, : n_experts - r * n_out]
        _meet(wins, table, rounds[:, r])
        if n_out and r < n_rounds - 1:
            table = _table(wins, alive, rng)[:, : n_experts - r * n_out]
            np.put_along_axis(alive, table[:, -n_out:], False, axis=1)
    return _Tournaments(wins, alive)


def _table(wins: Floats, alive: Bools, rng: np.random.Generator) -> Ints:
    """Experts by falling wins, those who left last, [S, E]."""
    drawn = 0.25 * rng.random(wins.shape)  # less than half a win
    return np.argsort(-np.where(alive, wins + drawn, -1.0), axis=1)


def _meet(wins: Floats, table: Ints, strength: Floats) -> None:
    """Neighbours of the table meet; wins are added up in place."""
    for place in range(0, table.shape[1] - 1, 2):
        first, second = table[:, place, None], table[:, place + 1, None]
        ahead = np.take_along_axis(strength, first, axis=1) - np.take_along_axis(strength, second, axis=1)
        won = np.where(np.abs(ahead) < 1e-9, 0.5, ahead > 0)
        np.put_along_axis(wins, first, np.take_along_axis(wins, first, axis=1) + won, axis=1)
        np.put_along_axis(wins, second, np.take_along_axis(wins, second, axis=1) + 1 - won, axis=1)
    if table.shape[1] % 2:
        last = table[:, -1:]
        np.put_along_axis(wins, last, np.take_along_axis(wins, last, axis=1) + 0.5, axis=1)
