"""The rows behind the fleet: see `domain.fleet`. Payloads are JSON text."""

from sqlalchemy import Double, Text
from sqlmodel import Field

from orchestrator.store.tables import METADATA, StoredRow


class ProcessReportRow(StoredRow, table=True):
    """The last report of a process, at `seen_at`; the first came at `since`."""

    process: str = Field(primary_key=True, sa_type=Text)
    since: float = Field(sa_type=Double)
    seen_at: float = Field(sa_type=Double)
    payload: str = Field(sa_type=Text)


class PublishedPoolRow(StoredRow, table=True):
    """A configuration as it was last published, at `at`."""

    config_hash: str = Field(primary_key=True, sa_type=Text)
    at: float = Field(sa_type=Double)
    payload: str = Field(sa_type=Text)


class WeightsRecordRow(StoredRow, table=True):
    """Weights of an engine as they were first read."""

    key: str = Field(primary_key=True, sa_type=Text)
    at: float = Field(sa_type=Double)
    payload: str = Field(sa_type=Text)


process_report = METADATA.tables["process_report"]
published_pool = METADATA.tables["published_pool"]
weights_record = METADATA.tables["weights_record"]
