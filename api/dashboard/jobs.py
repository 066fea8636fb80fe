"""Pages of jobs: the list, a new one, and one with its progress, plan, errors and answers."""

import csv
import io
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from starlette.responses import StreamingResponse

from api.dashboard.rendering import PageRoute, page, see_other
from api.dashboard.timeline import timeline
from api.deps import AppDep, CallerDep, OwnJobDep, Requires, checked_key, own_job
from api.submission import SPOOL_BYTES, Submission, submitted
from api.views.jobs import job_view, plan_view
from api.views.jobs_failures import SHOWN_CHARS, failures_of
from orchestrator.bootstrap.app import App
from orchestrator.domain.keys import Scope
from orchestrator.domain.names import model_names
from orchestrator.domain.pages import PageRequest
from orchestrator.domain.queries import AnswerType
from orchestrator.errors import JobRunningError, NotFoundError
from orchestrator.ports.jobs import AnsweredQuery

PATH = "/jobs"
PER_PAGE, SHOWN = 25, 20
CHUNK_BYTES = 1 << 18
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of a cell that spreadsheets would run."""

SUBMIT = [Depends(Requires(Scope.BATCH))]

router = APIRouter(prefix=PATH, route_class=PageRoute, include_in_schema=False)


class Shown(NamedTuple):
    """An answer in the list of a job."""

    id: str
    question: str
    answer: str
    confidence: float | None
    error: str | None


@router.get("")
def jobs_page(
    request: Request,
    app: AppDep,
    caller: CallerDep,
    after: Annotated[str | None, Query(max_length=512)] = None,
    every: Annotated[bool, Query(alias="all")] = False,
) -> Response:
    """The list, the newest first, and the form of a new one. `all`: also questions asked one by one."""
    kind = None if every else "batch"
    found = app.pages.job_page(PageRequest(PER_PAGE, after, True), owner=caller.sees_of, kind=kind)
    return page(
        request,
        "jobs.html",
        jobs=[job_view(progress) for progress in found.items],
        older=found.items[-1].job.id if found.has_more and found.items else None,
        every=every,
        models=model_names(app.asking.compositions, [e.id for e in app.pool.answerers]),
        nonce=uuid.uuid4().hex,
    )


@router.post("", dependencies=SUBMIT)
async def submit_without_script(
    app: AppDep,
    caller: CallerDep,
    file: UploadFile,
    model: Annotated[str, Form(max_length=512)] = "",
    label: Annotated[str, Form(max_length=256)] = "",
    nonce: Annotated[str, Form(max_length=255)] = "",
) -> Response:
    """A job of a file; the same form sent twice is one job."""
    wanted = Submission(
        caller,
        composition=model or None,
        key=checked_key(nonce) if nonce else None,
        label=label or (file.filename or "")[:256],
    )
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        progress, _ = await submitted(app, wanted, _chunks(file), spool)
    return see_other(f"/jobs/{progress.job.id}")


@router.get("/{job_id}")
def job_page(job_id: OwnJobDep, request: Request, app: AppDep) -> Response:
    """One job."""
    view = job_view(app.jobs.job(job_id), app.jobs.waits_for(job_id))
    plan = plan_view(app.jobs.plan(job_id))
    failures = failures_of(
        lambda n: app.pages.some_answers(job_id, limit=n, failed=True), n_failed=view.counts.failed
    )
    return page(
        request,
        "job.html",
        job=view,
        is_live=view.state in ("running", "cancelling", "expiring"),
        plan=plan,
        drawing=timeline(plan),
        turns=app.pages.turns(job_id),
        errors=failures.kinds,
        errors_are_partial=failures.partial,
        n_read=failures.n_read,
        shown=[_shown(item) for item in app.pages.some_answers(job_id, limit=SHOWN)],
    )


@router.post("/{job_id}/cancel")
def cancel(job_id: OwnJobDep, app: AppDep) -> Response:
    """A job is cancelled; what is answered is kept."""
    app.jobs.cancel(job_id)
    return see_other(f"/jobs/{job_id}")


@router.post("/{job_id}/retry")
def retry(job_id: OwnJobDep, app: AppDep) -> Response:
    """A job is run again where it failed; one that runs already goes on."""
    with suppress(JobRunningError):
        app.ended.retry(job_id)
    return see_other(f"/jobs/{job_id}")


@router.post("/{job_id}/delete")
def delete(job_id: str, request: Request, app: AppDep, caller: CallerDep) -> Response:
    """A job that has ended is deleted with all that is of it; one that was deleted before is so already."""
    try:
        app.ended.delete(own_job(job_id, request))
    except NotFoundError:
        if not app.pages.has_left(job_id, owner=caller.sees_of):
            raise
    return see_other("/jobs")


@router.get("/{job_id}/answers.csv")
def answers_table(job_id: OwnJobDep, app: AppDep) -> StreamingResponse:
    """Answers so far for a spreadsheet, in the order of the questions."""
    app.jobs.job(job_id)
    return StreamingResponse(table_lines(app, job_id), media_type="text/csv; charset=utf-8")


def table_lines(app: App, job_id: str) -> Iterator[str]:
    """Lines of comma separated values (RFC 4180); a cell that would be run as a formula begins with `'`."""
    yield _line(["id", "question", "answer", "value", "confidence", "answered_by", "error", "message"])
    for item in app.jobs.answers(job_id):
        answer = item.answer
        confidence = "" if answer.confidence is None else f"{answer.confidence:.4f}"
        yield _line(
            [
                *(item.query.id, item.query.text, answer.text, answer.value or "", confidence),
                *(answer.answered_by or "", answer.error_code or "", answer.error or ""),
            ]
        )


def _shown(item: AnsweredQuery) -> Shown:
    answer = item.answer
    is_words = answer.answer_type in (None, AnswerType.TEXT, AnswerType.OPEN)
    said = answer.text if is_words or answer.value is None else answer.value
    return Shown(
        item.query.id,
        _short(item.query.text),
        _short(said),
        answer.confidence,
        answer.error_code,
    )


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(["'" + cell if cell.startswith(FORMULA) else cell for cell in cells])
    return buffer.getvalue()


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk
