"""A chat completion as server-sent events in OpenAI's form, from an answer that is still being written."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import anyio
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from api.errors import error_body
from api.schemas.chat_response import ChatChunk, ChunkChoice, Delta, MusterView
from api.views.chat import Heading, answer_error, finish_reason, usage_view
from api.views.events import PING, PING_S
from orchestrator.domain.answers import Answer
from orchestrator.errors import InternalError, MusterError

log = logging.getLogger(__name__)

HOLD_S = PING_S
"""How long a stream waits for its first word before it begins: what fails until then has a status."""
DONE = "data: [DONE]\n\n"

Parts = Generator[str | Answer, None, None]
"""Of `Asking.stream`."""


class Chunks:
    """The events of one stream.

    Args:
        muster: our own part of the completion.
        include_usage: a chunk with the usage follows the last choice, and the others say that they have none.
    """

    def __init__(
        self, heading: Heading, *, muster: Callable[[Answer], MusterView], include_usage: bool
    ) -> None:
        self._heading = heading
        self._muster = muster
        self._include_usage = include_usage

    def opening(self) -> str:
        return self._event(
            ChunkChoice(index=0, delta=Delta(role="assistant", content=""), finish_reason=None)
        )

    def text(self, text: str) -> str:
        return self._event(ChunkChoice(index=0, delta=Delta(content=text), finish_reason=None))

    def closing(self, answer: Answer) -> Iterator[str]:
        last = ChunkChoice(index=0, delta=Delta(), finish_reason=finish_reason(answer))
        yield self._event(last, muster=self._muster(answer))
        if self._include_usage:
            yield self._event(usage=usage_view(answer))
        yield DONE

    def _event(self, *choices: ChunkChoice, **extras: object) -> str:
        if self._include_usage:
            extras.setdefault("usage", None)
        fields = {**self._heading._asdict(), "choices": list(choices), **extras}
        chunk = ChatChunk.model_validate({"object": "chat.completion.chunk", **fields})
        return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"


def first_part(parts: Parts, *, hold_s: float = HOLD_S) -> str | Answer:
    """The first part that says something, or an empty one after `hold_s`.

    Raises:
        MusterError: the question failed before.
    """
    until = time.monotonic() + hold_s
    for part in parts:
        if part != "" or time.monotonic() >= until:
            return _checked(part)
    raise AssertionError("an answer comes last")


async def chat_events(
    first: str | Answer,
    parts: Parts,
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
        yield error_event(error)
    except Exception as error:
        log.exception("a stream failed")
        on_broken(error)
        yield error_event(InternalError("internal error."))
    finally:
        with anyio.CancelScope(shield=True):  # closing may write to the books
            await run_in_threadpool(parts.close)


def error_event(error: MusterError) -> str:
    return f"data: {json.dumps(error_body(error))}\n\n"


def _events(part: str | Answer, chunks: Chunks) -> Iterator[str]:
    if isinstance(part, Answer):
        return chunks.closing(part)
    return iter([chunks.text(part) if part else PING])


def _checked(part: str | Answer) -> str | Answer:
    if isinstance(part, Answer) and part.error_code is not None:
        raise answer_error(part)
    return part


async def _after(first: str | Answer, rest: AsyncIterator[str | Answer]) -> AsyncIterator[str | Answer]:
    yield first
    async for part in rest:
        yield part
