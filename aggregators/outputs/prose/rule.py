"""The rule for open questions: ask the best expert; where its answer is brief for it, ask two others, too.

Source: ours, measured on recorded answers of real models (docs/open.md); docs/decisions/0044 says what else
was tried. It is used only where it gained inside the profile: on answers that it was not fitted on.

Shapes: E experts, N questions.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aggregators.outputs.prose.ranker import (
    BRIEF_SHARE,
    LENGTH,
    RIDGE,
    Floats,
    Ints,
    Ranker,
    Sheet,
    Usual,
    fit_ranker,
    usual_of,
)
from aggregators.outputs.prose.signs import read_signs
from orchestrator.domain.cards import Profile, Transcript
from orchestrator.domain.grades import GradeTally, grade_tally
from orchestrator.routing.graded import pool_mean
from orchestrator.routing.parts.local import folds
from orchestrator.runtime.threads import one_thread

N_BEST = 5
"""Experts on whose answers the ranker is fitted: those that are ever asked, and their like."""

N_ASKED = 3
"""Experts whose answers are chosen between."""

N_ROUNDS = 5
"""Partitions into folds over which the gain is averaged: one alone is a matter of luck."""

LEAST_QUESTIONS = 100
"""Scored questions without which nothing is learnt: the gain could not be told from chance."""


class Constants(NamedTuple):
    """Constants of the rule; how they were chosen: docs/decisions/0044, `benchmarks/open_rule.py`."""

    ridge: float = RIDGE
    brief_share: float = BRIEF_SHARE
    n_asked: int = N_ASKED


CONSTANTS = Constants()


class Fit(NamedTuple):
    """The rule as fitted on some questions.

    Attributes:
        order: rows of the sheet, highest mean grade first.
        usual: of each row.
    """

    order: tuple[int, ...]
    usual: tuple[Usual, ...]
    ranker: Ranker


class Held(NamedTuple):
    """Answers that the rule would have given to questions that it was not fitted on; [N] each.

    Attributes:
        best: grade of the best expert; `chosen`: of the rule's answer; `brief`: whether more were asked.
    """

    best: Floats
    chosen: Floats
    brief: npt.NDArray[np.bool_]

    @property
    def gain(self) -> float:
        """Mean grade of the rule less that of the best expert, in [-1, 1]."""
        return float((self.chosen - self.best).mean())


class Learnt(NamedTuple):
    """Lessons of a profile about answers to open questions.

    Attributes:
        usual: by expert id, of all that were scored.
        ranker: chooses between answers.
        gain: of the whole rule over the best expert, on questions that it was not fitted on; in [-1, 1].
        n: questions that it was fitted on.
        plain: scores of the best expert where it was not brief, on questions that were not fitted on.
        asked_on: scores of what was chosen where it was brief, likewise.
        best: id of the expert with the highest mean grade.
        prior: mean of all scores of the pool.
    """

    usual: Mapping[str, Usual]
    ranker: Ranker
    gain: float
    n: int
    plain: GradeTally
    asked_on: GradeTally
    best: str
    prior: float

    @property
    def anybody(self) -> Usual:
        """Habits to expect of an expert that was not graded: the mean of those that were."""
        columns = zip(*self.usual.values(), strict=True)
        return Usual(*(float(np.mean(column)) for column in columns))

    @property
    def pays(self) -> bool:
        """True if the rule gained on questions that it was not fitted on."""
        return self.gain > 0


def fit(sheet: Sheet, constants: Constants = CONSTANTS) -> Fit:
    """The rule fitted on all questions of a sheet."""
    usual = tuple(
        usual_of(grades, signs[:, LENGTH], brief_share=constants.brief_share)
        for grades, signs in zip(sheet.grades, sheet.signs, strict=True)
    )
    order = sorted(range(len(usual)), key=lambda row: (-usual[row].grade, row))
    return Fit(tuple(order), usual, fit_ranker(sheet, usual, ridge=constants.ridge))


def answered(rule: Fit, sheet: Sheet, constants: Constants = CONSTANTS) -> Held:
    """Answers of a fitted rule to the N questions of a sheet with the same experts."""
    asked = list(rule.order[: constants.n_asked])
    usual = [rule.usual[row] for row in asked]
    best = sheet.grades[asked[0]]
    brief = sheet.signs[asked[0], :, LENGTH] <= usual[0].brief
    chosen = best.copy()
    for column in np.flatnonzero(brief).tolist():
        scores = rule.ranker.scores(sheet.signs[asked, column], usual)
        chosen[column] = sheet.grades[asked[int(scores.argmax())], column]
    return Held(best, chosen, brief)


def held_out(sheet: Sheet, *, seed: int = 0) -> Held:
    """Answers to each question by the rule as fitted on other ones, order of experts and all.

    The same seed makes the same five folds.
    """
    best, chosen, brief = np.zeros(sheet.n), np.zeros(sheet.n), np.zeros(sheet.n, dtype=bool)
    for inside, left_out in folds(sheet.n, seed=seed):
        part = answered(fit(sheet.of(inside)), sheet.of(left_out))
        best[left_out], chosen[left_out], brief[left_out] = part
    return Held(best, chosen, brief)


@lru_cache(maxsize=4)
@one_thread()
def learn(profile: Profile) -> Learnt | str:
    """Lessons of a profile's open part, learnt once per process; or the reason why there are none."""
    scores, transcript = profile.scores, profile.transcript
    if scores is None or np.isnan(scores).all():
        return "nothing was graded"
    if transcript is None:
        return "the graded answers are not kept here"
    tallies = [grade_tally(row[~np.isnan(row)]) for row in scores.astype(np.float64)]
    rows = best_rows(tallies)
    columns = np.flatnonzero(~np.isnan(scores[rows]).any(axis=0))
    if len(columns) < LEAST_QUESTIONS:
        who = "the best expert has" if len(rows) == 1 else f"the best {len(rows)} experts all have"
        return f"{who} grades on {len(columns)} questions, and {LEAST_QUESTIONS} are needed"
    sheet = sheet_of(profile, transcript, rows, columns)
    held = [held_out(sheet, seed=seed) for seed in range(N_ROUNDS)]
    rule = fit(sheet)
    return Learnt(
        usual=usual_of_all(profile, transcript),
        ranker=rule.ranker,
        gain=sum(one.gain for one in held) / N_ROUNDS,
        n=sheet.n,
        plain=grade_tally(held[0].best[~held[0].brief]),
        asked_on=grade_tally(held[0].chosen[held[0].brief]),
        best=sheet.expert_ids[rule.order[0]],
        prior=pool_mean(tallies),
    )


