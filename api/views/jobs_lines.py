"""Lines of batches: what each asks for, and its answer in the form of its endpoint.

One row of `READERS` and one of `WRITERS` is an endpoint that lines may name.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue, ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_response import MusterView
from api.schemas.responses import ResponseRequest
from api.views.chat import Heading, chat_completion, muster_view
from api.views.chat_requests import Line, chat_line, line_of
from api.views.completions import completion_line, require_expert, text_completion
from api.views.jobs import answer_failure, own_line
from api.views.responses import response_id, response_view
from api.views.responses_input import as_chat, renamed
from orchestrator.domain.exchanges import Exchange
from orchestrator.domain.names import AUTO, model_name
from orchestrator.domain.requests import AskOptions
from orchestrator.domain.terms import Terms
from orchestrator.domain.values import content_hash
from orchestrator.errors import InputError
from orchestrator.ports.batches import AnsweredJob, JobTerms, LineForms
from orchestrator.ports.jobs import AnsweredQuery
from orchestrator.questions.files import CHAT_ENDPOINT, OWN_FORM, BodyReader, refuse_endpoint

Resolve = Callable[[str], str]
"""The composition that a model names; raises UnknownNameError."""


def _own_line(fields: dict[str, object]) -> Line:
    """A line of our own form; it may name its `model`."""
    model = fields.get("model", AUTO)
    if not isinstance(model, str) or not model:
        raise InputError("model must be a non-empty string", param="model")
    rest = {name: value for name, value in fields.items() if name != "model"}
    return Line(AskOptions(model=model), rest)


def _response_line(body: dict[str, object]) -> Line:
    """A line of `/v1/responses`; it begins its conversation."""
    try:
        request = ResponseRequest.model_validate(body)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="body.") from None
    if request.previous_response_id is not None:
        raise UnsupportedParameterError(
            "body.previous_response_id: a line goes on from nothing; send the input"
        )
    try:
        return line_of(as_chat(request))
    except InputError as error:
        raise renamed(error) from None


RESPONSES_ENDPOINT = "/v1/responses"
COMPLETIONS_ENDPOINT = "/v1/completions"
READERS: Mapping[str, Callable[[dict[str, object]], Line]] = {
    OWN_FORM: _own_line,
    CHAT_ENDPOINT: chat_line,
    RESPONSES_ENDPOINT: _response_line,
    COMPLETIONS_ENDPOINT: completion_line,
}
ENDPOINTS = tuple(endpoint for endpoint in READERS if endpoint != OWN_FORM)


class BatchBodies:
    """Reads the lines of one file (`questions.files.BodyReader`): every line is answered on its own terms.

    Args:
        resolve: the composition that a model names.
        any_model: the lines' own models do not count.
        own_form: lines of our own form are lines, too.

    Attributes:
        compositions: that the lines read so far name.
    """

    def __init__(self, resolve: Resolve, *, any_model: bool = False, own_form: bool = True) -> None:
        self._own_form = own_form
        self.compositions: set[str] = set()
        self._first: AskOptions | None = None
        self._agree = True
        self._any_prompt = False
        self._resolve = resolve
        self._any_model = any_model

    def __call__(self, endpoint: str, body: dict[str, object]) -> dict[str, object]:
        """Fields of the query; raises InputError with what is wrong with the line."""
        if endpoint == OWN_FORM and not self._own_form:
            raise InputError("custom_id must be a non-empty string", param="custom_id")
        if endpoint not in READERS:
            refuse_endpoint(endpoint, ENDPOINTS)
        options, fields = READERS[endpoint](body)
        composition = None
        if self._any_model:
            options = options.model_copy(update={"model": AUTO})
        elif endpoint != OWN_FORM or "model" in body:
            composition = self._resolve(options.model)
            self.compositions.add(composition)
            if options.raw:
                require_expert(composition)
        self._any_prompt = self._any_prompt or options.raw
        self._first = self._first or options
        self._agree = self._agree and options == self._first
        terms = Terms(**{**options.said, "composition": composition})
        return {**fields, "terms": terms if terms.said else None}

    def job_terms(self, composition: str | None = None) -> JobTerms:
        """Terms of the job of the lines that were read: they are the job's where all agree on them.

        Args:
            composition: that answers every line; None = those that the lines name.

        Raises:
            UnsupportedParameterError: it asks several experts, and a line is a prompt to go on with.
        """
        if composition is not None and self._any_prompt:
            require_expert(self._resolve(composition))
        if not self._agree or self._first is None:
            return JobTerms(AskOptions(model=composition or AUTO), self, frozenset(self.compositions))
        options = self._first.model_copy(update={"model": composition or self._first.model})
        return JobTerms(options, without_terms(self), frozenset())


def without_terms(read: BodyReader) -> BodyReader:
    """The reader of a file whose lines agree: their terms are the job's."""

    def bare(endpoint: str, body: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in read(endpoint, body).items() if name != "terms"}

    return bare


