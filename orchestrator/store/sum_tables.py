"""The rows of what all processes add to or heed: sums of usage and metrics, pauses, profiles."""

from sqlalchemy import BigInteger, Double, Text
from sqlmodel import Field

from orchestrator.store.tables import METADATA, StoredRow


class UsageCountRow(StoredRow, table=True):
    """Sums of usage: see `domain.usage`. A job adds in the stripe of its number."""

    day: int = Field(primary_key=True)
    owner: str = Field(primary_key=True, sa_type=Text)
    model: str = Field(primary_key=True, sa_type=Text)
    role: str = Field(primary_key=True, sa_type=Text)
    stripe: int = Field(primary_key=True)
    n_completed: int = Field(sa_type=BigInteger)
    n_failed: int = Field(sa_type=BigInteger)
    n_cancelled: int = Field(sa_type=BigInteger)
    n_expired: int = Field(sa_type=BigInteger)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    cost_usd: float = Field(sa_type=Double)
    engine_s: float = Field(sa_type=Double)
    single_prompt_tokens: int = Field(sa_type=BigInteger)
    single_completion_tokens: int = Field(sa_type=BigInteger)


class MetricSumRow(StoredRow, table=True):
    """One number that the processes of a stack add to: see `runtime.metrics`. `labels`: a JSON list."""

    name: str = Field(primary_key=True, sa_type=Text)
    labels: str = Field(primary_key=True, sa_type=Text)
    part: str = Field(primary_key=True, sa_type=Text)
    value: float = Field(sa_type=Double)


class ExpertPauseRow(StoredRow, table=True):
    """An expert that an admin has taken out of recruiting: see `domain.pauses`."""

    expert_id: str = Field(primary_key=True, sa_type=Text)
    since: float = Field(sa_type=Double)
    reason: str = Field(sa_type=Text)


class ProfileRunRow(StoredRow, table=True):
    """A run of profiling that was asked for over REST: see `domain.profile_runs`. Its process says at
    `seen_at` that it lives."""

    id: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(sa_type=Text)
    payload: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)
    seen_at: float = Field(sa_type=Double)


usage_count = METADATA.tables["usage_count"]
metric_sum = METADATA.tables["metric_sum"]
expert_pause = METADATA.tables["expert_pause"]
profile_run = METADATA.tables["profile_run"]
