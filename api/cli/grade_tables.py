"""Grades of open questions as tables for people, beside the counts of exact answers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from api.cli.tables import NO_DATES, TOP_SKILLS, bench_table, card_table, cards_table, table

if TYPE_CHECKING:
    from orchestrator.domain.cards import CompetenceCard
    from orchestrator.domain.grades import Grades, GradeTally
    from orchestrator.evaluation.bench import BenchReport
    from orchestrator.evaluation.bench_grades import GradedBench
    from orchestrator.evaluation.grades import GradeGap


def cards_tables(
    cards: Mapping[str, "CompetenceCard"],
    gaps: "Mapping[str, GradeGap] | None" = None,
    dates: Mapping[str, float] = NO_DATES,
) -> list[Table]:
    """The counts where exact answers were measured, and the grades where answers were scored. `dates`: of the
    cards, by expert."""
    graded = {i: card.graded for i, card in sorted(cards.items()) if card.graded is not None}
    has_counts = not graded or any(card.total.n or card.aggregation for card in cards.values())
    return [
        *([cards_table(cards, dates)] if has_counts else []),
        *([grades_table(graded, gaps)] if graded else []),
    ]


def card_tables(card: "CompetenceCard", at_s: float | None = None) -> list[Table]:
    """One expert's counts, and its grades. `at_s`: when the card was stored."""
    has_counts = card.graded is None or card.total.n
    shown = [card_table(card, at_s)] if has_counts else []
    return shown if card.graded is None else [*shown, skills_table(card.expert_id, card.graded)]


def grades_table(grades: "Mapping[str, Grades]", gaps: "Mapping[str, GradeGap] | None" = None) -> Table:
    """Mean grades with 90 % intervals, best first; whom the paired comparison cannot tell from the best."""
    numbers = ["grade", "90 %", "answers", "empty", "length"]
    origins = sorted({_origin_of(of_one) for of_one in grades.values()})
    title = f"Grades of open questions: {'; '.join(origins)}"
    compared = ["against the best"] if gaps is not None else []
    result = table(title, "expert", *numbers, *compared, "best skills", numbers=numbers)
    for expert_id, of_one in sorted(grades.items(), key=lambda item: (-item[1].posterior.mean, item[0])):
        known = of_one.posterior
        cells = [] if gaps is None else [_against(expert_id, gaps)]
        result.add_row(
            expert_id,
            f"{known.mean:.3f}",
            f"{known.low:.2f} to {known.high:.2f}",
            f"{of_one.total.n:g}",
            str(of_one.n_abstain),
            "–" if of_one.lengths is None else f"{math.expm1(of_one.lengths.median):.0f}",
            *cells,
            ", ".join(_best(of_one)),
        )
    result.caption = "length: characters of the median answer"
    return result


def skills_table(expert_id: str, grades: "Grades") -> Table:
    """Grades of one expert by skill and domain."""
    numbers = ["grade", "90 % interval", "answers"]
    result = table(f"Grades of {expert_id}: {_origin_of(grades)}", "skill", *numbers, numbers=numbers)
    overall = grades.posterior.mean
    domains = [(f"domain: {name}", tally) for name, tally in sorted(grades.domains.items())]
    rows: list[tuple[str, GradeTally]] = [("(all)", grades.total), *sorted(grades.skills.items()), *domains]
    for name, tally in rows:
        known = tally.posterior(0.5 if tally is grades.total else overall)
        result.add_row(name, f"{known.mean:.3f}", f"{known.low:.2f} to {known.high:.2f}", f"{tally.n:g}")
    return result


def _origin_of(grades: "Grades") -> str:
    from api.views.experts_grades import origin_line

    return origin_line(grades.source.value, grades.judge)


def _against(expert_id: str, gaps: "Mapping[str, GradeGap]") -> str:
    """`-0.03 (-0.06 -0.01)`, or that the two cannot be told apart."""
    gap = gaps.get(expert_id)
    if gap is None:
        return "best" if any(other.best == expert_id for other in gaps.values()) else ""
    shown = _gain(gap.difference, gap.low, gap.high)
    return shown if gap.is_separated else f"not separated: {shown}"


def _gain(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} ({low:+.3f} {high:+.3f})"


def _best(grades: "Grades") -> list[str]:
    overall = grades.posterior.mean
    means = {name: tally.posterior(overall).mean for name, tally in grades.skills.items() if tally.total}
    return sorted(means, key=lambda name: (-means[name], name))[:TOP_SKILLS]


def bench_tables(report: "BenchReport") -> "list[str | Table]":
    """Verdict and table of the questions with exact answers, then of the open ones."""
    shown: list[str | Table] = [report.verdict, bench_table(report)] if report.n_queries else []
    if report.graded is None:
        return shown
    return [*shown, report.graded.verdict, graded_table(report.graded)]


def graded_table(graded: "GradedBench") -> Table:
    """Mean grades with 95 % intervals, and paired differences to the best single expert."""
    numbers = ["grade", "95 %", "scored", "without", "vs best single"]
    by = f", scored by {graded.judge}" if graded.judge else ""
    title = f"{graded.n_queries} open questions{by}"
    result = table(title, "composition", *numbers, numbers=numbers)
    differences = {d.a: d for d in graded.differences}
    for row in graded.rows:
        low, high = row.ci95 or (0.0, 0.0)
        paired = differences.get(row.name)
        result.add_row(
            row.name,
            "–" if row.grade is None else f"{row.grade:.3f}",
            "–" if row.ci95 is None else f"{low:.2f}–{high:.2f}",
            str(row.n),
            str(row.n_unscored),
            ""
            if paired is None
            else f"{paired.difference:+.3f} ({paired.ci95[0]:+.3f} {paired.ci95[1]:+.3f})",
        )
    result.caption = "without: answers that have no score, such as those that several experts wrote"
    return result
