"""Files that appear complete or not at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.runtime.private import FILE_MODE


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


def _umask() -> int:
    """There is no way to read it but to set it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
