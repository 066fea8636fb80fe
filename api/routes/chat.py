"""`POST /v1/chat/completions`: a question in OpenAI's form, answered by the experts it needs."""

import time
import uuid
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from api.chat_requests import chat_settings
from api.deps import AppDep
from api.schemas import ChatCompletion, ChatRequest
from api.strict_json import StrictRoute
from api.wire import answer_error, build_query, chat_completion, chat_content, muster_view
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError

router = APIRouter(route_class=StrictRoute, tags=["chat"])


@router.post("/v1/chat/completions")
def create_chat_completion(
    body: ChatRequest, app: AppDep, request: Request, response: Response
) -> ChatCompletion:
    """Answer the last message of a conversation, which must be the user's."""
    settings = chat_settings(body)
    timeout_s = _timeout(body.muster.timeout_s, app.settings.muster.server.request_timeout_s)
    unique = uuid.uuid4().hex
    query = _query(body, f"chat-{unique}")
    composition = app.service.resolve(settings.model)
    job_id = request.state.decision_id = f"ask-{unique}"
    answer = app.service.ask(
        query,
        composition=composition,
        timeout_s=timeout_s,
        seed=settings.seed,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        job_id=job_id,
    )
    if answer.error_code is not None:
        raise answer_error(answer)
    response.headers["x-muster-experts"] = _experts_header(answer)
    return chat_completion(
        answer,
        completion_id=f"chatcmpl-{unique}",
        created=int(time.time()),
        model=body.model,
        fingerprint=app.pool.fingerprint,
        muster=muster_view(answer, job_id=job_id, composition=composition),
    )


def _query(body: ChatRequest, query_id: str) -> Query:
    return build_query(
        query_id,
        chat_content(body.messages),
        options=body.muster.options,
        answer_type=body.muster.answer_type,
        prefix="muster.",
    )


def _timeout(wanted_s: float | None, most_s: float) -> float:
    if wanted_s is not None and wanted_s > most_s:
        raise InputError(
            f"muster.timeout_s: this server waits {most_s:g} s at most.", param="muster.timeout_s"
        )
    return most_s if wanted_s is None else wanted_s


def _experts_header(answer: Answer) -> str:
    """Ids joined by commas, percent-encoded where a header could not carry them."""
    ids = answer.decision.expert_ids if answer.decision else ()
    return ",".join(quote(expert_id, safe="/:@.-_ ") for expert_id in dict.fromkeys(ids))
