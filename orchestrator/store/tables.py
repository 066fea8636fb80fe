"""The rows behind jobs and cards. They never leave this package: everybody else sees domain values.

Times are seconds since the epoch by the database's own clock. `priority`: larger goes first. Payloads
are JSON text, written and read by `codec`. `pk` is the row's number; `id` is a name given outside.
"""

import re
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import declared_attr
from sqlalchemy.types import TypeEngine
from sqlmodel import Field, SQLModel

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")

OPEN, COMPLETED, FAILED = "open", "completed", "failed"
"""States of a query."""

WAITING, LEASED, DONE, CANCELLED = "waiting", "leased", "done", "cancelled"
"""States of an assignment, beside FAILED (its response carries an error)."""

DELETED = "deleted"
"""State of a job that is gone for everybody: it has lost its name, and its rows follow."""

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Key(TypeDecorator[int]):
    """64 bits everywhere; SQLite numbers rows by itself only in a column declared INTEGER."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type in this database; see the class."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())


class StoredRow(SQLModel):
    """Base of all rows; `EngineLoadRow` is table `engine_load`."""

    metadata = METADATA

    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805
        return _WORD_START.sub("_", cls.__name__.removesuffix("Row")).lower()


NUMBERED_ONCE: Final = {"sqlite_autoincrement": True}
"""Options of a table whose row numbers are not given again after a deletion; PostgreSQL never does."""

READY = "state = 'open' AND n_outstanding = 0"
WAITING_FRESH = "state = 'waiting' AND attempt = 0"
WAITING_RETRIED = "state = 'waiting' AND attempt > 0"


def _partial(name: str, *columns: str, condition: str) -> Index:
    """SQLite uses a partial index only for statements that spell its condition with the same literals."""
    return Index(name, *columns, sqlite_where=text(condition), postgresql_where=text(condition))


class JobRow(StoredRow, table=True):
    """A submission and its counters; n_completed + n_failed + its open queries == n_total.

    The sweeper expires it at `deadline_at`. `kind` and `owner` are the payload's, for retention and lists; so
    is `session`, for the conversation's next turn."""

    __table_args__ = (
        Index("ix_job_state", "state", "pk"),
        _partial("ix_job_deadline", "deadline_at", condition="state = 'running'"),
        _partial("ix_job_ended", "kind", "finished_at", condition="finished_at IS NOT NULL"),
        _partial("ix_job_deleted", "pk", condition="state = 'deleted'"),
        _partial("ix_job_owner", "owner", "pk", condition="owner <> ''"),
        _partial("ix_job_session", "owner", "session", "pk", condition="session <> ''"),
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    id: str = Field(unique=True, sa_type=Text)
    payload: str = Field(sa_type=Text)
    content_hash: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    n_total: int
    n_completed: int
    n_failed: int
    n_assignments: int
    n_responses: int
    n_regenerated: int
    created_at: float = Field(sa_type=Double)
    finished_at: float | None = Field(sa_type=Double)
    deadline_at: float | None = Field(sa_type=Double)
    kind: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "batch"})
    n_retries: int = Field(sa_column_kwargs={"server_default": "0"})
    owner: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})
    session: str = Field(sa_type=Text, sa_column_kwargs={"server_default": ""})


class OutboxRow(StoredRow, table=True):
    """A job that was submitted and not announced yet; written with the job, deleted once rung, or ended."""

    __table_args__ = (Index("ix_outbox_job_pk", "job_pk"),)

    pk: int = Field(primary_key=True, sa_type=Key)
    job_pk: int = Field(foreign_key="job.pk", sa_type=Key)


