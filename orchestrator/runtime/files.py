"""Files: written so that they appear complete or not at all; read within bounds."""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import JsonValue

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


MAX_JSON_BYTES = 16 << 20


def read_json(path: Path) -> JsonValue:
    """A small JSON document that somebody else wrote: a model's or an adapter's configuration.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or larger or deeper than such a file is.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        document: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    return document


def _umask() -> int:
    """There is no way to read it but to set it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
