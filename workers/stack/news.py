"""News of jobs, from whoever works to whoever waits: new answers, and pieces of those being written.
Lossy on purpose, and sealed: whoever else reaches the broker is not heard.

Over Redis there is a channel of pub/sub for each; over other brokers there are none, and waiting means
polling.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import Protocol
from urllib.parse import urlsplit

import redis
from pydantic import JsonValue, TypeAdapter, ValidationError

from orchestrator.ports.dispatch import Excerpt, Piece, Told
from orchestrator.settings.schema import Settings
from workers.pieces import Watch, Watches
from workers.stack.celery_app import broker_url, is_redis
from workers.stack.seals import PROCESS_KEY, Seals

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
BACKOFF_S = 2.0
MOST_WAITING = 10_000
"""Pieces that are kept for a Redis that does not take them."""

_TOLD: TypeAdapter[list[Piece] | list[Excerpt]] = TypeAdapter(list[Piece] | list[Excerpt])


class News(Protocol):
    """Channel on which news is told and heard."""

    @property
    def is_live(self) -> bool:
        """True while news arrives at present; else look more often."""

    @property
    def n_refused(self) -> int:
        """Messages that were not heard, as somebody else had written them, or sent them again."""

    def tell(self, job_ids: Collection[str]) -> None:
        """Say that these jobs have new answers; never fails."""

    def tell_piece(self, piece: Told) -> None:
        """Pass a piece of an answer on, or how far a call has got; returns at once and never fails."""

    def watch(self, job_id: str) -> AbstractContextManager[Watch]:
        """Hears the news of one job."""

    def start(self) -> None:
        """Begin to hear; idempotent. What was told before is not heard."""

    def stop(self) -> None:
        """Hear no more and send what is to be told yet; it cannot be started again."""


class NoNews:
    """A broker without pub/sub."""

    is_live = False
    n_refused = 0

    def tell(self, job_ids: Collection[str]) -> None:
        pass

    def tell_piece(self, piece: Told) -> None:
        pass

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:  # noqa: ARG002 -- the port's signature
        yield Watch()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class RedisNews:
    """News over Redis. `start` listens in a thread; telling needs no start.

    Pieces are sent by a thread of its own, made when it is first needed: who writes an answer does not
    wait for Redis.
    """

    def __init__(self, url: str, *, key: bytes = PROCESS_KEY) -> None:
        """
        Args:
            key: what messages are sealed with; only who has the same is heard.
        """
        self.seals = Seals(key)
        self._client = redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, socket_keepalive=True
        )
        # Channels are the same in every database of a Redis server.
        database = urlsplit(url).path.strip("/") or "0"
        self._channel = f"muster.news.{database}"
        self._pieces_channel = f"muster.pieces.{database}"
        self._watches = Watches()
        self._lock = threading.Lock()
        self._outgoing: SimpleQueue[Told | None] = SimpleQueue()
        self._sender: threading.Thread | None = None
        self._live = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_live(self) -> bool:
        return self._live.is_set()

    @property
    def n_refused(self) -> int:
        return self.seals.n_refused

    def tell(self, job_ids: Collection[str]) -> None:
        try:
            self._client.publish(self._channel, self.seals.seal(self._channel, sorted(job_ids)))
        except redis.RedisError as error:
            log.debug("news of %d jobs was not told: %s", len(job_ids), error)

    def tell_piece(self, piece: Told) -> None:
        if self._outgoing.qsize() >= MOST_WAITING:  # Redis is away or slow; the answer itself is not
            return
        self._outgoing.put(piece)
        with self._lock:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send, name="muster-pieces", daemon=True)
                self._sender.start()

    def watch(self, job_id: str) -> AbstractContextManager[Watch]:
        return self._watches.watch(job_id)

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="muster-news", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)
        if self._sender is not None:
            self._outgoing.put(None)
            self._sender.join(2 * TIMEOUT_S)
        self._client.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except redis.RedisError as error:
                log.debug("no news: %s", error)
            finally:
                self._live.clear()
            self._stopping.wait(BACKOFF_S)

    def _send(self) -> None:
        """What came while one message was on its way goes with the next."""
        while True:
            pieces = [self._outgoing.get()]
            while not self._outgoing.empty():
                pieces.append(self._outgoing.get())
            for kind in (Piece, Excerpt):  # apart: who knows nothing of the one understands the other
                self._publish([list(piece) for piece in pieces if isinstance(piece, kind)])
            if None in pieces:
                return

    def _publish(self, told: JsonValue) -> None:
        if not told:
            return
        try:
            message = self.seals.seal(self._pieces_channel, told)
            self._client.publish(self._pieces_channel, message)
        except redis.RedisError as error:
            log.debug("pieces of answers were not told: %s", error)

    def _listen(self) -> None:
        with self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(self._pieces_channel, self._channel)
            while not self._stopping.is_set():
                message = channel.get_message(timeout=1.0)
                if message is not None:
                    self._hear(message["type"], message["channel"].decode(), message["data"])

    def _hear(self, kind: str, channel: str, data: bytes) -> None:
        if kind == "subscribe" and channel == self._channel:
            self._live.set()
            self._watches.move(None)  # what was told before is not told again
        elif kind == "message" and (said := self.seals.unseal(channel, data)) is not None:
            if channel == self._channel:
                self._watches.move(_job_ids(said))
            else:
                for piece in _pieces(said):
                    self._watches.add(piece)


def open_news(settings: Settings, *, key: Callable[[], bytes]) -> News:
    """The news of the configured broker; nothing is connected yet.

    Args:
        key: asked for where messages are to be sealed.
    """
    url = broker_url(settings)
    return RedisNews(url, key=key()) if is_redis(url) else NoNews()


def _job_ids(names: JsonValue) -> list[str]:
    """Of a process of another version, perhaps: what is no list of names is no news."""
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _pieces(said: JsonValue) -> Sequence[Told]:
    """Garbage is no news."""
    try:
        return _TOLD.validate_python(said)
    except ValidationError:
        return []