class QueryRow(StoredRow, table=True):
    """`n_outstanding` counts calls without a response; an open query at 0 is ready for its next step.

    Somebody computes that step now where `stepped_until` is in the future, or it failed and is tried again
    then: `step_attempt` times so far. Its number is never used again: a step that was computed for a query
    that is gone must not reach another one. `reuse_key`: what its answer is found by again
    (`Job.reuse_key`)."""

    __table_args__ = (
        UniqueConstraint("job_pk", "ix"),
        _partial("ix_query_ready", "priority", "job_pk", "pk", condition=READY),
        _partial("ix_query_routing", "pk", condition=f"{READY} AND stage = 0"),
        _partial("ix_query_reuse_key", "reuse_key", condition="reuse_key IS NOT NULL"),
        NUMBERED_ONCE,
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    job_pk: int = Field(foreign_key="job.pk", sa_type=Key)
    ix: int
    custom_id: str = Field(sa_type=Text)
    payload: str = Field(sa_type=Text)
    priority: int
    stage: int
    state: str = Field(sa_type=Text)
    n_outstanding: int
    stepped_until: float | None = Field(sa_type=Double)
    step_attempt: int = Field(sa_column_kwargs={"server_default": "0"})
    reuse_key: str | None = Field(sa_type=Text)


class PromptRow(StoredRow, table=True):
    """Messages of a query's calls at a stage; experts that are asked in the same words share a row.

    `decision`: the one that came with these calls, in the stage's first row; the latest is the query's.
    """

    query_pk: int = Field(primary_key=True, sa_type=Key)
    stage: int = Field(primary_key=True)
    ix: int = Field(primary_key=True)
    messages: str = Field(sa_type=Text)
    decision: str | None = Field(sa_type=Text)


class AssignmentRow(StoredRow, table=True):
    """A call on the books. A claim takes rows of one engine and one attempt: fresh ones job by job, by `pk`,
    those that came back by priority. `response` is set when the state is DONE or FAILED. Rows are written,
    and deleted, under the lock of their query: foreign keys would only cost. Their numbers are never used
    again, for a worker may still hold one that is gone."""

    __table_args__ = (
        UniqueConstraint("query_pk", "stage", "expert_id", "sample_ix"),
        _partial("ix_assignment_fresh", "engine_id", "job_pk", "pk", condition=WAITING_FRESH),
        _partial(
            "ix_assignment_retried", "engine_id", "priority", "attempt", "pk", condition=WAITING_RETRIED
        ),
        _partial("ix_assignment_leased", "lease_owner", condition="state = 'leased'"),
        NUMBERED_ONCE,
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    query_pk: int = Field(sa_type=Key)
    job_pk: int = Field(sa_type=Key)
    stage: int
    expert_id: str = Field(sa_type=Text)
    sample_ix: int
    engine_id: str = Field(sa_type=Text)
    role: str = Field(sa_type=Text)
    prompt_ix: int
    sampling: str = Field(sa_type=Text)
    est_tokens: int
    priority: int
    state: str = Field(sa_type=Text)
    attempt: int
    lease_owner: str | None = Field(sa_type=Text)
    lease_expires_at: float | None = Field(sa_type=Double)
    created_at: float = Field(sa_type=Double)
    response: str | None = Field(sa_type=Text)


class AnswerRow(StoredRow, table=True):
    """`decision_is_queries`: the answer's decision equals the query's and is stored only there."""

    query_pk: int = Field(primary_key=True, sa_type=Key)
    decision_is_queries: bool
    payload: str = Field(sa_type=Text)


class JobEngineRow(StoredRow, table=True):
    """Engines that a job has assignments on: whose loads count as the job's."""

    job_pk: int = Field(primary_key=True, foreign_key="job.pk", sa_type=Key)
    engine_id: str = Field(primary_key=True, sa_type=Text)


class ShareRow(StoredRow, table=True):
    """A running job's share of an engine that it has assignments on; one that is being ended has none, and
    nothing of it is claimed.

    `n_waiting` of its assignments wait, `n_retried` of them after an attempt; the oldest, as far as is known,
    since `since`. Claims serve shares of the smallest `rank` (`batching.shares.rank_of`), those with the
    smallest `turn` first."""

    __table_args__ = (
        _partial("ix_share_turn", "engine_id", "rank", "turn", condition="n_waiting > n_retried"),
        _partial("ix_share_waiting", "engine_id", "job_pk", condition="n_waiting > 0"),
    )

    job_pk: int = Field(primary_key=True, sa_type=Key)
    engine_id: str = Field(primary_key=True, sa_type=Text)
    priority: int
    rank: int
    n_waiting: int
    n_retried: int
    waiting_tokens: int = Field(sa_type=BigInteger)
    turn: float = Field(sa_type=Double)
    since: float = Field(sa_type=Double)


class EngineWorkRow(StoredRow, table=True):
    """Sums over an engine's open assignments of one priority: what waits in shares, what is leased. A
    job counts in the stripe of its number, so that few transactions wait for the same row."""

    engine_id: str = Field(primary_key=True, sa_type=Text)
    priority: int = Field(primary_key=True)
    stripe: int = Field(primary_key=True)
    n_waiting: int
    waiting_tokens: int = Field(sa_type=BigInteger)
    n_leased: int
    leased_tokens: int = Field(sa_type=BigInteger)


class EngineLoadRow(StoredRow, table=True):
    """A load; `at` is when it was done, `left_at` when the engine left its device, `kind` as in
    `domain.devices.LoadKind`."""

    __table_args__ = (
        Index("ix_engine_load_at", "at"),
        Index("ix_engine_load_engine", "engine_id", "at"),
        Index("ix_engine_load_owner", "owner"),
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    engine_id: str = Field(sa_type=Text)
    device: str = Field(sa_type=Text)
    owner: str = Field(sa_type=Text)
    seconds: float = Field(sa_type=Double)
    at: float = Field(sa_type=Double)
    left_at: float | None = Field(sa_type=Double)
    kind: str = Field(sa_type=Text)


class DeviceRow(StoredRow, table=True):
    """The last report of each device: see `domain.devices.DeviceReport`; `since` it is so. `serves`: engine
    ids as a JSON list; `memory`: a `domain.devices.DeviceMemory` as JSON."""

    owner: str = Field(primary_key=True, sa_type=Text)
    device: str = Field(sa_type=Text)
    engine_id: str | None = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    host: str = Field(sa_type=Text)
    seen_at: float = Field(sa_type=Double)
    since: float = Field(sa_type=Double)
    config_hash: str | None = Field(sa_type=Text)
    serves: str | None = Field(sa_type=Text)
    memory: str | None = Field(sa_type=Text)
    code: str | None = Field(sa_type=Text)
    why: str | None = Field(sa_type=Text)
    heal: str | None = Field(sa_type=Text)
    next_try_at: float | None = Field(sa_type=Double)


class RateRow(StoredRow, table=True):
    """Measured costs: moving averages, of memory the peak; see `domain.devices.Rate`."""

    engine_id: str = Field(primary_key=True, sa_type=Text)
    device: str = Field(primary_key=True, sa_type=Text)
    load_s: float | None = Field(sa_type=Double)
    tokens_per_s: float | None = Field(sa_type=Double)
    memory_gib: float | None = Field(sa_type=Double)
    cold_s: float | None = Field(sa_type=Double)
    warm_s: float | None = Field(sa_type=Double)
    wake_s: float | None = Field(sa_type=Double)


class OutcomeRow(StoredRow, table=True):
    """One expert's graded response to one profile question."""

    fingerprint: str = Field(primary_key=True, sa_type=Text)
    query_hash: str = Field(primary_key=True, sa_type=Text)
    outcome: int
    payload: str = Field(sa_type=Text)


class ScoreRow(StoredRow, table=True):
    """A score of one expert's response to one open question: see `ports.cards.ScoreRow`."""

    source: str = Field(primary_key=True, sa_type=Text)
    judge: str = Field(primary_key=True, sa_type=Text)
    fingerprint: str = Field(primary_key=True, sa_type=Text)
    query_hash: str = Field(primary_key=True, sa_type=Text)
    score: float = Field(sa_type=Double)
    basis: str = Field(sa_type=Text)


class CardRow(StoredRow, table=True):
    __table_args__ = (Index("ix_card_profile_hash", "profile_hash"),)

    pk: int = Field(primary_key=True, sa_type=Key)
    expert_id: str = Field(sa_type=Text)
    profile_hash: str = Field(sa_type=Text)
    payload: str = Field(sa_type=Text)
    created_at: float | None = Field(default=None, sa_type=Double)


class ProfileSetRow(StoredRow, table=True):
    pk: int = Field(primary_key=True, sa_type=Key)
    profile_hash: str = Field(unique=True, sa_type=Text)
    payload: str = Field(sa_type=Text)


class FeedbackRow(StoredRow, table=True):
    """A judgement of one answer: see `domain.feedback.Feedback`."""

    job_id: str = Field(primary_key=True, sa_type=Text)
    query_id: str = Field(primary_key=True, sa_type=Text)
    key: str = Field(primary_key=True, sa_type=Text)
    payload: str = Field(sa_type=Text)


class FeedbackCountRow(StoredRow, table=True):
    """Sums of what judgements said of an expert on one day; see `domain.feedback.FeedbackCount`."""

    fingerprint: str = Field(primary_key=True, sa_type=Text)
    skill: str = Field(primary_key=True, sa_type=Text)
    day: int = Field(primary_key=True)
    n_right: float = Field(sa_type=Double)
    n_wrong: float = Field(sa_type=Double)
    n_abstain: float = Field(sa_type=Double)


class SharedKeyRow(StoredRow, table=True):
    """A key that the processes of a stack share, hexadecimal; gone with its row, and drawn anew."""

    purpose: str = Field(primary_key=True, sa_type=Text)
    value: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)


class MergedExpertRow(StoredRow, table=True):
    """An expert that a merge made and that earned its place: see `domain.merges.MergedExpert`."""

    expert_id: str = Field(primary_key=True, sa_type=Text)
    payload: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)


class MergeJobRow(StoredRow, table=True):
    """A merge that was asked for over REST: see `domain.merges.MergeJob`. `owner`: the process that runs it,
    which says at `seen_at` that it lives."""

    id: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(sa_type=Text)
    owner: str | None = Field(default=None, sa_type=Text)
    payload: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)
    seen_at: float = Field(sa_type=Double)


