"""A client that costs little: requests over kept connections, by plain sockets, for any number at once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Reply(NamedTuple):
    """An answer; names of headers in lower case. `seconds`: from sending the request to the end of the
    body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Connection:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def to(cls, url: str) -> Self:
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port or 80
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, f"{host}:{port}")

    async def post(self, path: str, body: bytes, *, content_type: str = "application/json") -> Reply:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        self._writer.write(head.encode() + body)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
        }
        whole = await self._reader.readexactly(int(headers["content-length"]))
        return Reply(int(first.split()[1]), headers, whole, time.perf_counter() - began)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await Connection.to(url)
    try:
        yield connection
    finally:
        connection.close()


def chat(model: str, text: str, **more: object) -> bytes:
    """Body of a question with nothing before it."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
