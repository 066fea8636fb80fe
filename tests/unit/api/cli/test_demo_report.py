"""The demo's document."""

from api.cli.demo_report import demo_report
from orchestrator.domain.queries import Query
from orchestrator.evaluation.bench import BenchReport, CompositionResult


def query(number: int, *skills: str) -> Query:
    return Query(id=str(number), question=f"Question {number}?", skills=skills)


def row(name: str, accuracy: float) -> CompositionResult:
    return CompositionResult(
        name=name, accuracy=accuracy, ci95=(0.5, 1), calls_per_query=3, loads=2, engines=2, seconds=1
    )


def test_parts_are_counted_over_their_own_questions() -> None:
    """auto is right on both one-skill questions and one of the others; best_single on the first only."""
    report = BenchReport(
        n_queries=4,
        n_experts=3,
        rows=(row("auto", 0.75), row("best_single", 0.25)),
        differences=(),
        right={"auto": (True, True, True, False), "best_single": (True, False, False, False)},
    )
    queries = [query(0, "a"), query(1, "b"), query(2, "a", "b"), query(3, "a", "c")]
    document = demo_report(report, queries)
    assert accuracies(document, "single_skill") == {"auto": 1.0, "best_single": 0.5}
    assert accuracies(document, "two_skill") == {"auto": 0.5, "best_single": 0.0}
    assert differences(document, "all") == {("auto", "best_single"): 0.5}
    assert differences(document, "single_skill") == {("auto", "best_single"): 0.5}


def test_rows_hold_what_they_cost() -> None:
    report = BenchReport(
        n_queries=1, n_experts=3, rows=(row("auto", 1),), differences=(), right={"auto": (True,)}
    )
    [only] = demo_report(report, [query(0, "a")])["compositions"]  # type: ignore[misc]
    assert (only["name"], only["loads"], only["calls_per_query"]) == ("auto", 2, 3)


def test_a_part_without_questions_is_empty() -> None:
    report = BenchReport(n_queries=1, n_experts=1, rows=(), differences=(), right={"auto": (True,)})
    assert demo_report(report, [query(0, "a")])["two_skill"] == {}


def accuracies(document: dict[str, object], part: str) -> dict[str, float]:
    return {name: row["accuracy"] for name, row in document[part].items()}  # type: ignore[attr-defined]


def differences(document: dict[str, object], part: str) -> dict[tuple[str, str], float]:
    return {(d["a"], d["b"]): d["difference"] for d in document["paired"][part]}  # type: ignore[index]
