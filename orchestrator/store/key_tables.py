"""The rows behind keys and their budgets; see `tables`."""

from sqlalchemy import BigInteger, Double, Text
from sqlmodel import Field

from orchestrator.store.tables import METADATA, Key, StoredRow


class ApiKeyRow(StoredRow, table=True):
    """A key of the API: see `domain.keys.ApiKey`. `digest`: of its secret, which is kept nowhere."""

    id: str = Field(primary_key=True, sa_type=Text)
    digest: str = Field(unique=True, sa_type=Text)
    payload: str = Field(sa_type=Text)
    created_at: float = Field(sa_type=Double)


class KeySpendingRow(StoredRow, table=True):
    """Sums of what a key's questions used in a period of its budget, and of what is held for open ones."""

    key_id: str = Field(primary_key=True, sa_type=Text)
    period: str = Field(primary_key=True, sa_type=Text)
    used_tokens: int = Field(sa_type=BigInteger)
    used_usd: float = Field(sa_type=Double)
    used_engine_s: float = Field(sa_type=Double)
    held_tokens: int = Field(sa_type=BigInteger)
    held_usd: float = Field(sa_type=Double)
    held_engine_s: float = Field(sa_type=Double)


class QuerySpendingRow(StoredRow, table=True):
    """Spending of one query: what is held while it runs, in which period; what was paid once it ended."""

    query_pk: int = Field(primary_key=True, sa_type=Key)
    key_id: str = Field(sa_type=Text)
    period: str = Field(sa_type=Text)
    held_tokens: int = Field(sa_type=BigInteger)
    held_usd: float = Field(sa_type=Double)
    held_engine_s: float = Field(sa_type=Double)
    paid_tokens: int = Field(sa_type=BigInteger)
    paid_usd: float = Field(sa_type=Double)
    paid_engine_s: float = Field(sa_type=Double)


api_key = METADATA.tables["api_key"]
key_spending = METADATA.tables["key_spending"]
query_spending = METADATA.tables["query_spending"]
