"""Tables for people."""

import io

import pytest
from rich.console import Console, RenderableType

from api.cli.progress import duration, progress_line
from api.cli.tables import (
    answer_lines,
    bench_table,
    card_table,
    cards_table,
    checks_table,
    decision_table,
    drift_table,
    experts_table,
    feedback_table,
    plan_lines,
    plan_table,
    swiss_table,
    votes_table,
)
from orchestrator.batching import JobPlan, Stay
from orchestrator.bootstrap.checks import Diagnosis
from orchestrator.domain.answers import Answer, Decision, ExpectedGrade, Interval, Recruit, SkillEvidence
from orchestrator.domain.assignments import NOTHING_LEFT, Job, JobProgress, JobState, LoadPlan
from orchestrator.domain.cards import Tally
from orchestrator.domain.engines import EngineState
from orchestrator.domain.experts import Pool
from orchestrator.domain.feedback import Drift, Feedback
from orchestrator.domain.queries import AnswerType
from orchestrator.evaluation.bench import BenchReport, CompositionResult
from orchestrator.evaluation.comparison import Difference
from orchestrator.evaluation.swiss import Standing
from tests.fakes.app import ANSWER, make_card, make_expert


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_experts_show_who_is_profiled() -> None:
    pool = Pool(experts=(make_expert("alpha"), make_expert("beta")))
    text = shown(experts_table(pool, {"alpha": make_card("alpha")}))
    assert "70.0 %" in text
    assert "not profiled" in text


def test_who_is_paused_is_not_shown_as_ready() -> None:
    pool = Pool(experts=(make_expert("alpha"), make_expert("beta")))
    states = {e.engine.id: EngineState(engine_id=e.engine.id, state="ready") for e in pool.experts}
    lines = shown(experts_table(pool, {}, states, paused={"beta"})).splitlines()
    state_of = {name: next(line for line in lines if line.strip().startswith(name)) for name in pool.by_id}
    assert "ready" in state_of["alpha"]
    assert "paused" in state_of["beta"]
    assert "ready" not in state_of["beta"]


def test_cards_show_counts_and_best_skills() -> None:
    text = shown(cards_table({"alpha": make_card("alpha")}))
    assert all(part in text for part in ("alpha", "70.0 %", "7", "2", "1", "algebra"))


def test_skills_and_domains_with_nothing_right_are_not_best() -> None:
    card = make_card("alpha").model_copy(
        update={
            "skills": {"algebra": Tally(n_right=3), "rhymes": Tally(n_wrong=1), "maps": Tally(n_abstain=2)},
            "domains": {"law": Tally(n_right=1), "physics": Tally(n_wrong=4)},
        }
    )
    text = shown(cards_table({"alpha": card}))
    assert "best domains" in text
    assert [name for name in ("algebra", "rhymes", "maps", "law", "physics") if name in text] == [
        "algebra",
        "law",
    ]
    assert all(f"domain: {name}" in shown(card_table(card)) for name in ("law", "physics"))


def test_a_member_that_only_aggregates_has_dashes_for_what_was_not_measured() -> None:
    card = make_card("writer").model_copy(update={"total": Tally(), "skills": {}})
    pool = Pool(experts=(make_expert("writer"),))
    for text in (shown(cards_table({"writer": card})), shown(experts_table(pool, {"writer": card}))):
        assert "–" in text
        assert "0.0 %" not in text


def test_decayed_counts_are_shown_with_one_digit() -> None:
    card = make_card("alpha").model_copy(update={"total": Tally(n_right=7.4444, n_wrong=2)})
    assert "7.4 " in shown(cards_table({"alpha": card}))


def test_drift_shows_what_was_expected() -> None:
    drift = Drift("alpha", "algebra", 0.2, 25, 0.7, Interval(0.52, 0.88), 20_000, 20_007)
    text = shown(drift_table([drift], {"alpha": 86_400 * 19_990.5}))
    assert all(part in text for part in ("alpha", "algebra", "20.0 %", "25", "70.0 % (52 to 88)"))
    assert text.index("2024-10-04") < text.index("2024-09-24"), "since when, and of which day the card is"


def test_standings_show_the_place_and_what_elimination_costs() -> None:
    text = shown(swiss_table([Standing("alpha", 2.5, 3, 0.25, 0.1), Standing("beta", 1, 3, 0.5, 0.4)]))
    assert text.index("alpha") < text.index("beta")
    assert all(part in text for part in ("2.50", "25.0 %", "40.0 %"))


def test_a_judgement_shows_what_it_says_of_each_expert() -> None:
    judged = Feedback(
        job_id="j", query_id="q7", score=0.75, day=0, experts={"alpha": Tally(n_right=0.75, n_wrong=0.25)}
    )
    text = shown(feedback_table(judged))
    assert all(part in text for part in ("q7", "alpha", "0.75", "0.25"))


def test_a_card_shows_estimates_with_intervals() -> None:
    """Beta(4*0.7 + 7, 4*0.3 + 3): mean 9.8 / 14 = 70 %."""
    text = shown(card_table(make_card("alpha")))
    assert "70.0 %" in text
    assert " to " in text


def test_decisions_show_evidence_and_the_runner_up() -> None:
    evidence = SkillEvidence(
        skill="algebra", weight=1, score=5, n=10, accuracy=0.8, interval=Interval(0.6, 0.9)
    )
    best = Recruit(expert_id="alpha", weight=1, score=5, accuracy=0.8, evidence=(evidence,), note="only one")
    next_best = Recruit(expert_id="beta", weight=0, score=1, accuracy=0.4)
    decision = Decision(router="r", recruits=(best,), runner_up=next_best, would_change="3 more right")
    text = shown(decision_table(decision))
    assert "algebra: 80.0 % on 10; only one" in text
    assert "(beta)" in text
    assert "left out: 3 more right" in text


