"""Jobs, their plans, answers and events as they are shown."""

import logging
from collections.abc import Iterable
from typing import Literal

from pydantic import JsonValue

from api.schemas.jobs import JobCounts, JobView, PlanView, StayView
from api.views.chat import grade_view, muster_view
from api.views.experts import engine_views
from orchestrator.batching import JobPlan
from orchestrator.domain.answers import Answer
from orchestrator.domain.assignments import BACKGROUND, INTERACTIVE, JobProgress
from orchestrator.domain.engines import EngineState
from orchestrator.domain.names import model_name
from orchestrator.ports.jobs import AnsweredQuery

log = logging.getLogger(__name__)


def job_view(progress: JobProgress, waits_for: Iterable[EngineState] = ()) -> JobView:
    """`waits_for`: engines of the job that cannot be served now."""
    job = progress.job
    return JobView(
        id=job.id,
        kind=job.kind,
        state=progress.state.value,
        model=model_name(job.composition),
        label=job.label,
        priority=_tier(job.priority),
        counts=JobCounts(
            total=progress.total,
            completed=progress.completed,
            failed=progress.failed,
            waiting=progress.waiting,
        ),
        calls=progress.n_assignments,
        responses=progress.n_responses,
        loads=progress.n_loads,
        retries=progress.n_retries,
        created_at=int(progress.created_at),
        finished_at=None if progress.finished_at is None else int(progress.finished_at),
        deadline_at=None if progress.deadline_at is None else int(progress.deadline_at),
        waits_for=engine_views(waits_for),
    )


def _tier(priority: int) -> Literal["background", "batch", "interactive"]:
    if priority >= INTERACTIVE:
        return "interactive"
    return "batch" if priority > BACKGROUND else "background"


def plan_view(plan: JobPlan, waits_for: Iterable[EngineState] = ()) -> PlanView:
    """The plan of a job. Args: waits_for: engines of it that cannot be served now."""
    return PlanView(
        job=plan.job_id,
        state=plan.state.value,
        loads_done=plan.loads_done,
        loads_left=plan.loads_left,
        seconds_done=plan.seconds_done,
        seconds_left=plan.seconds_left,
        lower_bound_s=plan.lower_bound_s,
        overlapped_bound_s=plan.overlapped_bound_s,
        ratio=plan.ratio,
        overlapped_ratio=plan.overlapped_ratio,
        optimal=plan.is_optimal,
        stays=[
            StayView(
                device=stay.device,
                engine=stay.engine_id,
                load_from_s=stay.load_from_s,
                serve_from_s=stay.serve_from_s,
                until_s=stay.until_s,
                past=stay.is_past,
                load=None if stay.kind is None else stay.kind.value,
            )
            for stay in plan.stays
        ],
        waits_for=engine_views(waits_for),
    )


def own_line(item: AnsweredQuery, *, job_id: str, composition: str) -> dict[str, JsonValue]:
    """One answer as a line of an answer file."""
    answer = item.answer
    grade = grade_view(answer)
    return {
        "id": item.query.id,
        "answer": answer.text,
        "value": answer.value,
        "confidence": answer.confidence,
        "expected_grade": None if grade is None else grade.model_dump(mode="json"),
        "error": answer_failure(answer),
        "muster": _muster(answer, job_id=job_id, composition=composition),
    }


def answer_failure(answer: Answer) -> dict[str, JsonValue] | None:
    """Code and message of an answer that failed; None = it did not."""
    if answer.error_code is None:
        return None
    return {"code": answer.error_code, "message": answer.error}


def _muster(answer: Answer, *, job_id: str, composition: str) -> dict[str, JsonValue]:
    view = muster_view(answer, job_id=job_id, composition=composition)
    usage = answer.usage
    return {
        **view.model_dump(mode="json"),
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cost_usd": usage.cost_usd,
        },
    }
