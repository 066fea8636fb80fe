"""Pages of a question: ask it, follow it, read its answer and why these experts gave it."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.dashboard.rendering import PageRoute, page, see_other
from api.deps import AppDep, CallerDep, OwnJobDep, Requires
from api.views.chat import answer_error, muster_view
from api.views.decisions import decision_view
from orchestrator.bootstrap.app import App
from orchestrator.domain.answers import Answer
from orchestrator.domain.keys import Caller, Scope
from orchestrator.domain.names import AUTO, model_name, model_names
from orchestrator.domain.queries import AnswerType
from orchestrator.domain.queries import Query as Question
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError
from orchestrator.ports.jobs import QueryRecord
from orchestrator.questions.fields import build_query

MAX_QUESTION_CHARS = 100_000

ASK = [Depends(Requires(Scope.ASK))]

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
def ask_page(
    request: Request,
    app: AppDep,
    caller: CallerDep,
    question: Annotated[str, Query(max_length=MAX_QUESTION_CHARS)] = "",
    options: Annotated[str, Query(max_length=MAX_QUESTION_CHARS)] = "",
    answer_type: Annotated[str, Query(max_length=64)] = "",
    model: Annotated[str, Query(max_length=512)] = AUTO,
) -> Response:
    """The form of a question; who may not ask one is led to the jobs."""
    if not caller.may((Scope.ASK,)):
        return see_other("/jobs")
    experts = list(app.experts.of(caller))
    return page(
        request,
        "ask.html",
        question=question,
        options=options,
        model=model,
        answer_type=answer_type,
        nonce=uuid.uuid4().hex,
        measuring=app.preparation.note(),
        n_experts=len(experts),
        is_measured=bool(app.experts.measured()),
        answer_types=[kind.value for kind in AnswerType],
        compositions=[name for name in model_names(app.asking.compositions, ()) if name not in experts],
        experts=[e.id for e in app.pool.answerers if e.id in experts],
    )


@router.post("/ask", dependencies=ASK)
async def ask_without_script(
    app: AppDep,
    caller: CallerDep,
    question: Annotated[str, Form(max_length=MAX_QUESTION_CHARS)] = "",
    options: Annotated[str, Form(max_length=MAX_QUESTION_CHARS)] = "",
    answer_type: Annotated[str, Form(max_length=64)] = "",
    model: Annotated[str, Form(max_length=512)] = AUTO,
    nonce: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """An answer, waited for; then its page."""
    if not question.strip():
        raise InputError("the question is empty.", param="question")
    # A form that comes twice is one question.
    sent = f"{nonce or uuid.uuid4().hex}\0{question}\0{options}\0{answer_type}\0{model}"
    unique = hashlib.sha256(sent.encode(errors="surrogatepass")).hexdigest()[:32]
    query = build_query(
        f"chat-{unique}",
        {"question": question},
        options=listed(options) or None,
        answer_type=answer_type or None,
        infers=True,
    )
    asked = AskOptions(model=model, job_id=f"ask-{unique}", trace=True).by(caller)
    app.asking.resolve(model, allowed=asked.allowed)
    timeout_s = app.settings.muster.server.request_timeout_s
    answer = await run_in_threadpool(partial(app.asking.ask, query, asked, timeout_s=timeout_s))
    if answer.error_code is not None:
        raise answer_error(answer)
    return see_other(f"/answers/{asked.job_id}")


@router.get("/answers/{job_id}")
def answer_page(
    job_id: OwnJobDep,
    request: Request,
    app: AppDep,
    query: Annotated[str | None, Query()] = None,
    judged: Annotated[bool, Query()] = False,
) -> Response:
    """A question with its answer: what a link to it leads to."""
    record = app.jobs.query_record(job_id, query)
    question = record.query
    is_job = app.jobs.job(job_id).total > 1
    return page(
        request,
        "answer.html",
        job=job_id,
        question=question,
        is_job=is_job,
        judged=judged,
        **_result(app, job_id, record, named=query is not None),
    )


@router.get("/answers/{job_id}/result")
def answer_part(
    job_id: OwnJobDep, request: Request, app: AppDep, query: Annotated[str | None, Query()] = None
) -> Response:
    """The answer alone, for a page that is open."""
    record = app.jobs.query_record(job_id, query)
    shown = _result(app, job_id, record, named=query is not None)
    return page(request, "result.html", job=job_id, judged=False, **shown)


@router.get("/answers/{job_id}/why")
def reasons_part(
    job_id: OwnJobDep, request: Request, app: AppDep, query: Annotated[str | None, Query()] = None
) -> Response:
    """Reasons of the choice of experts alone; nothing before they were recruited."""
    decision = app.jobs.query_record(job_id, query).decision
    return page(request, "why.html", decision=None if decision is None else decision_view(decision))


@router.post("/answers/{job_id}/feedback")
def judge_answer(
    job_id: OwnJobDep,
    app: AppDep,
    caller: CallerDep,
    right: Annotated[bool, Form()],
    query: Annotated[str, Form()],
) -> Response:
    """Feedback of whoever reads the answer: the cards learn from it."""
    app.feedback.judge(job_id, query, score=float(right), key=_judge(caller))
    return see_other(f"/answers/{job_id}?" + urlencode({"query": query, "judged": "true"}))


def listed(options: str) -> list[str]:
    """Options of a question, one a line; blank lines are none."""
    return [line.strip() for line in options.splitlines() if line.strip()]


def _judge(caller: Caller) -> str:
    """Who judges: each key once."""
    return f"page:{caller.owner_id}"


def _result(app: App, job_id: str, record: QueryRecord, *, named: bool) -> dict[str, Any]:
    """What the answer's part of a page shows."""
    answer, query = record.answer, record.query.id
    composition = app.jobs.job(job_id).job.composition
    address = f"/answers/{job_id}" + (f"?{urlencode({'query': query})}" if named else "")
    shown = None if answer is None else muster_view(answer, job_id=job_id, composition=composition)
    return {
        "answer": answer,
        "answer_text": "" if answer is None else answer.text or _called(answer),
        "reasoning": "" if answer is None else answer.reasoning,
        "problem": None if answer is None or answer.error_code is None else str(answer_error(answer)),
        "muster": shown,
        "texts": _texts(record),
        "alphas": [] if shown is None or shown.fusion is None else _alphas(shown.fusion.steps),
        "query": query,
        "share": address,
        "again": _again(record.query, composition),
        "may_judge": answer is not None and answer.error_code is None,
    }


def _again(query: Question, composition: str) -> str:
    """The address of the form with the same question for the same composition."""
    fields = {
        "question": query.question,
        "options": "\n".join(query.options or ()),
        "answer_type": "" if query.infers else query.answer_type.value,
        "model": model_name(composition),
    }
    return "/?" + urlencode({name: value for name, value in fields.items() if value})


def _called(answer: Answer) -> str:
    """Calls of tools, where an answer has them in place of a text."""
    return "\n".join(f"{call.name}({call.arguments})" for call in answer.tool_calls)


def _texts(record: QueryRecord) -> Mapping[str, Sequence[str]]:
    """What each expert wrote, or why it did not."""
    texts: dict[str, list[str]] = {}
    for response in record.responses:
        said = response.error or response.text or "(nothing)"
        texts.setdefault(response.expert_id, []).append(said)
    return texts


def _alphas(steps: Sequence[Any]) -> list[float]:
    """Share of the expert at each token; of several experts the largest."""
    chosen = [step.alpha for step in steps if step.alpha is not None]
    return [max(alpha) if isinstance(alpha, list) else alpha for alpha in chosen]