def test_votes_show_abstentions_with_their_reason() -> None:
    text = shown(votes_table(ANSWER))
    assert "abstained: unread" in text
    assert "0.75" in text


def test_answers_show_how_sure_and_what_it_took() -> None:
    text = shown(answer_lines(ANSWER.model_copy(update={"degraded": True, "notes": ("one failed",)})))
    assert "The answer is (B)." in text
    assert "confidence 80.0 %, 3 calls, degraded, one failed" in text


def test_bench_shows_paired_differences_in_points() -> None:
    def row(name: str, accuracy: float) -> CompositionResult:
        ci95 = (accuracy - 0.1, accuracy + 0.1)
        return CompositionResult(
            name=name, accuracy=accuracy, ci95=ci95, calls_per_query=3, loads=2, engines=2, seconds=1.5
        )

    report = BenchReport(
        n_queries=4,
        n_experts=2,
        rows=(row("auto", 0.75), row("best_single", 0.5)),
        differences=(Difference(a="auto", b="best_single", difference=0.25, ci95=(0.05, 0.4)),),
        right={},
    )
    text = shown(bench_table(report))
    assert "75.0" in text
    assert "65–85" in text
    assert "+25.0 (+5.0 +40.0)" in text


def test_a_derived_row_has_dashes_for_what_it_did_not_cost() -> None:
    row = CompositionResult(
        name="knn",
        accuracy=0.5,
        ci95=(0.4, 0.6),
        calls_per_query=3,
        loads=None,
        engines=7,
        seconds=None,
        derived=True,
    )
    text = shown(bench_table(BenchReport(n_queries=4, n_experts=3, rows=(row,), differences=(), right={})))
    assert text.count("–") == 4  # the interval, two costs, and what they mean
    assert "--run-all" in text


def test_checks_show_failures_with_remedies() -> None:
    text = shown(checks_table([Diagnosis("a", True, "fine"), Diagnosis("b", False, "gone", "Mend it.")]))
    assert "FAILED" in text
    assert "Mend it." in text


def progress_at(done: int, total: int, *, failed: int = 0, loads: int = 0) -> JobProgress:
    return JobProgress(
        job=Job(id="j", composition="auto"),
        state=JobState.RUNNING,
        total=total,
        completed=done - failed,
        failed=failed,
        n_loads=loads,
    )


def test_progress_counts_queries_and_loads_and_says_what_is_left() -> None:
    left = LoadPlan(("a", "b"), loads_left=2, seconds_left=64.2, lower_bound_s=60.0, overlapped_bound_s=40.0)
    line = progress_line(progress_at(12, 20, failed=1, loads=3), left=left)
    assert line == "12/20 queries, 1 failed, 3 loads, 2 more, about 1:05 left"


def test_progress_with_nothing_waiting_leaves_the_outlook_out() -> None:
    assert progress_line(progress_at(20, 20, loads=3), left=NOTHING_LEFT) == "20/20 queries, 3 loads"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:01"), (59.5, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


PLAN = JobPlan(
    job_id="job",
    state=JobState.RUNNING,
    loads_done=1,
    loads_left=2,
    seconds_done=30.0,
    seconds_left=35.0,
    lower_bound_s=33.0,
    overlapped_bound_s=28.0,
    ratio=None,
    overlapped_ratio=None,
    is_optimal=False,
    stays=(
        Stay("gpu-0", "a", 0.0, 10.0, 30.0, is_past=True),
        Stay("gpu-0", "b", 30.0, 40.0, 65.0, is_past=False),
    ),
)


def test_a_plan_shows_each_device_in_time_and_what_is_left() -> None:
    text = shown(plan_table(PLAN))
    assert text.index("10.0 s") < text.index("40.0 s") < text.index("planned")
    assert "2 loads and about 35.0 s left" in plan_lines(PLAN).plain
    assert "33.0 s, with loads hidden behind work 28.0 s" in plan_lines(PLAN).plain


def test_the_plan_of_a_job_that_has_ended_shows_its_ratio() -> None:
    done = PLAN._replace(ratio=1.25, lower_bound_s=24.0, overlapped_ratio=1.5, overlapped_bound_s=20.0)
    line = "1 loads, 30.0 s: 1.25 times the lower bound of 24.0 s, 1.50 times that with loads hidden, 20.0 s"
    assert plan_lines(done).plain == line


def open_answer(expected: ExpectedGrade | None) -> Answer:
    changes = {
        "confidence": None,
        "votes": (),
        "answer_type": AnswerType.OPEN,
        "aggregator": "graded",
        "answered_by": "org/alpha",
        "expected_grade": expected,
    }
    return ANSWER.model_copy(update=changes)


def test_open_answers_show_the_grade_to_expect_and_the_rule_in_place_of_confidence() -> None:
    grade = ExpectedGrade(mean=0.62, low=0.55, high=0.688, n=120, source="imported")
    text = shown(answer_lines(open_answer(grade)))
    assert "expected grade .62 (.55–.69, imported), rule graded, by org/alpha, 3 calls" in text
    assert "confidence" not in text


def test_open_answers_without_grades_say_so() -> None:
    assert "no grade known, rule graded" in shown(answer_lines(open_answer(None)))


def test_who_asks_one_expert_reads_its_name_and_nothing_of_grades() -> None:
    alone = open_answer(None).model_copy(update={"aggregator": "first"})
    text = shown(answer_lines(alone))
    assert "by org/alpha, 3 calls" in text
    assert "grade" not in text
    assert "rule" not in text