class KeyedRequestRow(StoredRow, table=True):
    """A request that came with an Idempotency-Key: see `domain.keyed.KeyedRequest`. The key itself is not
    kept; `reply` has the whole answer."""

    __table_args__ = (
        UniqueConstraint("owner", "path", "key_hash"),
        Index("ix_keyed_request_unique_id", "unique_id"),
        Index("ix_keyed_request_created_at", "created_at"),
    )

    pk: int = Field(primary_key=True, sa_type=Key)
    owner: str = Field(sa_type=Text)
    path: str = Field(sa_type=Text)
    key_hash: str = Field(sa_type=Text)
    unique_id: str = Field(sa_type=Text)
    fingerprint: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)
    reply: str | None = Field(default=None, sa_type=Text)


class ExchangeRow(StoredRow, table=True):
    """A request to `/v1/responses` that is kept: see `domain.exchanges.Exchange`. It goes with its job."""

    __table_args__ = (Index("ix_exchange_job", "job_id"),)

    id: str = Field(primary_key=True, sa_type=Text)
    job_id: str = Field(sa_type=Text)
    payload: str = Field(sa_type=Text)


job = METADATA.tables["job"]
shared_key = METADATA.tables["shared_key"]
outbox = METADATA.tables["outbox"]
query = METADATA.tables["query"]
prompt = METADATA.tables["prompt"]
assignment = METADATA.tables["assignment"]
answer = METADATA.tables["answer"]
job_engine = METADATA.tables["job_engine"]
share = METADATA.tables["share"]
engine_work = METADATA.tables["engine_work"]
engine_load = METADATA.tables["engine_load"]
device = METADATA.tables["device"]
rate = METADATA.tables["rate"]
outcome = METADATA.tables["outcome"]
score = METADATA.tables["score"]
card = METADATA.tables["card"]
profile_set = METADATA.tables["profile_set"]
feedback = METADATA.tables["feedback"]
feedback_count = METADATA.tables["feedback_count"]
merged_expert = METADATA.tables["merged_expert"]
merge_job = METADATA.tables["merge_job"]
keyed_request = METADATA.tables["keyed_request"]
exchange = METADATA.tables["exchange"]
