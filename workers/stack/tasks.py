"""The Celery tasks: bells in, one call of what they wake out. Thin, idempotent, safe to repeat."""

import logging
from collections.abc import Callable
from typing import Protocol

from celery import Celery
from celery.exceptions import Reject

from orchestrator.errors import MusterError
from workers.stack.bells import ADVANCE, CANARY, WORK, MalformedBellError, read_payload

log = logging.getLogger(__name__)


class Hands(Protocol):
    """Tasks of a worker process when a bell rings."""

    def advance(self) -> None:
        """One slice of steps; rings again when more is ready."""

    def work(self) -> None:
        """There is work for the device."""

    def hear(self) -> None:
        """The canary got through."""


def register(celery: Celery, hands: Callable[[], Hands]) -> None:
    """Define the tasks. `hands` is asked when a bell rings, in the process that answers it."""
    _define(celery, ADVANCE, lambda: hands().advance())
    _define(celery, WORK, lambda: hands().work())
    _define(celery, CANARY, lambda: hands().hear())


def _define(celery: Celery, name: str, answer: Callable[[], None]) -> None:
    def task(*args: object, **kwargs: object) -> None:
        try:
            read_payload(args, kwargs)
        except MalformedBellError as error:
            log.warning("%s: message rejected: %s", name, error)
            raise Reject(str(error), requeue=False) from None
        try:
            answer()
        except MusterError as error:  # the books are looked at again before long
            log.warning("%s: %s", name, error)

    celery.task(task, name=name, typing=False)