def best_rows(tallies: Sequence[GradeTally]) -> list[int]:
    """Rows of at most five experts with the highest expected grade, best first.

    Args:
        tallies: of each row's scores; a row without any is left out.
    """
    prior = pool_mean(tallies)
    means = [tally.posterior(prior).mean for tally in tallies]
    known = [row for row, tally in enumerate(tallies) if tally.n]
    return sorted(known, key=lambda row: (-means[row], row))[:N_BEST]


def sheet_of(profile: Profile, transcript: Transcript, rows: Sequence[int], columns: Ints) -> Sheet:
    """Grades and signs of some experts' answers.

    Args:
        transcript: the profile's own.
        rows: of the profile's experts.
        columns: questions that all of them have scores for, int [N].
    """
    assert profile.scores is not None, "checked by whoever chose the columns"
    signs = [
        [
            read_signs(transcript.queries[column].question, transcript.values[row][column] or "")
            for column in columns.tolist()
        ]
        for row in rows
    ]
    return Sheet(
        tuple(profile.expert_ids[row] for row in rows),
        profile.scores[list(rows)][:, columns].astype(np.float64),
        np.array(signs, dtype=np.float64),
    )


def usual_of_all(profile: Profile, transcript: Transcript) -> dict[str, Usual]:
    """Habits of every expert that has scores, by its id; `transcript` is the profile's own."""
    assert profile.scores is not None, "checked by `learn`"
    found = {}
    for row, expert_id in enumerate(profile.expert_ids):
        scored = np.flatnonzero(~np.isnan(profile.scores[row])).tolist()
        if scored:
            lengths = np.log1p([len(transcript.values[row][column] or "") for column in scored])
            found[expert_id] = usual_of(profile.scores[row, scored], lengths)
    return found
