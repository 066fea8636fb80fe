"""`POST /v1/chat/completions`: a question in OpenAI's form, answered by the experts it needs."""

from collections.abc import Iterable
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
from api.views.chat import Heading, answer_error, chat_completion, muster_view, with_runs
from api.views.chat_fields import ignored_fields
from api.views.chat_history import chat_content
from api.views.chat_requests import chat_options
from api.views.chat_runs import runs_of
from api.views.chat_streams import Chunks, RunParts, StagedParts, chat_events, first_part
from api.views.chat_terms import session_of
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError
from orchestrator.ports.dispatch import Excerpt
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
    request.state.model = body.model
    server = app.settings.muster.server
    query = chat_query(body, f"chat-{work.unique}")
    job_id = f"ask-{work.unique}"
    options = chat_options(body, unknown=server.unknown_fields)
    session = session_of(body, app.settings.muster.sessions.fields)
    options = options.model_copy(update={"job_id": job_id, "session": session}).by(caller)
    composition = app.asking.resolve(options.model, allowed=options.allowed)
    timeout_s = chat_timeout(body.muster.timeout_s, server.request_timeout_s)
    ignored = ignored_fields(body, app.pool.answerers)
    request.state.decision_id = job_id
    heading = Heading(f"chatcmpl-{work.unique}", work.created, body.model, f"fp_{app.pool.fingerprint}")
    extras = partial(
        muster_view,
        job_id=job_id,
        composition=composition,
        ignored=ignored,
        explains=body.muster.explain is not False,
    )
    older = bool(body.functions)
    headers = {"x-muster-ignored": names_header(ignored)} if ignored else {}
    left = partial(app.asking.leave, job_id)
    runs = runs_of(query, body.n or 1, options.seed)
    if body.stream:
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        chunks = Chunks(heading, muster=extras, include_usage=usage, older=older)
        asking = app.asking
        excerpts: list[Excerpt] | None = [] if body.muster.writing else None
        parts: StagedParts | RunParts = (
            app.stages.among(
                asking.stream(query, options, timeout_s=timeout_s, stay=work.stay, excerpts=excerpts),
                job_id,
                at_once=bool(body.muster.stages or body.muster.writing),
                excerpts=excerpts,
            )
            if len(runs) == 1
            else asking.stream_runs(runs, options, timeout_s=timeout_s, stay=work.stay)
        )
        first = await work.wait(partial(first_part, parts), left=left)
        return StreamingResponse(
            chat_events(first, parts, chunks, on_broken=work.broken),
            media_type=events.MEDIA_TYPE,
            headers={**events.HEADERS, **headers},
        )
    if len(runs) == 1:
        ask = partial(app.asking.ask, query, options, timeout_s=timeout_s, stay=work.stay)
        answers: tuple[Answer, ...] = (await work.wait(ask, left=left),)
        if answers[0].error_code is not None:
            raise answer_error(answers[0])
    else:
        ask_runs = partial(app.asking.ask_runs, runs, options, timeout_s=timeout_s, stay=work.stay)
        answers = (await work.wait(ask_runs, left=left)).answers
    completion = chat_completion(
        answers[0], heading, muster=with_runs(extras, answers), others=answers[1:], older=older
    )
    headers["x-muster-experts"] = experts_header(*answers)
    return Response(completion.model_dump_json(), media_type="application/json", headers=headers)


def chat_query(body: ChatRequest, query_id: str) -> Query:
    """The question of a conversation, with the fields of `muster` that say of what type its answer is.

    Raises:
        InputError: naming the field at fault.
    """
    return build_query(
        query_id,
        chat_content(body.messages),
        options=body.muster.options,
        answer_type=body.muster.answer_type,
        infers=True,
        prefix="muster.",
    )


def chat_timeout(wanted_s: float | None, most_s: float) -> float:
    """Longest wait for an answer, in seconds: as the request says, or `most_s` where it says nothing.

    Raises:
        InputError: it asks for more than `most_s`.
    """
    if wanted_s is not None and wanted_s > most_s:
        raise InputError(
            f"muster.timeout_s: this server waits {most_s:g} s at most.", param="muster.timeout_s"
        )
    return most_s if wanted_s is None else wanted_s


def experts_header(*answers: Answer) -> str:
    """Ids of the experts that were asked."""
    decisions = [answer.decision for answer in answers if answer.decision is not None]
    return names_header(expert_id for decision in decisions for expert_id in decision.expert_ids)


def names_header(names: Iterable[str]) -> str:
    """Names joined by commas, each once, percent-encoded where a header could not carry them."""
    return ",".join(quote(name, safe="/:@.-_ ") for name in dict.fromkeys(names))
