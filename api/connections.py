"""Connections of the server: how many there may be, and how long one may take to say what it wants.

uvicorn has a limit that refuses everybody while slow clients hold connections, and no deadline for the head
of a request; both are here.
"""

import asyncio
import json
import socket
import sys
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

TOO_LONG = 431
_TOO_LONG_BODY = json.dumps(
    {
        "error": {
            "message": "the head of the request is too long. Send fewer or shorter headers.",
            "type": "invalid_request_error",
            "param": None,
            "code": "headers_too_long",
        }
    }
).encode()


def bounded_protocol(*, most: int, header_timeout_s: float) -> type[asyncio.Protocol]:
    """The protocol of one server.

    Args:
        most: connections at once; for a further one, that which has been without a request for longest goes.
        header_timeout_s: from a connection's beginning, or a further request's first byte, to the end of its
            head.
    """

    class Bounded(BoundedProtocol):
        pass

    Bounded.most = most
    Bounded.header_timeout_s = header_timeout_s
    Bounded.idle = {}
    return Bounded


class BoundedProtocol(H11Protocol):
    """A connection with a deadline for each head."""

    most: ClassVar[int]
    header_timeout_s: ClassVar[float]
    idle: ClassVar[dict[H11Protocol, None]]
    """Connections without a request, that which has been so for longest first."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there. Where that is one too many, the connection goes that has been idle for
        longest."""
        super().connection_made(transport)
        _send_at_once(transport)
        if len(self.connections) > self.most:
            longest = next(iter(self.idle), self)
            self.idle.pop(longest, None)
            longest.transport.abort()
        if not transport.is_closing():
            self.idle[self] = None
            self._arm()

    def data_received(self, data: bytes) -> None:
        """Bytes came: the first of a further request start its deadline, a whole head ends it."""
        if self._deadline is None and self in self.idle:
            self._arm()
        super().data_received(data)
        if self._is_answering:
            self._disarm()
            self.idle.pop(self, None)

    def on_response_complete(self) -> None:
        """A response was sent: the connection waits for its next request, or for its end."""
        super().on_response_complete()
        if not self.transport.is_closing() and not self._is_answering:
            self.idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or was sent away. Args: exc: None = in peace."""
        self._disarm()
        self.idle.pop(self, None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer to a head that cannot be read: 400, or 431 where it is too long."""
        if getattr(sys.exception(), "error_status_hint", None) != TOO_LONG:
            super().send_400_response(msg)
            return
        headers = [("content-type", "application/json"), ("connection", "close")]
        head = h11.Response(status_code=TOO_LONG, headers=headers, reason="Request Header Fields Too Large")
        for event in (head, h11.Data(data=_TOO_LONG_BODY), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.header_timeout_s, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self._is_answering:
            self.transport.abort()


def _send_at_once(transport: asyncio.Transport) -> None:
    """A response is written in parts, head first. Without this the kernel keeps the later ones back until the
    client has acknowledged the first, which takes it 40 ms; asyncio leaves it out for sockets that were made
    without a protocol number, as uvicorn makes its listener."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
