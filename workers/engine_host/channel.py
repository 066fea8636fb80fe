"""One end of the pipe between a worker and its engine's process. Neither end blocks the other."""

import select
import socket
import time

from workers.engine_host.wire import FrameBuffer

READ_BYTES = 1 << 18
READS_AT_ONCE = 64


class Channel:
    """Frames over a stream socket; what the other end does not take yet waits in memory.

    Attributes:
        is_open: False once the other end is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.is_open = True
        self._sock = sock
        self._unsent = bytearray()
        self._arrived = FrameBuffer()

    def send(self, frame: bytes) -> None:
        """Take a frame; returns at once."""
        self._unsent += frame
        self._write()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is sent; False when the time was up or the other end is gone."""
        deadline = time.monotonic() + timeout_s
        while self._unsent and self.is_open:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._wait(remaining, select.POLLOUT)
            self._write()
        return self.is_open

    def receive(self, timeout_s: float) -> list[bytes]:
        """Frames that have arrived; waits at most `timeout_s` for the first.

        Raises:
            EngineCrashedError: garbage.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self._write()
            frames = self._read()
            remaining = deadline - time.monotonic()
            if frames or not self.is_open or remaining <= 0:
                return frames
            self._wait(remaining, select.POLLIN | (select.POLLOUT if self._unsent else 0))

    def fileno(self) -> int:
        """Readable when frames arrive, or the other end is gone; -1 once closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """End the channel; what was not taken yet is lost. Idempotent."""
        self.is_open = False
        self._sock.close()

    def _wait(self, timeout_s: float, events: int) -> None:
        poller = select.poll()
        poller.register(self._sock, events)
        poller.poll(max(1, round(timeout_s * 1000)))

    def _write(self) -> None:
        while self._unsent and self.is_open:
            try:
                sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()  # what has arrived before may still be read
                return
            del self._unsent[:sent]

    def _read(self) -> list[bytes]:
        frames: list[bytes] = []
        for _ in range(READS_AT_ONCE):
            if not self.is_open:
                break
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.is_open = False
                break
            frames += self._arrived.feed(data)
        return frames
