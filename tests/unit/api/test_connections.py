"""Connections of the server, as uvicorn makes them."""

import asyncio
import socket
from contextlib import closing

import uvicorn

from api.connections import bounded_protocol


async def empty(_scope: object, _receive: object, _send: object) -> None:
    """An application that is not asked anything."""


def test_what_is_written_is_sent_at_once() -> None:
    """Head and body are two writes: else every response would wait for an acknowledgement of the first."""
    made: list[int] = []

    class Watched(bounded_protocol(most=8, header_timeout_s=10)):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            made.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            server.should_exit = True
            transport.abort()

    config = uvicorn.Config(empty, host="127.0.0.1", port=0, http=Watched, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()
    with closing(socket.create_connection(listener.getsockname())):
        server.run(sockets=[listener])

    assert made
    assert made[0] != 0
