"""`POST /v1/chat/completions`: a question in OpenAI's form, answered by the experts it needs."""

from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.deps import AppDep, CallerDep
from api.idempotency import OnceDep, Work
from api.middleware.strict_json import StrictRoute
from api.schemas.chat_request import ChatRequest
from api.schemas.chat_response import ChatCompletion
from api.views import events
from api.views.chat import Heading, answer_error, chat_completion, chat_content, muster_view
from api.views.chat_requests import chat_options
from api.views.chat_streams import Chunks, chat_events, first_part
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError
from orchestrator.questions.fields import build_query

router = APIRouter(route_class=StrictRoute, tags=["chat"])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {events.MEDIA_TYPE: {}}}},
)
async def create_chat_completion(
    body: ChatRequest, app: AppDep, caller: CallerDep, request: Request, once: OnceDep
) -> Response:
    """Answer the last message of a conversation, which must be the user's.

    With `stream`, an expert that is asked by its id is heard while it writes; other answers come whole. A
    client that goes away has its question cancelled, unless it came with an `Idempotency-Key`.
    """
    return await once(partial(_completion, body, app, caller, request))


async def _completion(
    body: ChatRequest, app: AppDep, caller: CallerDep, request: Request, work: Work
) -> Response:
    query = chat_query(body, f"chat-{work.unique}")
    job_id = f"ask-{work.unique}"
    options = chat_options(body).model_copy(update={"job_id": job_id}).by(caller)
    composition = app.asking.resolve(options.model, allowed=options.allowed)
    timeout_s = chat_timeout(body.muster.timeout_s, app.settings.muster.server.request_timeout_s)
    request.state.decision_id = job_id
    heading = Heading(f"chatcmpl-{work.unique}", work.created, body.model, f"fp_{app.pool.fingerprint}")
    extras = partial(muster_view, job_id=job_id, composition=composition)
    left = partial(app.asking.leave, job_id)
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        chunks = Chunks(heading, muster=extras, include_usage=usage)
        parts = app.asking.stream(query, options, timeout_s=timeout_s, stay=work.stay)
        first = await work.wait(partial(first_part, parts), left=left)
        return StreamingResponse(
            chat_events(first, parts, chunks, on_broken=work.broken),
            media_type=events.MEDIA_TYPE,
            headers=events.HEADERS,
        )
    ask = partial(app.asking.ask, query, options, timeout_s=timeout_s, stay=work.stay)
    answer = await work.wait(ask, left=left)
    if answer.error_code is not None:
        raise answer_error(answer)
    completion = chat_completion(answer, heading, muster=extras(answer))
    headers = {"x-muster-experts": experts_header(answer)}
    return Response(completion.model_dump_json(), media_type="application/json", headers=headers)


def chat_query(body: ChatRequest, query_id: str) -> Query:
    return build_query(
        query_id,
        chat_content(body.messages),
        options=body.muster.options,
        answer_type=body.muster.answer_type,
        prefix="muster.",
    )


def chat_timeout(wanted_s: float | None, most_s: float) -> float:
    if wanted_s is not None and wanted_s > most_s:
        raise InputError(
            f"muster.timeout_s: this server waits {most_s:g} s at most.", param="muster.timeout_s"
        )
    return most_s if wanted_s is None else wanted_s


def experts_header(answer: Answer) -> str:
    """Ids joined by commas, percent-encoded where a header could not carry them."""
    ids = answer.decision.expert_ids if answer.decision else ()
    return ",".join(quote(expert_id, safe="/:@.-_ ") for expert_id in dict.fromkeys(ids))
