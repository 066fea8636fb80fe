"""Open questions of a bench: mean grades of compositions, as far as the answers that they gave are scored."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.domain.answers import Answer
from orchestrator.domain.grades import NO_SCORE
from orchestrator.domain.queries import Query
from orchestrator.domain.values import Value
from orchestrator.evaluation.comparison import AUTO, BEST_SINGLE, Difference, points
from orchestrator.evaluation.grades import LEAST_PAIRED
from orchestrator.evaluation.statistics import bootstrap_mean
from orchestrator.ports.profiling import GivenScores

Floats = npt.NDArray[np.float64]

Answered = tuple[Query, Answer]
"""An open question, and an answer of a composition to it."""


class AnswerScores(NamedTuple):
    """Scores of answers to open questions. `of`: the score of each, in order; None = it has none.
    `judge`: who gives them; "" = not told."""

    of: Callable[[Sequence[Answered]], Sequence[float | None]]
    judge: str = ""


def by_expert(given: GivenScores) -> AnswerScores:
    """Scores of the answers that are one expert's words, by what was given to that expert's answer."""

    def scores(pairs: Sequence[Answered]) -> list[float | None]:
        return [given.scores.get((query.id, answer.answered_by or "")) for query, answer in pairs]

    return AnswerScores(scores, given.judge)


NO_SCORES = by_expert(GivenScores({}))


class GradedRow(Value):
    """Mean grade of one composition's answers with its 95 % interval, over those `n` that have a score; None
    where none has. `n_unscored`: answers that nobody scored."""

    name: str
    grade: float | None
    ci95: tuple[float, float] | None
    n: int
    n_unscored: int


class GradedBench(Value):
    """Compositions compared on open questions.

    Attributes:
        judge: who scored; "" = not told, or nobody.
        differences: each composition minus the best single expert, on the questions where both answers have a
            score; of fewer than 20 there is none.
    """

    n_queries: int
    judge: str
    rows: tuple[GradedRow, ...]
    differences: tuple[Difference, ...]

    @property
    def verdict(self) -> str:
        """Line of a report: whether recruiting pays on the open questions."""
        if not any(row.n for row in self.rows):
            return f"{self.n_queries} open questions: no answer has a score, so nothing is said of them"
        shown = next((d for d in self.differences if d.a == AUTO), None)
        if shown is None:
            return f"open questions: too few scores to compare '{AUTO}' with the best single expert"
        if shown.is_gain:
            return f"open questions: route: '{AUTO}' beats the best single expert by {points(shown)}"
        found = "is worse than" if shown.is_loss else "is not separated from"
        return f"open questions: '{AUTO}' {found} the best single expert: {points(shown, signed=True)}"


def graded_bench(
    queries: Sequence[Query], answers: Mapping[str, Sequence[Answer]], scores: AnswerScores
) -> GradedBench | None:
    """The open questions of a bench; None where there are none.

    Args:
        queries: all that were asked.
        answers: of each composition, in the order of the questions.
    """
    columns = [i for i, query in enumerate(queries) if query.answer_type.is_graded]
    if not columns:
        return None
    pairs = [(queries[i], of_one[i]) for of_one in answers.values() for i in columns]
    values = np.array(_scored(pairs, scores), dtype=np.float64).reshape(len(answers), len(columns))
    table = dict(zip(answers, values, strict=True))
    rows = tuple(_row(name, values) for name, values in table.items())
    return GradedBench(
        n_queries=len(columns), judge=scores.judge, rows=rows, differences=tuple(_differences(table))
    )


def _scored(pairs: Sequence[Answered], scores: AnswerScores) -> list[float]:
    """0 of no answer; nan where one was not scored."""
    said = [pair for pair in pairs if _says_something(pair[1])]
    given = iter(scores.of(said) if said else ())
    found = [next(given) if _says_something(answer) else NO_SCORE for _, answer in pairs]
    return [np.nan if score is None else score for score in found]


def _says_something(answer: Answer) -> bool:
    return answer.error_code is None and bool(answer.text.strip())


def _row(name: str, values: Floats) -> GradedRow:
    known = values[~np.isnan(values)]
    n_unscored = len(values) - len(known)
    if not known.size:
        return GradedRow(name=name, grade=None, ci95=None, n=0, n_unscored=n_unscored)
    mean, low, high = bootstrap_mean(known)
    return GradedRow(name=name, grade=mean, ci95=(low, high), n=len(known), n_unscored=n_unscored)


def _differences(table: Mapping[str, Floats]) -> list[Difference]:
    base = table.get(BEST_SINGLE)
    if base is None:
        return []
    found = []
    for name, values in table.items():
        both = (values - base)[~np.isnan(values - base)]
        if name != BEST_SINGLE and len(both) >= LEAST_PAIRED:
            value, low, high = bootstrap_mean(both)
            found.append(Difference(a=name, b=BEST_SINGLE, difference=value, ci95=(low, high)))
    return found
