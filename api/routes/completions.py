"""`POST /v1/completions`: texts that one expert goes on with, without a chat around them."""

from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.deps import AppDep, CallerDep
from api.idempotency import OnceDep, Work
from api.middleware.strict_json import StrictRoute
from api.routes.chat import experts_header
from api.schemas.completions import CompletionRequest, TextCompletion
from api.views import events
from api.views.chat import Heading, answer_error, muster_view, with_runs
from api.views.chat_requests import chat_options
from api.views.chat_streams import chat_events, first_part
from api.views.completions import TextChunks, as_chat, queries_of, require_expert, text_completion
from orchestrator.domain.answers import Answer
from orchestrator.errors import AnswerFailedError

router = APIRouter(route_class=StrictRoute, tags=["completions"])


@router.post(
    "/v1/completions",
    response_model=TextCompletion,
    responses={200: {"content": {events.MEDIA_TYPE: {}}}},
)
async def create_completion(
    body: CompletionRequest, app: AppDep, caller: CallerDep, request: Request, once: OnceDep
) -> Response:
    """Go on with prompts as they are, by one expert whose engine reads them so."""
    return await once(partial(_completion, body, app, caller, request))


async def _completion(
    body: CompletionRequest, app: AppDep, caller: CallerDep, request: Request, work: Work
) -> Response:
    job_id = f"ask-{work.unique}"
    options = chat_options(as_chat(body)).model_copy(update={"job_id": job_id, "raw": True}).by(caller)
    composition = app.asking.resolve(options.model, allowed=options.allowed)
    require_expert(composition)
    queries = queries_of(body, f"text-{work.unique}")
    timeout_s = app.settings.muster.server.request_timeout_s
    request.state.decision_id = job_id
    heading = Heading(f"cmpl-{work.unique}", work.created, body.model, f"fp_{app.pool.fingerprint}")
    extras = partial(muster_view, job_id=job_id, composition=composition)
    left = partial(app.asking.leave, job_id)
    if body.stream:
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        chunks = TextChunks(heading, muster=extras, include_usage=usage)
        parts = app.asking.stream(queries[0], options, timeout_s=timeout_s, stay=work.stay)
        first = await work.wait(partial(first_part, parts), left=left)
        return StreamingResponse(
            chat_events(first, parts, chunks, on_broken=work.broken),
            media_type=events.MEDIA_TYPE,
            headers=events.HEADERS,
        )
    ask = partial(app.asking.ask_runs, queries, options, timeout_s=timeout_s, stay=work.stay)
    one = partial(app.asking.ask, queries[0], options, timeout_s=timeout_s, stay=work.stay)
    if len(queries) > 1:
        answers: tuple[Answer, ...] = (await work.wait(ask, left=left)).answers
    else:
        answers = (await work.wait(one, left=left),)
    _require_all(answers, len(queries))
    completion = text_completion(answers, heading, muster=with_runs(extras, answers))
    headers = {"x-muster-experts": experts_header(*answers)}
    return Response(completion.model_dump_json(), media_type="application/json", headers=headers)


def _require_all(answers: tuple[Answer, ...], n: int) -> None:
    """
    Raises:
        AnswerFailedError: a text is missing, so that the others would be taken for each other's.
    """
    failed = next((answer for answer in answers if answer.error_code is not None), None)
    if failed is not None:
        raise answer_error(failed)
    if len(answers) < n:
        raise AnswerFailedError(f"{n - len(answers)} of {n} texts could not be written.", code="no_answer")
