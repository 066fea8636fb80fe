"""Prompts as questions, and answers as the texts that go on with them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from pydantic import ValidationError

from api.errors import UnsupportedParameterError, fields_error
from api.schemas.chat_request import ChatRequest
from api.schemas.completions import (
    MOST_PROMPTS,
    CompletionChoice,
    CompletionLogprobs,
    CompletionRequest,
    TextCompletion,
)
from api.views.chat import Heading, usage_view
from api.views.chat_requests import Line, chat_options
from api.views.chat_streams import DONE, Chunks
from api.views.events import PING
from orchestrator.domain.answers import Answer, FinishReason
from orchestrator.domain.names import EXPERT_PREFIX
from orchestrator.domain.queries import Query
from orchestrator.domain.terms import Terms
from orchestrator.domain.values import seed_of
from orchestrator.errors import InputError

DEFAULT_TOKENS = 16
"""OpenAI's."""

SAME = (
    *("model", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "logit_bias", "seed", "stop", "stream", "stream_options", "user"),
)
"""Fields that a chat has under the same name."""

_REFUSED: tuple[tuple[str, Callable[[CompletionRequest], bool], str], ...] = (
    (
        "echo",
        lambda r: bool(r.echo),
        "prompts are not sent back, and nobody is asked for their log probabilities. Leave it out",
    ),
    ("suffix", lambda r: bool(r.suffix), "texts are gone on with, not filled in. Leave it out"),
    ("best_of", lambda r: r.best_of not in (None, r.n or 1), "every text is given. Leave it out"),
    ("max_tokens", lambda r: r.max_tokens == 0, "must be at least 1"),
    (
        "stream",
        lambda r: bool(r.stream) and len(r.prompt) * (r.n or 1) > 1,
        "one text at a time is streamed. Send one prompt, and no `n`",
    ),
    ("n", lambda r: len(r.prompt) * (r.n or 1) > MOST_PROMPTS, f"more than {MOST_PROMPTS} texts in all"),
)


def as_chat(request: CompletionRequest) -> ChatRequest:
    """The chat on whose terms the prompts are gone on with.

    Raises:
        UnsupportedParameterError: fields that would have to be ignored; all of them are named.
        InputError: a value that a chat refuses.
    """
    faults = [(name, message) for name, applies, message in _REFUSED if applies(request)]
    if faults:
        told = "; ".join(f"{name}: {message}" for name, message in faults)
        raise UnsupportedParameterError(f"{told}.", param=faults[0][0])
    given = {name: value for name in SAME if (value := getattr(request, name)) is not None}
    chat: dict[str, object] = {
        **given,
        "messages": [{"role": "user", "content": request.prompt[0]}],
        "max_tokens": request.max_tokens or DEFAULT_TOKENS,
    }
    if request.logprobs is not None:
        chat |= {"logprobs": True, "top_logprobs": request.logprobs}
    try:
        return ChatRequest.model_validate(chat, strict=False)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False)) from None


def require_expert(composition: str) -> None:
    """Refuse a model that is no single expert.

    Raises:
        UnsupportedParameterError: it asks several.
    """
    if not composition.startswith(EXPERT_PREFIX):
        raise UnsupportedParameterError(
            f"model: '{composition}' is a composition, and a prompt is gone on with by one expert.",
            param="model",
            remedy="Name an expert of `/v1/models`, or send messages to /v1/chat/completions.",
        )


def completion_line(body: dict[str, object]) -> Line:
    """Demands of a batch's line that one text is gone on with.

    Raises:
        InputError: what is wrong with the line.
    """
    try:
        request = CompletionRequest.model_validate(body)
    except ValidationError as error:
        raise fields_error(error.errors(include_url=False), prefix="body.") from None
    for name, n in (("prompt", len(request.prompt)), ("n", request.n or 1)):
        if n > 1:
            raise UnsupportedParameterError(
                f"body.{name}: a line has one answer; write a line for each", param=f"body.{name}"
            )
    options = chat_options(as_chat(request)).model_copy(update={"raw": True})
    return Line(options, {"question": request.prompt[0]})


def queries_of(request: CompletionRequest, query_id: str) -> tuple[Query, ...]:
    """A query for each text that is asked for. Of several for one prompt, the first has the request's seed,
    the others each their own.

    Raises:
        InputError: a prompt that cannot be read.
    """
    queries = []
    for place, prompt in enumerate(request.prompt):
        for run in range(request.n or 1):
            terms = Terms(seed=seed_of(["run", run + 1, request.seed])) if run else None
            queries.append(_query(f"{query_id}-{place}-{run}", prompt, terms, place=place))
    return tuple(queries)


def _query(query_id: str, prompt: str, terms: Terms | None, *, place: int) -> Query:
    try:
        return Query(id=query_id, question=prompt, terms=terms)
    except ValidationError as error:
        message = str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
        raise InputError(f"prompt.{place}: {message}.", param=f"prompt.{place}") from None


def text_completion(answers: Sequence[Answer], heading: Heading, **extras: object) -> TextCompletion:
    """The texts that prompts were gone on with, one choice each, in their order."""
    choices = [_choice(answer, index) for index, answer in enumerate(answers)]
    fields = {**heading._asdict(), "choices": choices, "usage": usage_view(*answers), **extras}
    return TextCompletion.model_validate(fields)


class TextChunks(Chunks):
    """The events of a text that is streamed; a last one has the usage where that is wanted, and no choice."""

    def opening(self) -> str:
        """Nothing but a sign of life: a text begins with its first words."""
        return PING  # a text begins with its first words

    def text(self, text: str) -> str:
        """An event with further text."""
        return self._text([CompletionChoice(index=0, text=text, finish_reason=None)])

    def closing(self, answer: Answer) -> Iterator[str]:
        """All events after the last text, the mark of the end among them."""
        yield self._text([_choice(answer, 0).model_copy(update={"text": ""})])
        if self._include_usage:
            yield self._text([], usage=usage_view(answer))
        yield DONE

    def _text(self, choices: Sequence[CompletionChoice], **extras: object) -> str:
        fields = {**self._heading._asdict(), "choices": list(choices), **extras}
        event = TextCompletion.model_validate(fields).model_dump_json(exclude={"muster"})
        return f"data: {event}\n\n"


def _choice(answer: Answer, index: int) -> CompletionChoice:
    return CompletionChoice(
        index=index, text=answer.text, logprobs=_logprobs(answer), finish_reason=_finish(answer)
    )


def _finish(answer: Answer) -> Literal["stop", "length"]:
    return "length" if answer.finish_reason is FinishReason.LENGTH else "stop"


def _logprobs(answer: Answer) -> CompletionLogprobs | None:
    if not answer.logprobs:
        return None
    tokens = [token.chosen.token for token in answer.logprobs]
    offsets = [0]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    return CompletionLogprobs(
        tokens=tokens,
        token_logprobs=[token.chosen.logprob for token in answer.logprobs],
        top_logprobs=[{other.token: other.logprob for other in token.top} for token in answer.logprobs],
        text_offset=offsets,
    )
