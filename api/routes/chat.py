"""`POST /v1/chat/completions`: a question in OpenAI's form, answered by the experts it needs."""

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from api.deps import AppDep
from api.errors import UnsupportedParameterError
from api.schemas import ChatCompletion, ChatRequest
from api.strict_json import StrictRoute
from api.wire import answer_error, build_query, chat_completion, chat_content, muster_view
from orchestrator.domain.answers import Answer
from orchestrator.domain.queries import Query
from orchestrator.errors import InputError

router = APIRouter(route_class=StrictRoute, tags=["chat"])


class Refusal(NamedTuple):
    """A value of OpenAI's API that is refused rather than ignored."""

    param: str
    applies: Callable[[ChatRequest], bool]
    message: str


REFUSALS = (
    Refusal("stream", lambda r: bool(r.stream), "streaming is not supported. Leave `stream` out."),
    Refusal("n", lambda r: r.n not in (None, 1), "one choice per request. Leave `n` out or ask again."),
    Refusal("top_p", lambda r: r.top_p not in (None, 1), "nucleus sampling is not supported. Leave it out."),
    Refusal("stop", lambda r: bool(r.stop), "stop sequences are not supported. Leave `stop` out."),
    Refusal(
        "response_format",
        lambda r: r.response_format is not None and r.response_format.type != "text",
        'only {"type": "text"} is supported. `muster.answer_type` "json" asks for JSON.',
    ),
)


@router.post("/v1/chat/completions")
def create_chat_completion(
    body: ChatRequest, app: AppDep, request: Request, response: Response
) -> ChatCompletion:
    """Answer the last message of a conversation, which must be the user's."""
    _refuse_unsupported(body)
    timeout_s = _timeout(body.muster.timeout_s, app.settings.muster.server.request_timeout_s)
    unique = uuid.uuid4().hex
    query = _query(body, f"chat-{unique}")
    composition = app.service.resolve(body.model)
    job_id = request.state.decision_id = f"ask-{unique}"
    answer = app.service.ask(
        query,
        composition=composition,
        timeout_s=timeout_s,
        seed=body.seed,
        max_tokens=_max_tokens(body),
        temperature=body.temperature,
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


def _refuse_unsupported(body: ChatRequest) -> None:
    for refusal in REFUSALS:
        if refusal.applies(body):
            raise UnsupportedParameterError(f"{refusal.param}: {refusal.message}", param=refusal.param)


def _query(body: ChatRequest, query_id: str) -> Query:
    return build_query(
        query_id,
        chat_content(body.messages),
        options=body.muster.options,
        answer_type=body.muster.answer_type,
        prefix="muster.",
    )


def _max_tokens(body: ChatRequest) -> int | None:
    """`max_tokens` is the older name of `max_completion_tokens`; both may stand when they agree."""
    old, new = body.max_tokens, body.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise InputError("max_tokens and max_completion_tokens differ; give one.", param="max_tokens")
    return old if new is None else new


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
