"""The rows behind files and batches, beside `tables`."""

from sqlalchemy import BigInteger, Double, Index, LargeBinary, Text, text
from sqlmodel import Field

from orchestrator.store.tables import METADATA, Key, StoredRow

EXPIRES = text("expires_at IS NOT NULL")
BATCH_OPEN = text("state IN ('validating', 'in_progress', 'finalizing', 'cancelling')")


class FileRow(StoredRow, table=True):
    """A file: see `domain.batches.StoredFile`; nobody sees one that is not `is_whole`."""

    __table_args__ = (
        Index("ix_file_owner", "owner", "pk"),
        Index("ix_file_expires", "expires_at", sqlite_where=EXPIRES, postgresql_where=EXPIRES),
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    id: str = Field(unique=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    purpose: str = Field(sa_type=Text)
    filename: str = Field(sa_type=Text)
    n_bytes: int = Field(sa_type=BigInteger)
    is_whole: bool
    created_at: float = Field(sa_type=Double)
    expires_at: float | None = Field(sa_type=Double)


class FileChunkRow(StoredRow, table=True):
    """Up to a megabyte of a file's content, compressed."""

    file_pk: int = Field(primary_key=True, sa_type=Key)
    ix: int = Field(primary_key=True)
    content: bytes = Field(sa_type=LargeBinary)


class BatchRow(StoredRow, table=True):
    """A batch: see `domain.batches.Batch`. Somebody works on it until `worked_until`; `attempt` says who."""

    __table_args__ = (
        Index("ix_batch_owner", "owner", "pk"),
        Index("ix_batch_open", "pk", sqlite_where=BATCH_OPEN, postgresql_where=BATCH_OPEN),
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    id: str = Field(unique=True, sa_type=Text)
    owner: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    input_file_id: str = Field(sa_type=Text)
    payload: str = Field(sa_type=Text)
    worked_until: float = Field(sa_type=Double)
    attempt: int


file = METADATA.tables["file"]
file_chunk = METADATA.tables["file_chunk"]
batch = METADATA.tables["batch"]
