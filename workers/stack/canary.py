"""The canary: a worker is well when it consumed a message lately, not when its process is up.

Every few seconds a worker sends itself a message. When the broker takes them but none is heard, the
consumer is wedged (a connection that died silently, a reconnect that never subscribed again) and only
a new process helps.
"""

import logging
import threading
from collections.abc import Callable

from orchestrator.ports.clock import Clock

log = logging.getLogger(__name__)

EVERY_S = 10.0
SILENCE_S = 30.0


class Canary:
    """Watches one consumer.

    Args:
        send: send a message to the consumer; whether the broker took it.
        heard_at: when the consumer last heard one, by `clock`.
        on_silence: called, once, when none was heard for `silence_s` although the broker took them.
    """

    def __init__(
        self,
        *,
        send: Callable[[], bool],
        heard_at: Callable[[], float],
        on_silence: Callable[[], None],
        clock: Clock,
        every_s: float = EVERY_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._send = send
        self._heard_at = heard_at
        self._on_silence = on_silence
        self._clock = clock
        self._every_s = every_s
        self._silence_s = silence_s
        self._reachable_since: float | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> bool:
        """Send one and judge; whether the consumer is (or may be) well."""
        if not self._send():
            self._reachable_since = None
            return True
        now = self._clock()
        if self._reachable_since is None:
            self._reachable_since = now
        return now - max(self._heard_at(), self._reachable_since) <= self._silence_s

    def start(self) -> None:
        """Begin to watch, in a thread of its own. To be called once."""
        self._thread = threading.Thread(target=self._serve, name="muster-canary", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch before its next message; returns at once."""
        self._stopping.set()

    def _serve(self) -> None:
        while not self._stopping.wait(self._every_s):
            if not self.look():
                log.critical("no canary was consumed for %g s; this process ends", self._silence_s)
                self._on_silence()
                return
