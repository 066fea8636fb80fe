"""News that jobs have new answers, from whoever stored them to whoever waits. Lossy on purpose.

Over Redis it is a channel of pub/sub; over other brokers there is none, and waiting means polling.
"""

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from urllib.parse import urlsplit

import redis

from orchestrator.settings import Settings
from workers.app import broker_url, is_redis

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
BACKOFF_S = 2.0


class News(Protocol):
    """Where news is told and heard."""

    @property
    def is_live(self) -> bool:
        """Whether news arrives at present; else look more often."""

    def tell(self, job_ids: Collection[str]) -> None:
        """Say that these jobs have new answers; never fails."""

    def watch(self, job_id: str) -> AbstractContextManager[threading.Event]:
        """An event that is set whenever there is news of the job."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class NoNews:
    """A broker without pub/sub."""

    is_live = False

    def tell(self, job_ids: Collection[str]) -> None:
        pass

    @contextmanager
    def watch(self, job_id: str) -> Iterator[threading.Event]:  # noqa: ARG002 -- the port's signature
        yield threading.Event()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


class RedisNews:
    """News over Redis. `start` listens in a thread; telling needs no start."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S, socket_keepalive=True
        )
        # Channels are the same in every database of a Redis server.
        self._channel = f"muster.news.{urlsplit(url).path.strip('/') or '0'}"
        self._watching: dict[str, list[threading.Event]] = defaultdict(list)
        self._lock = threading.Lock()
        self._live = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_live(self) -> bool:
        return self._live.is_set()

    def tell(self, job_ids: Collection[str]) -> None:
        try:
            self._client.publish(self._channel, json.dumps(sorted(job_ids)))
        except redis.RedisError as error:
            log.debug("news of %d jobs was not told: %s", len(job_ids), error)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            self._watching[job_id].append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._watching[job_id].remove(event)
                if not self._watching[job_id]:
                    del self._watching[job_id]

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="muster-news", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)
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

    def _listen(self) -> None:
        with self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(self._channel)
            while not self._stopping.is_set():
                message = channel.get_message(timeout=1.0)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self._live.set()
                    self._spread(None)  # what was told before is not told again
                elif message["type"] == "message":
                    self._spread(_job_ids(message["data"]))

    def _spread(self, job_ids: Collection[str] | None) -> None:
        """Set the events of these jobs; None = of all."""
        with self._lock:
            for job_id in self._watching if job_ids is None else job_ids:
                for event in self._watching.get(job_id, ()):
                    event.set()


def open_news(settings: Settings) -> News:
    """The news of the configured broker; nothing is connected yet."""
    url = broker_url(settings)
    return RedisNews(url) if is_redis(url) else NoNews()


def _job_ids(data: bytes) -> list[str]:
    """Garbage is no news."""
    try:
        names = json.loads(data)
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
