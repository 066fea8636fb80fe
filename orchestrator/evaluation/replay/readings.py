"""Answers read off the recorded texts: grouped by what they say, as a live vote groups them.

Shapes: E experts, N responses to one question.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from orchestrator.domain.assignments import CallRole, Response
from orchestrator.domain.cards import RIGHT
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.sets import ABSTAINED, FORMAT_REMEDY, ReplaySet, RightValues
from orchestrator.ports.skills import Grader


class Groups(NamedTuple):
    """Responses to one question, by what they say.

    Attributes:
        values: canonical answer of each group: its first response's.
        group: N, the group of each response; -1 = it states no answer.
        right: groups that the grader finds right.
    """

    values: tuple[str, ...]
    group: tuple[int, ...]
    right: RightValues


def grouped(
    query: Query, values: Sequence[str | None], grader: Grader | None
) -> tuple[tuple[str, ...], list[int]]:
    """Distinct values, first come first, and the group of each; -1 where there is none.

    Values are compared in sorted order, as votes compare them: the groups are the same for every order.

    Args:
        grader: tells which values say the same; None = equal ones.
    """
    said = [value for value in values if value is not None]
    firsts: list[str] = []
    home: dict[str, str] = {}
    for value in sorted(set(said)):
        equal = (one for one in firsts if grader and grader.equivalent(query, one, value))
        home[value] = next(equal, value)
        if home[value] == value:
            firsts.append(value)
    numbers = {first: number for number, first in enumerate(dict.fromkeys(home[value] for value in said))}
    known = {value: numbers[home[value]] for value in said}
    shown = {number: value for value, number in reversed([(value, known[value]) for value in said])}
    return (
        tuple(shown[number] for number in range(len(numbers))),
        [ABSTAINED if value is None else known[value] for value in values],
    )


def read_responses(query: Query, texts: Sequence[str | None], grader: Grader) -> Groups:
    """Read and group; a missing text states nothing.

    Raises:
        SkillError: the question's reference answer cannot be read.
    """
    grades = [None if text is None else grader.grade(query, _response(text)) for text in texts]
    values, group = grouped(query, [None if one is None else one.value for one in grades], grader)
    right = {g for g, one in zip(group, grades, strict=True) if one is not None and one.outcome == RIGHT}
    return Groups(values, tuple(group), frozenset(right))


def with_readings(replay: ReplaySet, pool: str, grader: Grader, *, anew: bool = False) -> ReplaySet:
    """The set with the answers of a pool's experts, where these are not recorded, read off their texts.

    Args:
        anew: read off the texts even where answers are recorded. Further samples, of which no texts are kept,
            are then left out.

    Raises:
        InputError: an expert of the pool has no texts.
        SkillError: a reference answer cannot be read.
    """
    exact = np.flatnonzero(~replay.graded).tolist()
    columns = exact if anew else replay.unread
    if not columns:
        return replay
    rows = replay.rows(pool)
    silent = next((replay.experts[row].id for row in rows if row not in replay.texts), None)
    if silent is not None:
        raise InputError(f"no texts of expert '{silent}' were recorded to be read.", remedy=FORMAT_REMEDY)
    pred, measured = replay.pred.copy(), replay.measured.copy()
    values, right = list(replay.values), list(replay.right)
    measured[:, columns] = False
    for column in columns:
        texts = [replay.texts[row][column] for row in rows]
        groups = read_responses(replay.queries[column], texts, grader)
        values[column], right[column] = groups.values, groups.right
        pred[rows, column] = groups.group
        measured[rows, column] = [text is not None for text in texts] & replay.measured[rows, column]
    samples = replay.samples[:0] if anew else replay.samples
    return replace(
        replay, pred=pred, measured=measured, values=tuple(values), right=tuple(right), samples=samples
    )


def _response(text: str) -> Response:
    return Response(expert_id="", role=CallRole.EXPERT, stage=0, text=text)
