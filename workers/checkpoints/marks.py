"""Marks of files: sizes and digests of weights, kept by path, size, time and inode: each is read once."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orchestrator.domain.fleet import FileMark
from orchestrator.runtime.files import open_regular, read_json, replacing
from orchestrator.runtime.private import private_folder
from workers.checkpoints.gguf import GGUF, GgufError, shards_of
from workers.checkpoints.identity import SAMPLE_BYTES, counts

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20

Progress = Callable[[int], None]
"""Called with the number of bytes that were read since it was called before."""


class Stamp(NamedTuple):
    """State of a file by which it is known again without being read."""

    size: int
    mtime_ns: int
    inode: int


class NamedFile(NamedTuple):
    """A file of an engine's weights: `name` is the same on every host."""

    name: str
    path: Path
    stamp: Stamp


class FileChangedError(Exception):
    """A file was written while it was read."""


def files_of(places: Mapping[str, str]) -> list[NamedFile] | None:
    """Files that decide what an engine writes; None = some place holds none.

    Args:
        places: folders, or single files, by a label that begins the names of their files; "" = none does.
    """
    found: list[NamedFile] = []
    for label, place in places.items():
        own = [_named(label, path) for path in _weights_at(Path(place))]
        if not own:
            return None
        found += own
    return found


def _weights_at(place: Path) -> Iterator[Path]:
    with suppress(OSError, GgufError):
        if place.is_dir():
            yield from sorted(path for path in place.iterdir() if counts(path))
        elif place.suffix.lower() == GGUF:
            yield from (shard for shard in shards_of(place) if shard.is_file())
        elif place.is_file():
            yield place


def _named(label: str, path: Path) -> NamedFile:
    return NamedFile(f"{label}/{path.name}" if label else path.name, path, _stamp(path))


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ino)


class _Known(NamedTuple):
    stamp: Stamp
    ends: str
    whole: str | None


class FileMarks:
    """Digests of files; what was read once is not read again while the file stays as it is.

    Args:
        path: where they are kept between runs; None = nowhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known = _kept(path)
        self._is_changed = False

    def knows(self, file: NamedFile, *, whole: bool) -> bool:
        """True if `of` would read nothing. Args: whole: a digest of the whole file is wanted, not of its ends
        only."""
        known = self._known.get(str(file.path))
        return known is not None and known.stamp == file.stamp and (not whole or known.whole is not None)

    def of(self, file: NamedFile, *, whole: bool, progress: Progress) -> FileMark:
        """The mark of a file, read in chunks of `CHUNK_BYTES` where it is not known.

        Args:
            whole: with a digest of the whole file, not of its ends only.

        Raises:
            OSError: it cannot be read.
            FileChangedError: it was written meanwhile.
        """
        if not self.knows(file, whole=whole):
            read = _read(file, whole=whole, progress=progress)
            if _stamp(file.path) != file.stamp:
                raise FileChangedError
            self._known[str(file.path)] = read
            self._is_changed = True
        known = self._known[str(file.path)]
        return FileMark(name=file.name, size=file.stamp.size, ends=known.ends, whole=known.whole)

    def keep(self) -> None:
        """Write down what is new, beside what other processes of this host wrote."""
        if self._path is None or not self._is_changed:
            return
        merged = {**_kept(self._path), **self._known}
        try:
            private_folder(self._path.parent)
            with replacing(self._path, private=True) as file:
                rows = {path: [*known.stamp, known.ends, known.whole] for path, known in merged.items()}
                file.write(json.dumps(rows).encode())
            self._is_changed = False
        except OSError as error:  # it is read again next time
            log.warning("digests of weights are not kept: %s", error)


def _kept(path: Path | None) -> dict[str, _Known]:
    """What was kept; nothing where there is nothing that can be read."""
    if path is None:
        return {}
    try:
        rows = read_json(path)
        assert isinstance(rows, dict)
        return {name: _row(row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AssertionError):
        return {}


def _row(row: object) -> _Known:
    if not isinstance(row, list) or len(row) != 5:
        raise ValueError("is no row of digests")
    size, mtime_ns, inode, ends, whole = row
    return _Known(
        Stamp(int(size), int(mtime_ns), int(inode)), str(ends), None if whole is None else str(whole)
    )


def _read(file: NamedFile, *, whole: bool, progress: Progress) -> _Known:
    """Digests of the ends, and of all of it; memory of one chunk."""
    size = file.stamp.size
    with open_regular(file.path) as opened:
        ends = hashlib.sha256(opened.read(SAMPLE_BYTES))
        opened.seek(max(SAMPLE_BYTES, size - SAMPLE_BYTES))
        ends.update(opened.read(SAMPLE_BYTES))
        progress(min(size, 2 * SAMPLE_BYTES))
        if not whole:
            return _Known(file.stamp, ends.hexdigest(), None)
        opened.seek(0)
        _expect_all(opened.fileno())
        digest = hashlib.sha256()
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
            progress(len(chunk))
    return _Known(file.stamp, ends.hexdigest(), digest.hexdigest())


def _expect_all(descriptor: int) -> None:
    """Tell the kernel that the file is read from beginning to end."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
