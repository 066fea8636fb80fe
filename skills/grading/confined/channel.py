"""Messages between tester and program, over two pipes."""

import os
import struct
import threading

from skills.grading.confined import wire
from skills.grading.confined.wire import WireError

MAX_MESSAGE_BYTES = 64 << 20
_LENGTH = struct.Struct("=I")

Message = dict[str, object]


class Channel:
    """Messages over two pipes. The end of the other side ends this process: nothing can catch it."""

    def __init__(self, receive: int, send: int) -> None:
        self._receive, self._send = receive, send
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        data = wire.pack(message)
        if len(data) > MAX_MESSAGE_BYTES:
            raise MemoryError("the values of this call are too large for the sandbox")
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        with self._sending:
            try:
                while rest:
                    rest = rest[os.write(self._send, rest) :]
            except OSError:
                os._exit(1)

    def receive(self) -> Message:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > MAX_MESSAGE_BYTES:
            os._exit(1)
        try:
            return wire.unpack(self._read(length))
        except WireError:
            os._exit(1)

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = os.read(self._receive, min(length - len(data), 1 << 20))
            if not part:
                os._exit(1)
            data += part
        return bytes(data)
