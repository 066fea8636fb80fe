"""The database that owns the work: jobs and cards over SQLite or PostgreSQL."""

from orchestrator.store.api_keys import SqlKeyStore
from orchestrator.store.batches import SqlBatchStore
from orchestrator.store.cards import SqlCardStore
from orchestrator.store.database import Database, open_database
from orchestrator.store.exchanges import SqlExchangeStore
from orchestrator.store.feedback import SqlFeedbackStore
from orchestrator.store.files import SqlFileStore
from orchestrator.store.fleet import SqlFleetStore
from orchestrator.store.jobs import SqlJobStore
from orchestrator.store.keyed import SqlKeyedRequestStore
from orchestrator.store.keys import shared_key
from orchestrator.store.memory import SqlMemory
from orchestrator.store.merges import SqlMergeStore
from orchestrator.store.metrics import SqlMetricStore
from orchestrator.store.pages import SqlPages
from orchestrator.store.pauses import SqlPauseStore
from orchestrator.store.profile_runs import SqlProfileRuns
from orchestrator.store.traces import SqlTraceReader
from orchestrator.store.usage import SqlUsageStore

__all__ = [
    "Database",
    "SqlBatchStore",
    "SqlCardStore",
    "SqlExchangeStore",
    "SqlFeedbackStore",
    "SqlFileStore",
    "SqlFleetStore",
    "SqlJobStore",
    "SqlKeyStore",
    "SqlKeyedRequestStore",
    "SqlMemory",
    "SqlMergeStore",
    "SqlMetricStore",
    "SqlPages",
    "SqlPauseStore",
    "SqlProfileRuns",
    "SqlTraceReader",
    "SqlUsageStore",
    "open_database",
    "shared_key",
]
