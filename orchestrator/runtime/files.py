"""Files: written so that they appear complete or not at all; read within bounds."""

import errno
import io
import json
import os
import select
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import JsonValue

from orchestrator.runtime.private import FILE_MODE

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A file to write in place of `path`: a reader sees the old one or the new one, never a part.

    It takes its name when the block ends, is on the disk by then, and has the permissions of the old file or
    those of any new one, or is its owner's only (`private`). A block that raises leaves the old file. Links
    are followed.

    Raises:
        OSError: it cannot be written, or `path` is no file (a device is never replaced).
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    mode = FILE_MODE if private else mode
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def barred(path: Path) -> str | None:
    """Reason for which a path cannot be looked at or into; None = it can, or nothing is there."""
    try:
        is_closed = stat.S_ISDIR(path.stat().st_mode) and not os.access(path, os.R_OK | os.X_OK)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        return error.strerror
    return os.strerror(errno.EACCES) if is_closed else None


def open_regular(path: Path) -> IO[bytes]:
    """A file to read that somebody else named. What is none (a FIFO, a socket, a device, a folder) is never
    waited for.

    Raises:
        OSError: it cannot be opened, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    kind = no_file(os.fstat(descriptor).st_mode)
    if kind is not None:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    return os.fdopen(descriptor, "rb")


def open_readable(path: Path, *, wait_s: float = 30.0) -> IO[bytes]:
    """A file, a device or a pipe to read. A FIFO into which nobody writes is given up.

    Args:
        wait_s: for a first writer; how long one who is there thinks is its own affair.

    Raises:
        OSError: it cannot be opened; also while it is read: nobody came to write.
    """
    is_fifo = stat.S_ISFIFO(path.stat().st_mode)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NONBLOCK if is_fifo else 0))
    if not is_fifo:
        return os.fdopen(descriptor, "rb")
    return io.BufferedReader(_Fifo(descriptor, time.monotonic() + wait_s))


class _Fifo(io.RawIOBase):
    """FIFO that is read. As long as no writer has come, it seems to be at its end."""

    def __init__(self, descriptor: int, until: float) -> None:
        self._descriptor, self._until = descriptor, until
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while True:
            try:
                n = os.readv(self._descriptor, [buffer])
            except BlockingIOError:  # somebody may write
                self._poll.poll()
                continue
            if n or any(event & select.POLLHUP for _, event in self._poll.poll(0)):  # a writer was there
                return n
            if time.monotonic() > self._until:
                raise OSError(errno.ETIMEDOUT, "it is a FIFO, and nobody writes into it")
            time.sleep(0.02)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def no_file(mode: int) -> str | None:
    """Name for something that is no regular file, by its mode; None = it is one."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return None if stat.S_ISREG(mode) else kinds.get(stat.S_IFMT(mode), "something else")


MAX_JSON_BYTES = 16 << 20


def read_json(path: Path) -> JsonValue:
    """A small JSON document that somebody else wrote: a model's or an adapter's configuration.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or larger or deeper than such a file is.
    """
    with open_regular(path) as file:
        raw = file.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        document: JsonValue = json.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    return document


def _umask() -> int:
    """There is no way to read it but to set it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
