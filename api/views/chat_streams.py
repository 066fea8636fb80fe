"""A chat completion as server-sent events in OpenAI's form, from an answer that is still being written."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import anyio
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from api.errors import error_body
from api.schemas.chat_response import (
    CalledTool,
    ChatChunk,
    ChunkChoice,
    Delta,
    MusterView,
    StageMuster,
    StageView,
)
from api.views.chat import (
    Heading,
    answer_error,
    called_tools,
    finish_reason,
    logprobs_view,
    usage_view,
    with_runs,
)
from api.views.events import PING, PING_S
from orchestrator.domain.answers import Answer
from orchestrator.domain.stages import StageNews
from orchestrator.errors import InternalError, MusterError
from orchestrator.services.asking import Runs

log = logging.getLogger(__name__)

HOLD_S = PING_S
"""How long a stream waits for its first word before it begins: what fails until then has a status."""
DONE = "data: [DONE]\n\n"

Part = str | Answer | Runs | StageNews
P = TypeVar("P", bound=Part)
Parts = Generator[str | Answer, None, None]
"""Of `Asking.stream`."""
StagedParts = Generator[str | Answer | StageNews, None, None]
"""Of `Stages.among`."""
RunParts = Generator[str | Runs, None, None]
"""Of `Asking.stream_runs`."""


class Chunks:
    """The events of one stream.

    Args:
        muster: our own part of the completion.
        include_usage: a chunk with the usage follows the last choice, and the others say that they have none.
        older: calls of tools are shown in the form that `functions` have.
    """

    def __init__(
        self,
        heading: Heading,
        *,
        muster: Callable[[Answer], MusterView],
        include_usage: bool,
        older: bool = False,
    ) -> None:
        self._older = older
        self._heading = heading
        self._muster = muster
        self._include_usage = include_usage

    def opening(self) -> str:
        """The event before the first text."""
        return self._event(
            ChunkChoice(index=0, delta=Delta(role="assistant", content=""), finish_reason=None)
        )

    def text(self, text: str) -> str:
        """An event with further text of the answer."""
        return self._event(ChunkChoice(index=0, delta=Delta(content=text), finish_reason=None))

    def stage(self, news: StageNews) -> str:
        """A chunk that adds nothing to the text."""
        view = StageView(
            event=news.event,
            experts=list(news.experts),
            role=news.role,
            call=news.call,
            ahead=news.ahead,
            failed=news.failed,
            n_chars=news.n_chars,
            value=news.value,
            text=news.text,
        )
        nothing = ChunkChoice(index=0, delta=Delta(), finish_reason=None)
        return self._event(nothing, muster=StageMuster(stage=view))

    def closing(self, answer: Answer) -> Iterator[str]:
        """All events after the last text, the mark of the end among them."""
        yield from self._ending(answer, index=0, muster=self._muster(answer))
        yield from self._end(answer)

    def several(self, answers: Sequence[Answer]) -> Iterator[str]:
        """Choices that come whole, one after the other."""
        muster = with_runs(self._muster, answers)
        for index, answer in enumerate(answers):
            role: dict[str, Any] = {} if index == 0 else {"role": "assistant"}
            whole = Delta(content=answer.text, **role)
            yield self._event(ChunkChoice(index=index, delta=whole, finish_reason=None))
            yield from self._ending(answer, index=index, muster=muster if index == len(answers) - 1 else None)
        yield from self._end(*answers)

    def _ending(self, answer: Answer, *, index: int, muster: MusterView | None) -> Iterator[str]:
        """What came apart from the text, and why the choice ends."""
        if answer.reasoning:
            told = Delta(reasoning_content=answer.reasoning)
            yield self._event(ChunkChoice(index=index, delta=told, finish_reason=None))
        calls = called_tools(answer)
        if calls:
            yield self._event(ChunkChoice(index=index, delta=self._called(calls), finish_reason=None))
        last = ChunkChoice(index=index, delta=Delta(), finish_reason=finish_reason(answer, older=self._older))
        logprobs = logprobs_view(answer)
        if logprobs is not None:
            last = last.model_copy(update={"logprobs": logprobs})
        yield self._event(last, **({} if muster is None else {"muster": muster}))

    def _called(self, calls: Sequence[CalledTool]) -> Delta:
        if self._older:
            return Delta(function_call=calls[0].function)
        numbered = [
            CalledTool(index=i, id=call.id, type=call.type, function=call.function)
            for i, call in enumerate(calls)
        ]
        return Delta(tool_calls=numbered)

    def _end(self, *answers: Answer) -> Iterator[str]:
        if self._include_usage:
            yield self._event(usage=usage_view(*answers))
        yield DONE

    def _event(self, *choices: ChunkChoice, **extras: object) -> str:
        if self._include_usage:
            extras.setdefault("usage", None)
        fields = {**self._heading._asdict(), "choices": list(choices), **extras}
        chunk = ChatChunk.model_validate({"object": "chat.completion.chunk", **fields})
        return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"


def first_part(parts: Generator[P, None, None], *, hold_s: float = HOLD_S) -> P:
    """The first of an answer's parts that says something, or an empty one after `hold_s`.

    Raises:
        MusterError: the question failed before.
    """
    until = time.monotonic() + hold_s
    for part in parts:
        if part != "" or time.monotonic() >= until:
            return _checked(part)
    raise AssertionError("an answer comes last")


async def chat_events(
    first: P,
    parts: Generator[P, None, None],
    chunks: Chunks,
    *,
    ping_s: float = PING_S,
    on_broken: Callable[[Exception], object] = lambda _error: None,
) -> AsyncIterator[str]:
    """Chunks of the parts, pings where there are none for long, and `[DONE]`; or an error at the end.

    A client that leaves ends the stream, and closes the parts.

    Args:
        on_broken: called with what the stream ends with an error for.
    """
    said_at = time.monotonic()
    yield chunks.opening()
    try:
        async for part in _after(first, iterate_in_threadpool(parts)):
            if part == "" and time.monotonic() - said_at < ping_s:
                continue
            said_at = time.monotonic()
            for event in _events(_checked(part), chunks):
                yield event
    except MusterError as error:
        log.warning("a stream broke off: %s", error)
        on_broken(error)
        yield _error_event(error)
    except Exception as error:
        log.exception("a stream failed")
        on_broken(error)
        yield _error_event(InternalError("internal error."))
    finally:
        with anyio.CancelScope(shield=True):  # closing may write to the books
            await run_in_threadpool(parts.close)


def _error_event(error: MusterError) -> str:
    return f"data: {json.dumps(error_body(error))}\n\n"


def _events(part: Part, chunks: Chunks) -> Iterator[str]:
    if isinstance(part, Answer):
        return chunks.closing(part)
    if isinstance(part, Runs):
        return chunks.several(part.answers)
    if isinstance(part, StageNews):
        return iter([chunks.stage(part)])
    return iter([chunks.text(part) if part else PING])


def _checked(part: P) -> P:
    if isinstance(part, Answer) and part.error_code is not None:
        raise answer_error(part)
    return part


async def _after(first: P, rest: AsyncIterator[P]) -> AsyncIterator[P]:
    yield first
    async for part in rest:
        yield part