def answer_line(item: AnsweredQuery, job: AnsweredJob) -> dict[str, JsonValue]:
    """An answer, or how it failed, as a line in the form of its question. Its ids are the same whenever it is
    told."""
    terms = item.query.terms
    named = None if terms is None else terms.composition
    of_line = job if named is None else job._replace(composition=named)
    if item.query.endpoint == OWN_FORM:
        return own_line(item, job_id=of_line.job_id, composition=of_line.composition)
    return _openai_line(item, of_line)


def _openai_line(item: AnsweredQuery, job: AnsweredJob) -> dict[str, JsonValue]:
    line_id = content_hash([job.job_id, item.query.id])
    line: dict[str, JsonValue] = {"id": f"batch_req_{line_id}", "custom_id": item.query.id}
    error = answer_failure(item.answer)
    if error is not None:
        return {**line, "response": None, "error": error}
    body = WRITERS[item.query.endpoint](item, job, line_id)
    response: JsonValue = {"status_code": 200, "request_id": f"req_{line_id}", "body": body}
    return {**line, "response": response, "error": None}


def _chat_body(item: AnsweredQuery, job: AnsweredJob, line_id: str) -> dict[str, JsonValue]:
    heading = _heading(job, f"chatcmpl-{line_id}")
    return chat_completion(item.answer, heading, muster=_muster(item, job)).model_dump(mode="json")


def _completion_body(item: AnsweredQuery, job: AnsweredJob, line_id: str) -> dict[str, JsonValue]:
    heading = _heading(job, f"cmpl-{line_id}")
    return text_completion((item.answer,), heading, muster=_muster(item, job)).model_dump(mode="json")


def _heading(job: AnsweredJob, name: str) -> Heading:
    return Heading(name, job.created, model_name(job.composition), f"fp_{job.pool}")


def _muster(item: AnsweredQuery, job: AnsweredJob) -> MusterView:
    return muster_view(item.answer, job_id=job.job_id, composition=job.composition)


def _response_body(item: AnsweredQuery, job: AnsweredJob, line_id: str) -> dict[str, JsonValue]:
    """A response that is not kept: nothing goes on from it."""
    asked = Exchange(
        id=response_id(line_id),
        job_id=job.job_id,
        created_at=job.created,
        composition=job.composition,
        request={"model": model_name(job.composition)},
    )
    return response_view(asked, item.answer, stored=False).model_dump(mode="json")


WRITERS: Mapping[str, Callable[[AnsweredQuery, AnsweredJob, str], dict[str, JsonValue]]] = {
    CHAT_ENDPOINT: _chat_body,
    RESPONSES_ENDPOINT: _response_body,
    COMPLETIONS_ENDPOINT: _completion_body,
}


def _openai_lines(resolve: Resolve) -> BatchBodies:
    return BatchBodies(resolve, own_form=False)


def _batch_line(item: AnsweredQuery, job: AnsweredJob) -> dict[str, JsonValue]:
    line = answer_line(item, job)
    code = item.answer.error_code
    if code in BATCH_FAILURES:
        told, message = BATCH_FAILURES[code]
        line["error"] = {"code": told, "message": message}
    return line


BATCH_FAILURES = {
    "batch_expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "cancelled": ("batch_cancelled", "This request was not executed before the batch was cancelled."),
}
"""Code of an answer to code and message in the error file of a batch."""

LINE_FORMS = LineForms(ENDPOINTS, _openai_lines, _batch_line)
"""Forms of the lines of `/v1/batches`."""
