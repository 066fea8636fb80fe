"""Idempotency keys: a request that comes again under its key is answered by what its first coming made.

A route takes part in one line. Its handler is `async`, asks for `once: OnceDep`, and returns

    return await once(partial(_created, body, app))

where `async def _created(body, app, work: Work) -> Response` makes the thing and its response. Ids of what it
makes end in `work.unique` (`f"batch_{work.unique}"`), which a repetition is given again: after a restart, or
in another process, it is called with `work.stay` AGAIN and finds what is there already. What takes long waits
through `work.wait`, so that a client that goes away ends it where there is no key. A stream that breaks off
says so by `work.broken`. Bodies are compared as JSON; a body that is none is given as `content`: all that
makes the request what it is, e.g. `[purpose, filename, sha256]`. What deletes the thing calls
`app.keyed.forget(its id)`.

Another content under the same key is 422. While the first is being answered, all others are told the same, a
stream from its beginning; afterwards its reply comes again, with the header `idempotency-replayed`. What may
succeed when it is tried again, and what never began, is not kept.
"""

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive

from api.deps import KEY_FORM, app_of, caller_of_request, checked_key
from api.errors import IdempotencyMismatchError, OverloadedError, error_response
from api.presence import unless_left, while_connected
from api.recordings import Head, Recording
from orchestrator.domain.keyed import KeyedRequest, Reply, RequestKey
from orchestrator.errors import (
    AnswerFailedError,
    GenerationTimeoutError,
    InternalError,
    MusterError,
    StoppingError,
    StoreUnavailableError,
)
from orchestrator.ports.keyed import KeyedRequests
from orchestrator.services.asking import Stay

log = logging.getLogger(__name__)

RETRY = "x-should-retry"
REPLAYED = "idempotency-replayed"
DECISION = "x-muster-decision-id"
MOST_BYTES = 16 << 20
"""A longer reply is not kept: a repetition then reads it from what was made."""
DESCRIPTION = (
    f"{KEY_FORM}. The same request under the same key is answered once: a repetition "
    "is told the same, with `idempotency-replayed: true`; another content is refused with 422."
)
_OWN_HEADERS = frozenset({"content-length", "date", "server"})
"""Headers that each response has of its own."""

T = TypeVar("T")


class Fate(Enum):
    """Fate of a key when its request has been answered: the reply is kept, the request stays open for
    whoever asks again, or the key is free."""

    KEPT = "kept"
    OPEN = "open"
    FREE = "free"


@dataclass
class Work:
    """The work for one request, as those who do it know it.

    Attributes:
        unique: 32 hexadecimal digits that ids of what is made end in.
        created: seconds since 1970.
        stay: BRIEF = without a key; KEPT = to be finished whoever waits; AGAIN = it may be there already.
    """

    unique: str
    created: int
    stay: Stay
    receive: Receive
    fate: Fate = field(default=Fate.KEPT, init=False)

    async def wait(self, call: Callable[[], T], *, left: Callable[[], object]) -> T:
        """Result of `call`, in a thread. Without a key, a client that goes away has `left` called.

        Raises:
            ClientLeftError: the client went away before.
        """
        if self.stay is Stay.BRIEF:
            return await while_connected(self.receive, call, left=left)
        return await run_in_threadpool(call)

    def broken(self, error: Exception) -> None:
        """The reply ends in an error that its status does not tell."""
        fate = _fate(error)
        self.fate = Fate.FREE if fate is Fate.KEPT else fate


Make = Callable[[Work], Awaitable[Response]]


