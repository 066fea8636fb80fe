"""`/v1/profiles`: the pool measured on labelled questions: started, followed, cancelled."""

import io
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.deps import AppDep, CallerDep, PageDep
from api.errors import MediaTypeError
from api.schemas.pages import PageView
from api.schemas.profiles import ProfileRunView
from api.views.pages import page_view
from api.views.profiles import profile_run_view
from orchestrator.domain.keys import Caller, require_own
from orchestrator.domain.profile_runs import ProfileRun
from orchestrator.domain.queries import Query as Asked
from orchestrator.errors import InputError
from orchestrator.ports.profiling import GivenScores, Judging, Scoring
from orchestrator.questions.files import parse_questions, read_questions
from orchestrator.questions.scores import parse_scores

PATH = "/v1/profiles"
MEDIA_TYPES = ("application/jsonl", "application/x-ndjson")
_EXAMPLE = '{"question": "What is 7 times 8?", "answer": "56", "answer_type": "number"}\n'

MAX_SCORE_BYTES = 64 << 20


class Given(NamedTuple):
    """Parameters of a request that say where scores come from. `scores`: id of a file."""

    judge: str | None
    anchor: str | None
    scores: str | None
    caller: Caller


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
    caller: CallerDep,
    experts: Annotated[
        list[str] | None, Query(description="Who is measured; by default everybody.", max_length=1000)
    ] = None,
    exam: Annotated[bool, Query(description="Also measure who aggregates well.")] = True,
    judge: Annotated[
        str | None, Query(description="The expert that scores answers to open questions.", max_length=256)
    ] = None,
    anchor: Annotated[
        str | None, Query(description="The judge compares each answer with this expert's.", max_length=256)
    ] = None,
    scores: Annotated[
        str | None,
        Query(description="A file of `/v1/files` with scores: id, expert, score (0 to 1).", max_length=512),
    ] = None,
) -> ProfileRunView:
    """Begin to measure the pool on labelled questions, one JSON object a line; without a body on those of
    `muster.profile_set`. What is known of an expert already is not asked again. 409 while a run is live.

    Answers to open questions have scores by one source: `judge`, or `scores`; without either, those of the
    last source hold. A line of an open question may have a `rubric`, checks for the judge.
    """
    given = Given(judge, anchor, scores, caller)
    body = await request.body()
    if body:
        _require_jsonl(request)
    run = await run_in_threadpool(_start, app, body, experts or [], exam, given)
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


def _start(app: AppDep, body: bytes, experts: list[str], exam: bool, given: Given) -> ProfileRun:
    if body:
        questions = list(parse_questions(io.BytesIO(body), "the body", check=app.check_reference))
    else:
        known = app.settings.muster.profile_set
        if known is None:
            raise InputError(
                "there are no questions to measure on.",
                param="questions",
                remedy="Send some as JSON lines, or set muster.profile_set.",
            )
        questions = read_questions(app.settings.base_dir / known, check=app.check_reference)
    scoring = _scoring(app, questions, given)
    return app.profiles.start(questions, experts=experts, exam=exam, scoring=scoring)


def _scoring(app: AppDep, questions: Sequence[Asked], given: Given) -> Scoring | None:
    """
    Raises:
        InputError: a judge and scores, an anchor without a judge, or scores that cannot be used.
        NotFoundError: no such file.
    """
    if given.judge is not None and given.scores is not None:
        raise InputError("give judge or scores: those of two sources are never mixed.", param="scores")
    if given.anchor is not None and given.judge is None:
        raise InputError("an anchor is for a judge.", param="anchor", remedy="Name one as judge.")
    if given.scores is not None:
        return _from_file(app, questions, given.scores, given.caller)
    return None if given.judge is None else Judging(given.judge, given.anchor)


def _from_file(app: AppDep, questions: Sequence[Asked], file_id: str, caller: Caller) -> GivenScores:
    file = app.files.file(file_id)
    require_own(file.owner, caller, kind="file", name=file_id)
    if file.n_bytes > MAX_SCORE_BYTES:
        raise InputError(f"the file is larger than {MAX_SCORE_BYTES >> 20} MiB.", param="scores")
    content = io.BytesIO(b"".join(app.files.content(file_id)))
    return parse_scores(content, file.filename, questions, [expert.id for expert in app.pool.answerers])


def _require_jsonl(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise MediaTypeError(
            f"Content-Type is '{kind[:80]}'.", remedy=f"Send JSON lines as {' or '.join(MEDIA_TYPES)}."
        )
