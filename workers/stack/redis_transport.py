"""kombu's Redis transport, but a message that cannot be read does not end the worker that takes it.

In kombu 5.7 whatever is no JSON, or no envelope of kombu's, raises out of the consumer, and Celery then
ends the process. Here such a message is dropped with a warning: it was never a bell.
"""

import logging
from typing import Any

from kombu.exceptions import KombuError
from kombu.transport import redis

log = logging.getLogger(__name__)

TRANSPORT = f"{__name__}:Transport"
"""As Celery's `broker_transport` names it."""

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, KombuError)
_ACCEPTED = {"application/json"}


class Channel(redis.Channel):  # type: ignore[misc]
    """Survives what is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except ValueError as error:
            log.warning("dropped a message that is no JSON: %s", error)
            return True


class Transport(redis.Transport):  # type: ignore[misc]
    """Survives what is no envelope, or holds something else than JSON."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            self._read(message)
        except _UNREADABLE as error:
            log.warning("queue %s: dropped a message that cannot be read: %r", queue, error)
            return
        super()._deliver(message, queue)

    def _read(self, message: Any) -> None:
        """Raises one of `_UNREADABLE` for what Celery would stumble over."""
        envelope = self.Channel.Message(message, channel=self.channels[0])
        envelope.accept = _ACCEPTED
        if not isinstance(envelope.decode(), list | dict):
            raise TypeError("its content is neither a list nor an object")
