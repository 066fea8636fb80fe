"""`/v1/responses`: questions in the form of OpenAI's newer API, and what is kept of their conversations."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi import Query as Param
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from api.deps import AppDep, CallerDep
from api.idempotency import OnceDep, Work
from api.middleware.strict_json import StrictRoute
from api.routes.chat import chat_query, chat_timeout, experts_header, names_header
from api.schemas.responses import DeletedResponse, InputItems, ResponseRequest, ResponseView
from api.views import events
from api.views.chat import answer_error
from api.views.chat_requests import chat_options
from api.views.chat_streams import first_part
from api.views.chat_terms import session_of
from api.views.responses import input_page, response_id, response_view
from api.views.responses_input import as_chat, echo_of, ignored, items_of, renamed
from api.views.responses_streams import ResponseEvents, response_events
from orchestrator.domain.exchanges import Exchange
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError

PATH = "/v1/responses"

router = APIRouter(route_class=StrictRoute, prefix=PATH, tags=["responses"])


@router.post(
    "",
    response_model=ResponseView,
    responses={200: {"content": {events.MEDIA_TYPE: {}}}},
)
async def create_response(
    body: ResponseRequest, app: AppDep, caller: CallerDep, request: Request, once: OnceDep
) -> Response:
    """Answer the last message of the input, which must be the user's; `previous_response_id` goes on from an
    earlier response. With `stream`, the answer comes in events. Kept, unless `store` is false. A client that
    goes away has its question cancelled, unless it came with an `Idempotency-Key`."""
    return await once(partial(_response, body, app, caller, request))


async def _response(
    body: ResponseRequest, app: AppDep, caller: CallerDep, request: Request, work: Work
) -> Response:
    asked = await run_in_threadpool(_begun, body, app, caller, work)
    exchange, ask = asked.exchange, asked.options
    request.state.decision_id = exchange.job_id
    headers = {"x-muster-ignored": names_header(asked.ignored)} if asked.ignored else {}
    left = partial(app.asking.leave, exchange.job_id)
    stored = body.store is not False
    if body.stream:
        parts = app.asking.stream(asked.query, ask, timeout_s=asked.timeout_s, stay=work.stay)
        first = await work.wait(partial(first_part, parts), left=left)
        made = ResponseEvents(exchange, stored=stored)
        return StreamingResponse(
            response_events(first, parts, made, on_broken=work.broken),
            media_type=events.MEDIA_TYPE,
            headers={**events.HEADERS, **headers},
        )
    wait = partial(app.asking.ask, asked.query, ask, timeout_s=asked.timeout_s, stay=work.stay)
    answer = await work.wait(wait, left=left)
    if answer.error_code is not None:
        raise answer_error(answer)
    view = response_view(exchange, answer, stored=stored)
    headers["x-muster-experts"] = experts_header(answer)
    return Response(view.model_dump_json(), media_type="application/json", headers=headers)


class _Asked(NamedTuple):
    exchange: Exchange
    query: Query
    options: AskOptions
    timeout_s: float
    ignored: Sequence[str]


def _begun(body: ResponseRequest, app: AppDep, caller: CallerDep, work: Work) -> _Asked:
    """The question of a request; its exchange is kept by now, so that it is found while it is answered. What
    goes on from a response is a turn of the session that the first one began, unless it names another."""
    previous = body.previous_response_id
    before = [] if previous is None else app.exchanges.before(previous, caller)
    chat = as_chat(body, before)
    try:
        query = chat_query(chat, f"chat-{work.unique}")
        options = chat_options(chat).by(caller)
        names = ignored(body, chat, app.pool.answerers)
    except InputError as error:
        raise renamed(error) from None
    job_id = f"ask-{work.unique}"
    exchange = Exchange(
        id=response_id(work.unique),
        job_id=job_id,
        owner=caller.owner_id,
        previous_id=previous,
        created_at=work.created,
        composition=app.asking.resolve(options.model, allowed=options.allowed),
        items=items_of(body, work.unique),
        request=echo_of(body),
    )
    timeout_s = chat_timeout(body.muster.timeout_s, app.settings.muster.server.request_timeout_s)
    is_stored = body.store is not False
    if is_stored:
        app.exchanges.keep(exchange)
    begun = before[0].exchange.id if before else exchange.id if is_stored else None
    session = session_of(chat, app.settings.muster.sessions.fields) or begun
    options = options.model_copy(update={"job_id": job_id, "session": session})
    return _Asked(exchange, query, options, timeout_s, names)


@router.get("/{response_id}")
def get_response(response_id: str, app: AppDep, caller: CallerDep) -> ResponseView:
    """A response as it stands now: `in_progress` while its question is being answered."""
    return response_view(*app.exchanges.find(response_id, caller))


@router.delete("/{response_id}")
def delete_response(response_id: str, app: AppDep, caller: CallerDep) -> DeletedResponse:
    """Delete a response with its question and all that was answered; conversations that went on from it begin
    after it. One that is still being answered is cancelled."""
    app.exchanges.delete(response_id, caller)
    app.keyed.forget(response_id)
    return DeletedResponse(id=response_id)


@router.get("/{response_id}/input_items")
def list_input_items(
    response_id: str,
    app: AppDep,
    caller: CallerDep,
    after: str | None = None,
    limit: Annotated[int, Param(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> InputItems:
    """Items of a request's own input; those of the responses before it are theirs."""
    exchange = app.exchanges.find(response_id, caller).exchange
    return input_page(exchange, after=after, limit=limit, order=order)
