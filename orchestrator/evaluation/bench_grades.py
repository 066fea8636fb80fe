"""Open questions of a bench: mean grades of compositions, as far as the answers that they gave are scored."""

from collections.abc import Mapping, Sequence

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

NO_SCORES = GivenScores({})


class GradedRow(Value):
    """Mean grade of one composition's answers with its 95 % interval, over those `n` that have a score; None
    where none has. `n_unscored`: written by nobody alone, or by an expert whose answer nobody scored."""

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
    queries: Sequence[Query], answers: Mapping[str, Sequence[Answer]], scores: GivenScores
) -> GradedBench | None:
    """The open questions of a bench; None where there are none.

    Args:
        queries: all that were asked.
        answers: of each composition, in the order of the questions.
    """
    columns = [i for i, query in enumerate(queries) if query.answer_type.is_graded]
    if not columns:
        return None
    table = {
        name: np.array([_score(queries[i], of_one[i], scores) for i in columns], dtype=np.float64)
        for name, of_one in answers.items()
    }
    rows = tuple(_row(name, values) for name, values in table.items())
    return GradedBench(
        n_queries=len(columns), judge=scores.judge, rows=rows, differences=tuple(_differences(table))
    )


def _score(query: Query, answer: Answer, scores: GivenScores) -> float:
    """0 of no answer; nan where it was not scored."""
    if answer.error_code is not None or not answer.text.strip():
        return NO_SCORE
    return scores.scores.get((query.id, answer.answered_by or ""), np.nan)


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
