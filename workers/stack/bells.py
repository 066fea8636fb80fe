"""Bells: messages that say "look at the books", and nothing else. Sent by name, so importing no task.

A bell carries the version of its form. It may be lost, doubled, late or out of order: whoever hears
one looks at the database, and looks there now and then anyway.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from celery import Celery
from pydantic import JsonValue

from orchestrator.ports.clock import Clock
from workers.stack.celery_app import WORK_EXCHANGE, steps_queue

log = logging.getLogger(__name__)

VERSION = 1

ADVANCE = "muster.advance"
WORK = "muster.work"
CANARY = "muster.canary"

BACKOFF_S = (0.5, 1.0, 2.0, 5.0)
REST_S = 0.01
"""After a bell was sent: of many that are rung in a moment, the first is heard at once, the others as one."""


class Route(NamedTuple):
    """Address of a bell; unheard, it is thrown away after `expires_s`."""

    options: Mapping[str, object]
    expires_s: int


ROUTES: Mapping[str, Route] = {
    ADVANCE: Route({"queue": steps_queue()}, expires_s=120),
    WORK: Route({"exchange": WORK_EXCHANGE, "routing_key": "", "declare": [WORK_EXCHANGE]}, expires_s=30),
}


class MalformedBellError(ValueError):
    """A message that this version does not understand."""


class Ringer(Protocol):
    """Rings bells sooner or later, and never fails."""

    def ring(self, bell: str) -> None:
        """Ring a bell, a key of `ROUTES`; returns at once."""

    def close(self) -> None:
        """Ring what is to be rung yet, if that goes quickly; idempotent."""


class Bells:
    """Rings through a thread of its own, so that nobody waits for a broker.

    Bells of one name that are not sent yet become one. While the broker is away they are kept and
    tried again. Make it in the process that uses it: threads do not survive a fork.
    """

    def __init__(self, celery: Celery, *, clock: Clock = time.monotonic) -> None:
        self._celery = celery
        self._clock = clock
        self._pending: set[str] = set()
        self._state = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._is_away = False

    def ring(self, bell: str) -> None:
        """Returns at once. `bell`: a key of `ROUTES`."""
        with self._state:
            self._pending.add(bell)
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._serve, name="muster-bells", daemon=True)
                self._thread.start()
            self._state.notify_all()

    def send(self, bell: str) -> bool:
        """Send a bell now; whether the broker took it."""
        route = ROUTES[bell]
        return self.deliver(bell, payload(), expires_s=route.expires_s, options=route.options)

    def deliver(
        self, task: str, body: Mapping[str, JsonValue], *, expires_s: float, options: Mapping[str, object]
    ) -> bool:
        """Send one message to a task by its name; True if the broker took it.

        Args:
            body: as `payload` makes it.
            expires_s: seconds after which nobody need hear it.
            options: of Celery's `send_task`, such as its queue.
        """
        try:
            self._celery.send_task(task, args=[dict(body)], expires=expires_s, retry=False, **options)
        except Exception as error:  # every broker client has errors of its own, e.g. Redis out of memory
            self._note_outage(error)
            return False
        self._is_away = False
        return True

    def close(self, *, timeout_s: float = 2.0) -> None:
        """Send what is pending, if that goes quickly; idempotent."""
        with self._state:
            self._stopping = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _serve(self) -> None:
        n_failures = 0
        while True:
            with self._state:
                self._state.wait_for(lambda: self._pending or self._stopping)
                if not self._pending:
                    return
                pending, self._pending = self._pending, set()
            failed = {bell for bell in pending if not self.send(bell)}
            with self._state:
                if failed and self._stopping:
                    return
                self._pending |= failed
                n_failures = n_failures + 1 if failed else 0
                self._rest(BACKOFF_S[min(n_failures, len(BACKOFF_S)) - 1] if failed else REST_S)

    def _rest(self, delay_s: float) -> None:
        until = self._clock() + delay_s
        while not self._stopping and (left_s := until - self._clock()) > 0:
            self._state.wait(left_s)

    def _note_outage(self, error: Exception) -> None:
        """Once per outage: the database has the work, so this is no error."""
        if not self._is_away:
            log.warning("the broker is away (%s); work goes on by looking at the database", error)
        self._is_away = True


def payload(**fields: JsonValue) -> dict[str, JsonValue]:
    """Body of a message, with the version of its form."""
    return {"v": VERSION, **fields}


def read_payload(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Mapping[str, JsonValue]:
    """The payload of a message from the broker, which anybody may have put there.

    Raises:
        MalformedBellError: not of this version's form.
    """
    if kwargs or len(args) != 1 or not isinstance(args[0], dict):
        raise MalformedBellError("a bell carries one object")
    body = args[0]
    if body.get("v") != VERSION or isinstance(body.get("v"), bool):
        raise MalformedBellError(f"version {str(body.get('v'))[:20]!r} is not {VERSION}")
    return body
