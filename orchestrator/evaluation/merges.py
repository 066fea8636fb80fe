"""Judgement of a merged expert: does it earn its place beside its parents, on questions it was not made with?

At equal compute: one call a question for the merged expert, as for each parent.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.domain.cards import RIGHT, UNKNOWN
from orchestrator.domain.queries import Query
from orchestrator.domain.values import seed_of
from orchestrator.evaluation.statistics import Estimate, accuracy, paired_difference

Right = npt.NDArray[np.bool_]
MARGIN = 0.05
"""How far below the best parent the interval may reach if the merged expert is to count as its equal: one
model then stands for several."""
FEWEST = 20
"""Questions below which nothing is said."""


class Questions(NamedTuple):
    """Questions of a merge's life cycle.

    Attributes:
        calibration: on which numbers of a recipe may be searched. held_out: on which the result is judged;
            no question is among both.
    """

    calibration: tuple[Query, ...]
    held_out: tuple[Query, ...]


def divided(profile: Sequence[Query], held_out: Sequence[Query] | None, *, seed: int) -> Questions:
    """Questions to calibrate on, and to judge on.

    With a set of held-out questions, those that the profile asks, too, are left out of it. Without one, every
    other question of the profile is held out, skill by skill in an order drawn by the seed: equal questions,
    equal parts, in whatever order they come. Open questions are in neither: they tell no right from wrong.
    """
    exact = [query for query in profile if not query.answer_type.is_graded]
    if held_out is not None:
        asked = {query.content_hash for query in profile}
        kept = (q for q in held_out if q.content_hash not in asked and not q.answer_type.is_graded)
        return Questions(tuple(exact), tuple(kept))
    drawn = sorted(
        exact, key=lambda q: (q.domain or "", q.skills, seed_of([seed, q.content_hash]), q.content_hash)
    )
    return Questions(tuple(drawn[::2]), tuple(drawn[1::2]))


def measured_right(outcomes: Mapping[str, Sequence[int]]) -> dict[str, Right]:
    """Right answers by question, without the questions that somebody could not be asked."""
    table = {name: np.array(row, dtype=np.int8) for name, row in outcomes.items()}
    known = np.logical_and.reduce([row != UNKNOWN for row in table.values()])
    return {name: row[known] == RIGHT for name, row in table.items()}


Key = tuple[str, tuple[str, ...]]
"""Domain and skills of a question, as its data set labels them."""


def owned_keys(queries: Sequence[Query], right: Sequence[Right]) -> list[set[Key]]:
    """Kinds of questions that each of several experts is the best at; of equals, the first is.

    Args:
        right: per expert, bool [Q].
    """
    owned: list[set[Key]] = [set() for _ in right]
    for key in {_key(query): None for query in queries}:
        places = of_keys(queries, {key})
        owned[int(np.argmax([row[places].sum() for row in right]))].add(key)
    return owned


def of_keys(queries: Sequence[Query], keys: set[Key]) -> list[int]:
    """Places of the questions of these kinds."""
    return [place for place, query in enumerate(queries) if _key(query) in keys]


def _key(query: Query) -> Key:
    return query.domain or "", query.skills


class Judgement(NamedTuple):
    """
    Attributes:
        kept: whether the merged expert earns its place.
        why: one line, with figures.
        accuracy: its own. difference: its own minus the best parent's, in pairs.
        best: that parent; None = there is nobody to compare with.
    """

    kept: bool
    why: str
    accuracy: Estimate
    best: str | None = None
    difference: Estimate | None = None


def judged(merged: Right, parents: Mapping[str, Right]) -> Judgement:
    """Keep a merged expert that is better than its best parent, or not worse by more than `MARGIN`.

    Better: the 95 % interval of the paired difference lies above 0. Not worse: it lies above -`MARGIN`. Of
    parents that are equally good, the first is compared.

    Args:
        merged: bool [Q]; parents: likewise each, on the same questions in the same order.
    """
    own = accuracy(merged)
    n = len(merged)
    if n < FEWEST:
        return Judgement(False, f"not kept: {n} held-out questions say nothing; {FEWEST} are needed", own)
    if not parents:
        return Judgement(False, "not kept: no parent could be measured", own)
    best = max(parents, key=lambda name: float(np.mean(parents[name])))
    gain = paired_difference(merged, parents[best])
    theirs = float(np.mean(parents[best]))
    shown = (
        f"{100 * own.value:.1f} % right on {n} held-out questions at one call each, '{best}', "
        f"the best parent, {100 * theirs:.1f} %: {100 * gain.value:+.1f} points "
        f"(95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    )
    if gain.low > 0:
        return Judgement(True, f"kept: better; {shown}", own, best, gain)
    if gain.low > -MARGIN:
        return Judgement(
            True, f"kept: as good, and one model in place of {len(parents)}; {shown}", own, best, gain
        )
    return Judgement(False, f"not kept: {shown}", own, best, gain)
