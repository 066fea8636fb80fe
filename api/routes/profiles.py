"""`/v1/profiles`: the pool measured on labelled questions: started, followed, cancelled."""

import io
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import AppDep, PageDep
from api.errors import MediaTypeError
from api.schemas.pages import PageView
from api.schemas.profiles import ProfileRunView
from api.views.pages import page_view
from api.views.profiles import profile_run_view
from orchestrator.domain.profile_runs import ProfileRun
from orchestrator.errors import InputError
from orchestrator.questions.files import parse_questions, read_questions

PATH = "/v1/profiles"
MEDIA_TYPES = ("application/jsonl", "application/x-ndjson")
_EXAMPLE = '{"question": "What is 7 times 8?", "answer": "56", "answer_type": "number"}\n'

router = APIRouter(tags=["profiles"])


@router.post(
    PATH,
    status_code=202,
    openapi_extra={"requestBody": {"content": {MEDIA_TYPES[0]: {"example": _EXAMPLE}}}},
)
async def start_profile(
    request: Request,
    response: Response,
    app: AppDep,
    experts: Annotated[
        list[str] | None, Query(description="Who is measured; by default everybody.", max_length=1000)
    ] = None,
    exam: Annotated[bool, Query(description="Also measure who aggregates well.")] = True,
) -> ProfileRunView:
    """Begin to measure the pool on labelled questions, one JSON object a line; without a body on those of
    `muster.profile_set`. What is known of an expert already is not asked again. 409 while a run is live."""
    body = await request.body()
    if body:
        _require_jsonl(request)
    run = await run_in_threadpool(_start, app, body, experts or [], exam)
    response.headers["location"] = f"{PATH}/{run.id}"
    return profile_run_view(run)


@router.get(PATH)
def list_profiles(app: AppDep, page: PageDep) -> PageView[ProfileRunView]:
    """List runs in the order in which they were asked for."""
    found = app.profiles.page(page)
    views = [profile_run_view(run) for run in found.items]
    return page_view(views, id_of=lambda view: view.id, has_more=found.has_more)


@router.get(PATH + "/{profile_id}")
def get_profile(profile_id: str, app: AppDep) -> ProfileRunView:
    """Show one run, and how far it is."""
    return profile_run_view(app.profiles.run(profile_id))


@router.post(PATH + "/{profile_id}/cancel")
def cancel_profile(profile_id: str, app: AppDep) -> ProfileRunView:
    """End a run; what was measured is kept. One that has ended stays as it is."""
    return profile_run_view(app.profiles.cancel(profile_id))


def _start(app: AppDep, body: bytes, experts: list[str], exam: bool) -> ProfileRun:
    if body:
        questions = list(parse_questions(io.BytesIO(body), "the body"))
    else:
        known = app.settings.muster.profile_set
        if known is None:
            raise InputError(
                "there are no questions to measure on.",
                param="questions",
                remedy="Send some as JSON lines, or set muster.profile_set.",
            )
        questions = read_questions(app.settings.base_dir / known)
    return app.profiles.start(questions, experts=experts, exam=exam)


def _require_jsonl(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise MediaTypeError(
            f"Content-Type is '{kind[:80]}'.", remedy=f"Send JSON lines as {' or '.join(MEDIA_TYPES)}."
        )
