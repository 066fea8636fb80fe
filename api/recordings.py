"""Recordings of responses: any number of clients read one from its beginning while it is being made."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple


class Head(NamedTuple):
    """Beginning of a response; names of `headers` in lower case. `is_stream`: its body comes in parts."""

    status: int
    headers: Mapping[str, str]
    is_stream: bool


class Recording:
    """A response as it comes; for one event loop."""

    def __init__(self) -> None:
        self._head: Head | None = None
        self._chunks: list[bytes] = []
        self._is_over = False
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        """All of the body that has come."""
        return b"".join(self._chunks)

    def begin(self, head: Head) -> None:
        """The head of the response is there."""
        self._head = head
        self._tell()

    def add(self, chunk: bytes) -> None:
        """The next part of the body is there."""
        self._chunks.append(chunk)
        self._tell()

    def end(self) -> None:
        """Nothing more comes; idempotent."""
        self._is_over = True
        self._tell()

    async def head(self) -> Head | None:
        """The beginning, as soon as it is there; None = it never will be."""
        while self._head is None and not self._is_over:
            await self._changed.wait()
        return self._head

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its beginning to its end."""
        n_read = 0
        while True:
            while n_read < len(self._chunks):
                n_read += 1
                yield self._chunks[n_read - 1]
            if self._is_over:
                return
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
