"""Presence of clients: work is done while somebody waits for it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from api.errors import ClientLeftError

AGAIN_S = 1.0
"""How often work that nobody waits for any more is told to end."""

T = TypeVar("T")


async def while_connected(receive: Receive, work: Callable[[], T], *, left: Callable[[], object]) -> T:
    """Result of `work`, which runs in a thread.

    Args:
        receive: gives the messages of a request whose body has come.
        left: called, in another thread, when the client has gone; `work` ends soon after.

    Raises:
        ClientLeftError: the client went away before.
    """
    working = asyncio.ensure_future(run_in_threadpool(work))
    leaving = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        while not working.done():  # it may not have begun what is to end
            await run_in_threadpool(left)
            await asyncio.wait({working}, timeout=AGAIN_S)
        working.exception()  # seen; nobody is there to be told
        raise ClientLeftError("the client went away.")
    finally:
        leaving.cancel()


async def unless_left(receive: Receive, coming: Coroutine[None, None, T]) -> T:
    """Result of what comes by itself, a coroutine.

    Raises:
        ClientLeftError: the client went away before; what comes is given up.
    """
    waiting = asyncio.ensure_future(coming)
    leaving = asyncio.ensure_future(_departure(receive))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientLeftError("the client went away.")
        return waiting.result()
    finally:
        waiting.cancel()
        leaving.cancel()


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
