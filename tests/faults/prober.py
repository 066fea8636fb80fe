"""I6: asks /health/live all the time from a thread of its own, and remembers how long answers took."""

import http.client
import threading
import time
from collections.abc import Callable

EVERY_S = 0.1
GIVE_UP_S = 5.0


class Prober:
    """Latencies in seconds, of a server that is meant to be up. One that is killed or not yet there
    refuses connections: that is no answer, and not a slow one."""

    def __init__(self, port: int, *, is_up: Callable[[], bool]) -> None:
        self.latencies: list[float] = []
        self.timeline: list[tuple[float, float]] = []
        self._port = port
        self._is_up = is_up
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def p99_s(self) -> float:
        ordered = sorted(self.latencies)
        return ordered[int(0.99 * (len(ordered) - 1))] if ordered else 0.0

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            if not self._is_up():
                continue
            started = time.monotonic()
            try:
                answered = self._ask()
            except TimeoutError:
                answered = self._is_up()
            except (OSError, http.client.HTTPException):
                answered = False
            if answered:
                self.latencies.append(time.monotonic() - started)

    def _ask(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=GIVE_UP_S)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        finally:
            connection.close()
