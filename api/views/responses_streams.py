"""A response as server-sent events in OpenAI's order, from an answer that is still being written."""

import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
from pydantic import JsonValue
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from api.schemas.responses import Item, ResponseView
from api.views.chat_streams import Parts
from api.views.events import PING, PING_S
from api.views.responses import message_id, message_item, output_items, response_view, text_part
from orchestrator.domain.answers import Answer
from orchestrator.domain.exchanges import Exchange
from orchestrator.errors import AnswerFailedError, InternalError, MusterError

log = logging.getLogger(__name__)


class ResponseEvents:
    """The events of one stream, numbered as they are made.

    Args:
        stored: whether the exchange is kept.
    """

    def __init__(self, exchange: Exchange, *, stored: bool) -> None:
        self._exchange = exchange
        self._stored = stored
        self._n = 0
        self._text = ""
        self._has_message = False

    def opening(self) -> Iterator[str]:
        """The events before anything of the answer is there."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._view(None))

    def text(self, text: str) -> Iterator[str]:
        """Further text of the message, which begins with the first."""
        if not self._has_message:
            self._has_message = True
            item = message_item(self._exchange.id, [], "in_progress")
            yield self._event("response.output_item.added", output_index=0, item=item)
            yield self._event("response.content_part.added", **self._place, part=text_part(""))
        self._text += text
        yield self._event("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def closing(self, answer: Answer) -> Iterator[str]:
        """The ends of the items, and the response as a whole."""
        items = output_items(answer, self._exchange.id)
        for index, item in enumerate(items):
            yield from self._end_of(item, index, answer)
        whole = self._view(answer)
        yield self._event(f"response.{whole['status']}", response=whole)

    def failing(self, error: MusterError) -> str:
        """The last event of a response that no answer comes of."""
        view = response_view(self._exchange, None, stored=self._stored, error=error)
        return self._event("response.failed", response=view.model_dump(mode="json"))

    def _end_of(self, item: Item, index: int, answer: Answer) -> Iterator[str]:
        if item["type"] == "function_call":
            yield from self._called(item, index)
            return
        if not self._has_message:
            yield from self.text(answer.text)
        yield self._event("response.output_text.done", **self._place, text=answer.text, logprobs=[])
        yield self._event("response.content_part.done", **self._place, part=text_part(answer.text))
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _called(self, item: Item, index: int) -> Iterator[str]:
        """A call of a function, which comes whole."""
        begun: Item = {**item, "status": "in_progress", "arguments": ""}
        place: Item = {"item_id": item["id"], "output_index": index}
        said, name = item["arguments"], item["name"]
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=said)
        yield self._event("response.function_call_arguments.done", **place, arguments=said, name=name)
        yield self._event("response.output_item.done", output_index=index, item=item)

    @property
    def _place(self) -> dict[str, JsonValue]:
        return {"item_id": message_id(self._exchange.id), "output_index": 0, "content_index": 0}

    def _view(self, answer: Answer | None) -> dict[str, JsonValue]:
        view: ResponseView = response_view(self._exchange, answer, stored=self._stored)
        dumped: dict[str, JsonValue] = view.model_dump(mode="json")
        return dumped

    def _event(self, kind: str, **fields: JsonValue) -> str:
        data = {"type": kind, "sequence_number": self._n, **fields}
        self._n += 1
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


async def response_events(
    first: str | Answer,
    parts: Parts,
    events: ResponseEvents,
    *,
    ping_s: float = PING_S,
    on_broken: Callable[[Exception], object] = lambda _error: None,
) -> AsyncIterator[str]:
    """Events of the parts, pings where there are none for long; `response.failed` where it breaks off.

    A client that leaves ends the stream, and closes the parts.

    Args:
        on_broken: called with what the stream breaks off for.
    """
    said_at = time.monotonic()
    for event in events.opening():
        yield event
    try:
        for event in _events(first, events):
            yield event
        async for part in iterate_in_threadpool(parts):
            if part == "" and time.monotonic() - said_at < ping_s:
                continue
            said_at = time.monotonic()
            for event in _events(part, events):
                yield event
    except MusterError as error:
        log.warning("a stream broke off: %s", error)
        on_broken(error)
        yield events.failing(error)
    except Exception as error:
        log.exception("a stream failed")
        on_broken(error)
        yield events.failing(InternalError("internal error."))
    finally:
        with anyio.CancelScope(shield=True):  # closing may write to the books
            await run_in_threadpool(parts.close)


def _events(part: str | Answer, events: ResponseEvents) -> Iterator[str]:
    if not isinstance(part, Answer):
        return events.text(part) if part else iter([PING])
    if part.error_code is not None:
        raise AnswerFailedError(part.error or "no expert answered.", code=part.error_code)
    return events.closing(part)