class Underway:
    """Keyed requests that this process answers.

    Args:
        most: at once, whoever waits for them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._recordings: dict[RequestKey, Recording] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def recording(self, key: RequestKey) -> Recording | None:
        """The reply that is being made for a key; None = there is none in this process."""
        return self._recordings.get(key)

    def begin(self, key: RequestKey) -> Recording:
        """Begin to record the reply of a request that comes for the first time.

        Raises:
            OverloadedError: too many are being answered.
        """
        if len(self._recordings) >= self._most:
            raise OverloadedError(f"{self._most} requests with a key are in flight already.")
        self._recordings[key] = Recording()
        return self._recordings[key]

    def run(self, key: RequestKey, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of a recording, whoever waits for it; then it is over."""

        async def guarded() -> None:
            try:
                await work()
            finally:
                self._recordings.pop(key).end()

        task = asyncio.ensure_future(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Once:
    """The answer to one request, which is made once."""

    def __init__(
        self, request: Request, *, store: KeyedRequests, underway: Underway, owner: str, key: str | None
    ) -> None:
        self._request = request
        self._store = store
        self._underway = underway
        self._owner = owner
        self._key = key

    async def __call__(self, make: Make, *, content: object = None) -> Response:
        """The response that `make` makes, or that was made for the same request.

        Args:
            content: all that makes the request what it is; None = its JSON body.

        Raises:
            IdempotencyKeyError: a key that cannot be one. IdempotencyMismatchError: it came with another
            content before. OverloadedError: too many keyed requests are being answered.
        """
        if self._key is None:
            return await make(Work(uuid.uuid4().hex, int(time.time()), Stay.BRIEF, self._request.receive))
        path = self._request.url.path.rstrip("/")
        key = RequestKey(self._owner, path, hashlib.sha256(checked_key(self._key).encode()).hexdigest())
        fingerprint = await self._fingerprint(content)
        unique = uuid.uuid4().hex
        begin = partial(self._store.begin, key, unique=unique, fingerprint=fingerprint)
        stored = await run_in_threadpool(begin)
        if stored.fingerprint != fingerprint:
            raise IdempotencyMismatchError(
                "this Idempotency-Key came with another content before.",
                param="Idempotency-Key",
                remedy="Use a new key for a new request.",
            )
        if stored.reply is not None:
            return self._replayed(stored.reply)
        is_first = stored.unique == unique
        recording = self._underway.recording(key) or self._begin(
            key, stored, make, stay=Stay.KEPT if is_first else Stay.AGAIN
        )
        return await self._following(recording, replayed=not is_first)

    async def _fingerprint(self, content: object) -> str:
        whole = [self._request.url.query, await self._request.json() if content is None else content]
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _begin(self, key: RequestKey, stored: KeyedRequest, make: Make, *, stay: Stay) -> Recording:
        recording = self._underway.begin(key)
        work = Work(stored.unique, int(stored.created_at), stay, self._request.receive)
        self._underway.run(key, partial(self._answer, key, make, work, recording))
        return recording

    async def _answer(self, key: RequestKey, make: Make, work: Work, recording: Recording) -> None:
        response = await _made(make, work)
        headers = {name: value for name, value in response.headers.items() if name not in _OWN_HEADERS}
        decision_id = getattr(self._request.state, "decision_id", None)
        if decision_id is not None:
            headers[DECISION] = decision_id
        is_stream = isinstance(response, StreamingResponse)
        head = Head(response.status_code, headers, is_stream)
        if isinstance(response, StreamingResponse):
            recording.begin(head)
            async for chunk in response.body_iterator:
                recording.add(chunk.encode() if isinstance(chunk, str) else bytes(chunk))
            await self._settle(key, work, head, recording.body)
            return
        kept = await self._settle(key, work, head, bytes(response.body))
        recording.begin(Head(kept.status, kept.headers, is_stream=False))
        recording.add(kept.body.encode())

    async def _settle(self, key: RequestKey, work: Work, head: Head, body: bytes) -> Reply:
        """The reply that repetitions are given; it, or that there is none, is on the books then."""
        reply = Reply(status=head.status, headers=dict(head.headers), body=body.decode())
        try:
            if work.fate is Fate.KEPT and len(body) <= MOST_BYTES:
                return await run_in_threadpool(self._store.finish, key, unique=work.unique, reply=reply)
            if work.fate is Fate.FREE:
                await run_in_threadpool(self._store.abandon, key, unique=work.unique)
        except MusterError as error:
            log.warning("a reply is not kept, so a repetition makes it again: %s", error)
        return reply

    async def _following(self, recording: Recording, *, replayed: bool) -> Response:
        head = await unless_left(self._request.receive, recording.head())
        if head is None:
            raise InternalError("the request was not answered.", remedy="Ask again with the same key.")
        headers = self._headers(head.headers, replayed=replayed)
        if head.is_stream:
            return StreamingResponse(recording.chunks(), status_code=head.status, headers=headers)
        body = b"".join([chunk async for chunk in recording.chunks()])
        return Response(body, status_code=head.status, headers=headers)

    def _replayed(self, reply: Reply) -> Response:
        headers = self._headers(reply.headers, replayed=True)
        return Response(reply.body, status_code=reply.status, headers=headers)

    def _headers(self, headers: Mapping[str, str], *, replayed: bool) -> dict[str, str]:
        """Headers of a response; the id of the decision is the request's, which says it by itself."""
        if DECISION in headers:
            self._request.state.decision_id = headers[DECISION]
        others = {name: value for name, value in headers.items() if name != DECISION}
        return {**others, **({REPLAYED: "true"} if replayed else {})}


async def _made(make: Make, work: Work) -> Response:
    try:
        return await make(work)
    except MusterError as error:
        work.fate = _fate(error)
        return error_response(error)
    except Exception:
        log.exception("a request with a key failed")
        work.fate = Fate.FREE
        return error_response(InternalError("internal error."))


def _fate(error: Exception) -> Fate:
    """What is under way still stays open, what was tried and failed for good is kept."""
    if isinstance(error, GenerationTimeoutError | StoppingError | StoreUnavailableError):
        return Fate.OPEN
    if isinstance(error, AnswerFailedError) and error_response(error).headers.get(RETRY) == "false":
        return Fate.KEPT
    return Fate.FREE


async def _get_once(
    request: Request, idempotency_key: Annotated[str | None, Header(description=DESCRIPTION)] = None
) -> Once:
    return Once(
        request,
        store=app_of(request).keyed,
        underway=request.app.state.underway,
        owner=caller_of_request(request).owner_id,
        key=idempotency_key,
    )


OnceDep = Annotated[Once, Depends(_get_once)]
