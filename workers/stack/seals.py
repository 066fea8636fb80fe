"""Seals: messages that go through the broker, signed by whoever shares the database's key.

Whoever reaches the broker can write into it. What carries no seal of ours, or a seal that was seen before, is
ignored and counted.
"""

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections import OrderedDict

from pydantic import JsonValue

log = logging.getLogger(__name__)

PROCESS_KEY = secrets.token_bytes(32)
"""For a process that speaks to itself only."""
MOST_REMEMBERED = 20_000
"""Seals of the latest messages; what is older says nothing that would still change anything."""
LONGEST_BYTES = 4_000_000


class Seals:
    """Signs and checks messages. For any number of threads.

    Attributes:
        n_refused: messages that were ignored so far.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()
        self.n_refused = 0

    def seal(self, channel: str, data: object) -> str:
        """A message that says `data`, which JSON can, on `channel`; different each time."""
        body = json.dumps([secrets.token_hex(8), data])
        return f"{self._signature(channel, body.encode())}{body}"

    def unseal(self, channel: str, message: bytes) -> JsonValue:
        """Data of a message; None = it is not one of ours, or was heard before."""
        data = self._checked(channel, message)
        if data is None:
            with self._lock:
                self.n_refused += 1
                n = self.n_refused
            if n & (n - 1) == 0:  # the first, the second, the fourth, …
                log.warning(
                    "ignored %d messages without our seal, or heard before, the last on %s",
                    n,
                    channel,
                )
        return data

    def _checked(self, channel: str, message: bytes) -> JsonValue:
        if len(message) > LONGEST_BYTES:
            return None
        seal, body = message[:64], message[64:]
        if not hmac.compare_digest(seal, self._signature(channel, body).encode()):
            return None
        with self._lock:
            if seal in self._seen:
                return None
            self._seen[seal] = None
            if len(self._seen) > MOST_REMEMBERED:
                self._seen.popitem(last=False)
        data: JsonValue = json.loads(body)[1]
        return data

    def _signature(self, channel: str, body: bytes) -> str:
        """Of the channel, too: a message of one is none of another."""
        return hmac.new(self._key, channel.encode() + b"\0" + body, hashlib.sha256).hexdigest()
