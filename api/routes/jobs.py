"""`/v1/jobs`: question sets as jobs: submit, look, follow, plan, cancel, read the answers, retry, delete."""

import json
import tempfile
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.deps import KEY_FORM, AppDep, CallerDep, FeedDep, OwnJobDep, PageDep, Requires, checked_key
from api.errors import MediaTypeError
from api.idempotency import REPLAYED
from api.schemas.jobs import JobDeletedView, JobView, PlanView
from api.schemas.pages import PageView
from api.submission import PATH, SPOOL_BYTES, Submission, submitted
from api.views.events import HEADERS, MEDIA_TYPE
from api.views.jobs import job_view, plan_view
from api.views.jobs_lines import answer_line
from api.views.pages import page_view
from orchestrator.domain.assignments import JobProgress
from orchestrator.domain.keys import Scope
from orchestrator.ports.batches import AnsweredJob

MEDIA_TYPES = ("application/jsonl", "application/x-ndjson")
_KEY_DESCRIPTION = (
    f"{KEY_FORM}. The same request under the same key is one job for as long as this is kept: a repetition "
    f"is told how it stands now, with `{REPLAYED}: true`; another content is refused with 422."
)
MIN_DEADLINE_S, MAX_DEADLINE_S = 1, 30 * 86_400

router = APIRouter(tags=["jobs"])


@router.post(
    PATH,
    status_code=202,
    openapi_extra={"requestBody": {"content": {MEDIA_TYPES[0]: {}}}},
    dependencies=[Depends(Requires(Scope.BATCH))],
)
async def submit_job(
    request: Request,
    response: Response,
    app: AppDep,
    caller: CallerDep,
    composition: Annotated[
        str | None, Query(description="Answers every line; without it each line's own `model` does.")
    ] = None,
    deadline_s: Annotated[float | None, Query(ge=MIN_DEADLINE_S, le=MAX_DEADLINE_S)] = None,
    label: Annotated[str, Query(max_length=256)] = "",
    reuse: Annotated[
        bool,
        Query(description="Lines that were answered before, under this configuration, are not asked again."),
    ] = False,
    idempotency_key: Annotated[str | None, Header(description=_KEY_DESCRIPTION)] = None,
) -> JobView:
    """Store a question set, one JSON object a line, as one job: all of it, or nothing.

    Lines have our own form (`{"id", "question", "options"?, "model"?, ...}`) or that of OpenAI's batches, may
    be mixed, and are each answered on their own terms and in their own form. `composition` is a name of
    `/v1/models`. `Idempotency-Key`: the same key and request give the same job, also after the configuration
    has changed. The body is kept in a file while it arrives, so a slow client holds no transaction.
    """
    _require_jsonl(request)
    wanted = Submission(
        caller,
        composition=composition,
        key=None if idempotency_key is None else checked_key(idempotency_key),
        label=label,
        deadline_s=deadline_s,
        reuses=reuse,
    )
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        progress, is_repeat = await submitted(app, wanted, request.stream(), spool)
    response.headers["location"] = f"{PATH}/{progress.job.id}"
    if is_repeat:
        response.headers[REPLAYED] = "true"
    return job_view(progress)


@router.get(PATH)
def list_jobs(app: AppDep, caller: CallerDep, page: PageDep) -> PageView[JobView]:
    """List jobs in the order of submission: those of the key, and to an admin all."""
    found = app.pages.job_page(page, owner=caller.sees_of)
    return page_view(
        [job_view(progress) for progress in found.items], id_of=lambda view: view.id, has_more=found.has_more
    )


@router.get(PATH + "/{job_id}")
def get_job(job_id: OwnJobDep, app: AppDep) -> JobView:
    """Show one job, and the engines that it waits for."""
    return job_view(app.jobs.job(job_id), app.jobs.waits_for(job_id))


@router.post(PATH + "/{job_id}/cancel")
def cancel_job(job_id: OwnJobDep, app: AppDep) -> JobView:
    """Cancel a job: what is answered is kept. One that has ended stays as it is."""
    app.jobs.cancel(job_id)
    return job_view(app.jobs.job(job_id))


@router.post(PATH + "/{job_id}/retry", status_code=202)
def retry_job(
    job_id: OwnJobDep,
    app: AppDep,
    failed_only: Annotated[
        bool, Query(description="False: also answers that had to do without somebody who was asked.")
    ] = True,
    deadline_s: Annotated[float | None, Query(ge=MIN_DEADLINE_S, le=MAX_DEADLINE_S)] = None,
) -> JobView:
    """Run what failed in a job that has ended again; what is answered stays. 409 while it runs.

    What a cancellation or a deadline ended goes on where it was. Without a new deadline the job has none;
    with nothing to run again it stays as it is.
    """
    app.ended.retry(job_id, failed_only=failed_only, deadline_s=deadline_s)
    return job_view(app.jobs.job(job_id))


@router.delete(PATH + "/{job_id}")
def delete_job(job_id: OwnJobDep, app: AppDep) -> JobDeletedView:
    """Delete a job that has ended with its questions, prompts, responses, answers and feedback. 409 while it
    runs: cancel it first. When this is answered, nothing is left."""
    app.ended.delete(job_id)
    return JobDeletedView(id=job_id)


@router.get(PATH + "/{job_id}/plan")
def get_plan(
    job_id: OwnJobDep,
    app: AppDep,
    exact: Annotated[bool, Query(description="The shortest schedule; takes up to 5 s.")] = False,
) -> PlanView:
    """Loads and seconds of a job, done and left, device by device."""
    return plan_view(app.jobs.plan(job_id, exact=exact), app.jobs.waits_for(job_id))


@router.get(
    PATH + "/{job_id}/answers",
    response_class=StreamingResponse,
    responses={200: {"content": {MEDIA_TYPES[0]: {}}}},
)
def get_answers(job_id: OwnJobDep, app: AppDep) -> StreamingResponse:
    """Answers and failures so far as JSON lines, in the order of the questions, each in its line's form."""
    progress = app.jobs.job(job_id)
    lines = _answer_lines(app, progress)
    headers = {"x-muster-job-state": progress.state.value}
    return StreamingResponse(lines, media_type=MEDIA_TYPES[0], headers=headers)


@router.get(
    PATH + "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {MEDIA_TYPE: {}}}},
)
async def get_events(job_id: OwnJobDep, app: AppDep, feed: FeedDep) -> StreamingResponse:
    """Server-sent events: `progress` whenever the job moved, and `done` when it has ended."""
    first = await run_in_threadpool(app.jobs.job, job_id)
    return StreamingResponse(feed.events(job_view(first)), media_type=MEDIA_TYPE, headers=HEADERS)


def _require_jsonl(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise MediaTypeError(
            f"Content-Type is '{kind[:80]}'.", remedy=f"Send JSON lines as {' or '.join(MEDIA_TYPES)}."
        )


def _answer_lines(app: AppDep, progress: JobProgress) -> Iterator[str]:
    job = progress.job
    of_job = AnsweredJob(job.id, job.composition, int(progress.created_at), app.pool.fingerprint)
    for item in app.jobs.answers(job.id):
        yield json.dumps(answer_line(item, of_job), ensure_ascii=False) + "\n"
