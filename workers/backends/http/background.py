"""An asyncio loop in a daemon thread: the engine's own, so that callers never block on the network."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_TIMEOUT_S = 10.0


class BackgroundLoop:
    """Runs until `close`; methods may be called from any thread but the loop's own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the loop call a function soon."""
        self._loop.call_soon_threadsafe(lambda: function(*args, **kwargs))

    def start(self, coroutine: Coroutine[object, object, T]) -> Future[T]:
        """Run a coroutine until it ends or the loop is closed."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[object, object, T], *, timeout_s: float | None = None) -> T:
        """The result of a coroutine, waited for. Args: timeout_s: None = for as long as it takes.

        Raises:
            TimeoutError: not done in time; it is cancelled.
        """
        future = self.start(coroutine)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what runs, await its end, stop; idempotent."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._cancel_all()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
