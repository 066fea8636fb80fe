"""Files: kept, listed, read and deleted."""

import time
from collections.abc import Iterator
from typing import IO

from orchestrator.domain.batches import Purpose, StoredFile
from orchestrator.ports.batches import Page
from orchestrator.ports.clock import Clock, EpochClock
from orchestrator.ports.files import FileStore

CHUNK_BYTES = 1_000_000
AT_ONCE = 10
"""Files that are dropped in one transaction."""
TURN_S = 1.0


class FileDesk:
    """Desk at which files are kept and asked for.

    Args:
        kept_s: seconds for which a file is kept that says nothing itself; None = until it is deleted.
        now_s: seconds since 1970.
    """

    def __init__(
        self,
        store: FileStore,
        *,
        kept_s: float | None,
        now_s: EpochClock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store = store
        self._kept_s = kept_s
        self._now_s = now_s
        self._clock = clock

    def expiry(self, kept_s: float | None) -> float | None:
        """Time at which a file of now is over, in seconds since 1970; None = never.

        Args:
            kept_s: seconds that the file itself says; None = as the desk keeps files.
        """
        kept = self._kept_s if kept_s is None else kept_s
        return None if kept is None else self._now_s() + kept

    def keep(self, file: StoredFile, content: IO[bytes]) -> StoredFile:
        """Store a file; one that is there under its id already stays as it is."""
        if self._store.begin_file(file):
            writer = FileWriter(self._store, file.id)
            while chunk := content.read(CHUNK_BYTES):
                writer.write(chunk)
            writer.flush()
        return self._store.finish_file(file.id)

    def file(self, file_id: str) -> StoredFile:
        """A file that is whole.

        Raises:
            NotFoundError: no such file, or its time is over.
        """
        return self._store.file(file_id)

    def files(self, page: Page, *, purpose: Purpose | None = None) -> list[StoredFile]:
        """See `ports.files.FileStore`."""
        return self._store.files(page, purpose=purpose)

    def content(self, file_id: str) -> Iterator[bytes]:
        """Content part by part, read as it is asked for.

        Raises:
            NotFoundError: no such file, or it was deleted before its last part; when a part is asked for.
        """
        return self._store.chunks(file_id)

    def delete(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            NotFoundError: no such file. FileInUseError: a batch that has not ended reads it.
        """
        self._store.delete_file(file_id)

    def tidy(self, *, for_s: float = TURN_S) -> int:
        """Delete files whose time is over, for about `for_s` seconds; returns how many."""
        until, n = self._clock() + for_s, 0
        while (dropped := self._store.drop_expired(limit=AT_ONCE)) and self._clock() < until:
            n += dropped
        return n + dropped


class FileWriter:
    """Writes the content of a file that was begun, in chunks."""

    def __init__(self, store: FileStore, file_id: str) -> None:
        self._store = store
        self._file_id = file_id
        self._waiting: list[bytes] = []
        self._n_waiting = 0
        self._n_chunks = 0

    def write(self, content: bytes) -> None:
        """Add to the content; what fills no chunk yet is stored by `flush` only."""
        if self._n_waiting + len(content) > CHUNK_BYTES:
            self.flush()
        self._waiting.append(content)
        self._n_waiting += len(content)

    def flush(self) -> None:
        """Store what was written so far."""
        if self._waiting:
            self._store.add_chunk(self._file_id, self._n_chunks, b"".join(self._waiting))
            self._n_chunks += 1
            self._waiting, self._n_waiting = [], 0
