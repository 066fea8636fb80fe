"""Progress where stderr is no terminal: a line now and then."""

from api.cli.progress import LINE_S, JobLines
from orchestrator.domain.assignments import NOTHING_LEFT, Job, JobProgress, JobState


def progress(completed: int, *, total: int = 4) -> JobProgress:
    state = JobState.DONE if completed == total else JobState.RUNNING
    job = Job(id="j", composition="auto")
    return JobProgress(
        job=job,
        state=state,
        total=total,
        completed=completed,
        failed=0,
        n_assignments=8,
        n_responses=2 * completed,
    )


def test_lines_come_at_the_start_now_and_then_and_at_the_end() -> None:
    lines: list[str] = []
    now = [0.0]
    shown = JobLines(lines.append, left=lambda _: NOTHING_LEFT, clock=lambda: now[0])

    for at_s, completed in [(0.0, 0), (LINE_S / 2, 1), (LINE_S, 2), (LINE_S + 1, 3), (LINE_S + 2, 4)]:
        now[0] = at_s
        shown.update("profiling", progress(completed))

    assert lines == [
        "profiling: 0 of 8 calls, 0/4 queries, 0 loads\n",
        "profiling: 4 of 8 calls, 2/4 queries, 0 loads\n",
        "profiling: 8 of 8 calls, 4/4 queries, 0 loads\n",
    ]


def test_a_new_title_has_a_line_at_once() -> None:
    lines: list[str] = []
    shown = JobLines(lines.append, left=lambda _: NOTHING_LEFT, clock=lambda: 0.0)

    shown.update("auto", progress(1))
    shown.update("knn", progress(1))

    assert [line.split(":")[0] for line in lines] == ["auto", "knn"]
