"""A network switch in user space, for kernels that cannot delay or drop frames by themselves.

`python -m tests.faults.hosts.switch SOCKET PORT…`

It forwards frames between its ports (interfaces of its network namespace) by their addresses. What it does to
them is said over a UNIX socket, one JSON object a line: `Weather`.
"""

import asyncio
import ctypes
import fcntl
import json
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FRAME = 65_536
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCETHTOOL = 0x8946
OFFLOADS = {"rx checksums": 0x15, "tx checksums": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}
BACKLOG_S = 1.0
"""Frames that would wait for longer on a slow port are lost, as in any queue."""


class Weather(NamedTuple):
    """Treatment of frames.

    Attributes:
        delay_ms: of every frame.
        cut: pairs (from, to) of ports between which frames are lost; `*` = any port.
        slow: bytes a second that a port takes in and gives out.
    """

    delay_ms: float = 0.0
    cut: tuple[tuple[str, str], ...] = ()
    slow: tuple[tuple[str, float], ...] = ()

    def loses(self, source: str, target: str) -> bool:
        return any(a in ("*", source) and b in ("*", target) for a, b in self.cut)


class Switch:
    """Learns which port an address is at, and forwards; what it does not know goes to all ports."""

    def __init__(self, names: Sequence[str]) -> None:
        self._ports = {name: _open(name) for name in names}
        self._at: dict[bytes, str] = {}
        self._free_at: dict[tuple[str, str], float] = {}
        self.weather = Weather()

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        for name, port in self._ports.items():
            loop.add_reader(port.fileno(), self._receive, name, port, loop)

    def _receive(self, name: str, port: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                frame, (_, _, kind, *_) = port.recvfrom(FRAME)
            except (BlockingIOError, OSError):
                return
            if kind != PACKET_OUTGOING:
                self._forward(name, frame, loop)

    def _forward(self, source: str, frame: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._at[frame[6:12]] = source
        known = self._at.get(frame[:6])
        for target in [known] if known is not None else self._ports:
            if target == source or self.weather.loses(source, target):
                continue
            due = self._due(source, target, len(frame), loop.time())
            if due is None:
                continue
            loop.call_at(due, self._send, target, frame)

    def _due(self, source: str, target: str, size: int, now: float) -> float | None:
        """Time at which a frame leaves; None = it is lost."""
        due = now
        for port, rate in self.weather.slow:
            way = (port, "in" if port == source else "out")
            if port not in (source, target):
                continue
            begins = max(due, self._free_at.get(way, 0.0))
            if begins - now > BACKLOG_S:
                return None
            due = self._free_at[way] = begins + size / rate
        return due + self.weather.delay_ms / 1000

    def _send(self, target: str, frame: bytes) -> None:
        try:
            self._ports[target].send(frame)
        except OSError:
            return  # a port that is down, or full: the frame is lost


def _open(name: str) -> socket.socket:
    without_offloads(name)
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    port.bind((name, 0))
    port.setblocking(False)
    return port


def without_offloads(interface: str) -> None:
    """Whole frames with whole checksums: what the kernel would leave to a card nobody does here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in OFFLOADS.values():
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(control, SIOCETHTOOL, request)
            except OSError:
                continue  # it has none


async def _run(path: Path, names: Sequence[str]) -> None:
    switch = Switch(names)
    switch.serve(asyncio.get_running_loop())

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            said = json.loads(line)
            pairs = {name: tuple(map(tuple, said[name])) for name in ("cut", "slow") if name in said}
            switch.weather = Weather(**{**said, **pairs})
            writer.write(b"ok\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hear, path)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2:]))
