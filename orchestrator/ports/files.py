"""Files as the store keeps them."""

from collections.abc import Iterator
from typing import Protocol

from orchestrator.domain.batches import Purpose, StoredFile
from orchestrator.ports.batches import Page


class FileStore(Protocol):
    """Files; each is whole, or nobody sees it."""

    def begin_file(self, file: StoredFile) -> bool:
        """Make room for a file that nobody sees yet, in place of what an attempt before left of it; False =
        it is there as a whole already. Its time is the database's."""

    def add_chunk(self, file_id: str, ix: int, content: bytes) -> None:
        """Store a part of a file that was begun, up to a megabyte; parts are numbered from 0.

        Raises:
            NotFoundError: no such file was begun.
        """

    def finish_file(self, file_id: str) -> StoredFile:
        """A file that was begun is whole.

        Raises:
            NotFoundError: no such file was begun, or its time is over.
        """

    def file(self, file_id: str) -> StoredFile:
        """A file that is whole.

        Raises:
            NotFoundError: no such file, or its time is over.
        """

    def files(self, page: Page, *, purpose: Purpose | None = None) -> list[StoredFile]:
        """One page of the files that are whole and whose time is not over; `purpose` None = of every purpose.

        Raises:
            InputError: the page follows an id that is not in this list.
        """

    def chunks(self, file_id: str) -> Iterator[bytes]:
        """Content of a file, part by part; no transaction is held between them.

        Raises:
            NotFoundError: no such file, or it was deleted before its last part; when a part is asked for.
        """

    def delete_file(self, file_id: str) -> None:
        """Delete a file.

        Raises:
            NotFoundError: no such file. FileInUseError: a batch that has not ended reads it.
        """

    def drop_expired(self, *, limit: int) -> int:
        """Delete up to `limit` files whose time is over, or that were begun long ago; returns how many."""
