"""The report of `muster demo`, as one document."""

from collections.abc import Sequence

from pydantic import JsonValue

from orchestrator.domain.queries import Query
from orchestrator.evaluation.bench import BenchReport
from orchestrator.evaluation.comparison import AUTO, ORACLE

ROW_FIELDS = {"name", "accuracy", "ci95", "calls_per_query", "loads", "engines", "seconds", "derived"}


def demo_report(report: BenchReport, queries: Sequence[Query]) -> dict[str, JsonValue]:
    """The comparison over all questions, and again for those that need one skill and two.

    Args:
        queries: those of the report, in its order; `skills` are the data set's labels.
    """
    n_skills = [len(query.skills) for query in queries]
    return {
        "verdict": report.verdict,
        "queries": report.n_queries,
        "experts": report.n_experts,
        "compositions": [row.model_dump(mode="json", include=ROW_FIELDS) for row in report.rows],
        "single_skill": _part(report, [n == 1 for n in n_skills]),
        "two_skill": _part(report, [n == 2 for n in n_skills]),
        "paired": {
            "all": _paired(report, [True] * len(queries)),
            "single_skill": _paired(report, [n == 1 for n in n_skills]),
        },
    }


def _paired(report: BenchReport, keep: Sequence[bool]) -> list[JsonValue]:
    """`auto` minus each other composition that was run, on the same queries."""
    others = [row.name for row in report.rows if row.name not in (AUTO, ORACLE)]
    if AUTO not in report.right or not any(keep):
        return []
    return [report.compare(AUTO, other, keep).model_dump(mode="json") for other in others]


def _part(report: BenchReport, keep: Sequence[bool]) -> dict[str, JsonValue]:
    """Accuracy per composition where `keep` is true; empty when it never is."""
    if not any(keep):
        return {}
    return {
        name: {"queries": sum(keep), "accuracy": estimate.value, "ci95": [estimate.low, estimate.high]}
        for name, estimate in report.subset(keep).items()
    }
