"""Grades as they are shown: on cards, and in reports of profiling."""

from collections.abc import Iterator, Mapping

from api.schemas.experts_grades import (
    GapView,
    GradesView,
    GradeView,
    GradingView,
    JudgeCheckView,
    LengthsView,
)
from orchestrator.domain.grades import Grades, GradeTally, ScoreTable
from orchestrator.domain.posteriors import Posterior
from orchestrator.evaluation.grades import GradeGap, gaps_to_best
from orchestrator.ports.profiling import ProfileReport

LEAST_AGREEMENT = 0.7
"""Self-agreement of a judge below which its report warns."""
MOST_PER_DOUBLING = 0.05
"""Score per doubling of the length from which on its report warns."""


def grades_view(grades: Grades | None, gap: GradeGap | None = None) -> GradesView | None:
    """Grades of one expert.

    Args:
        grades: None = it was not graded.
        gap: to the best of those that were compared; None = it was not compared.
    """
    if grades is None:
        return None
    overall, lengths = grades.posterior, grades.lengths
    return GradesView(
        source=grades.source.value,
        judge=grades.judge,
        total=_grade_view(overall),
        skills=_grade_views(grades.skills, overall.mean),
        domains=_grade_views(grades.domains, overall.mean),
        abstained=grades.n_abstain,
        unscored=grades.n_unscored,
        lengths=None if lengths is None else LengthsView(**lengths.model_dump()),
        gap=None if gap is None else _gap_view(gap),
    )


def grade_view(tally: GradeTally) -> GradeView | None:
    """The mean of scores, shrunk towards 0.5; None of no scores."""
    return _grade_view(tally.posterior(0.5)) if tally.n else None


def _gap_view(gap: GradeGap) -> GapView:
    return GapView(
        best=gap.best,
        difference=gap.difference,
        low=gap.low,
        high=gap.high,
        n=gap.n,
        separated=gap.is_separated,
    )


def gaps_of(table: ScoreTable | None, *, of: str | None = None) -> Mapping[str, GradeGap]:
    """Gaps to the best expert, of all or `of` one, by expert. Args: table: None = nothing was scored: no
    gaps."""
    return {} if table is None else gaps_to_best(table, of=of)


def origin_line(source: str, judge: str) -> str:
    """`rubric by gemma`; `imported`."""
    return f"{source} by {judge}" if judge else source


def grading_view(report: ProfileReport) -> GradingView | None:
    """None of a profile without open questions."""
    if not report.n_open:
        return None
    found = report.grading
    if found is None:
        return GradingView(
            questions=report.n_open,
            source=None,
            judge="",
            scored=0,
            unscored={},
            overruled=0,
            check=None,
            per_doubling=None,
            notes=[],
        )
    return GradingView(
        questions=report.n_open,
        source=found.source.value,
        judge=found.judge,
        scored=found.n_scored,
        unscored=dict(found.unscored),
        overruled=found.overruled,
        check=None if found.check is None else JudgeCheckView(**found.check._asdict()),
        per_doubling=found.per_doubling,
        notes=list(found.notes),
    )


def grading_lines(report: ProfileReport) -> Iterator[str]:
    """Lines for people about the scores of a profile."""
    found = report.grading
    if report.n_open and found is None:
        yield (
            f"{report.n_open} open questions have no scores yet: give --scores FILE, or --judge EXPERT. "
            "Until then the best expert by exact answers answers such questions."
        )
    if found is None:
        return
    yield f"{found.n_scored} answers scored: {origin_line(found.source, found.judge)}."
    if found.unscored:
        missing = ", ".join(f"{expert_id} {n}" for expert_id, n in found.unscored.items())
        yield f"Without a score, and counted nowhere: {missing}."
    if found.overruled:
        yield f"{found.overruled} given scores were of empty or failed answers, which have 0."
    if (check := found.check) is not None:
        doubt = " That is little: its grades are mostly noise." if check.agreement < LEAST_AGREEMENT else ""
        yield (
            f"The judge read {check.n} answers twice, the second time in the other order: "
            f"{100 * check.agreement:.0f} % agree, mean difference {check.difference:.2f}.{doubt}"
        )
    if (slope := found.per_doubling) is not None:
        doubt = " Longer answers are favoured." if slope >= MOST_PER_DOUBLING else ""
        yield f"An answer twice as long as another to the same question scores {slope:+.3f}.{doubt}"
    yield from (f"Note: {note}." for note in found.notes)


def _grade_views(tallies: Mapping[str, GradeTally], overall: float) -> dict[str, GradeView]:
    return {name: _grade_view(tally.posterior(overall)) for name, tally in sorted(tallies.items())}


def _grade_view(known: Posterior) -> GradeView:
    return GradeView(n=known.n, mean=known.mean, low=known.low, high=known.high)
