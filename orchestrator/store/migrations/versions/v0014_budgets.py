"""Budgets of keys: what was used and is held, by key and period, and by question."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _parts(*prefixes: str) -> list[sa.Column[object]]:
    return [
        sa.Column(f"{prefix}_{part}", kind, nullable=False)
        for prefix in prefixes
        for part, kind in (("tokens", sa.BigInteger()), ("usd", sa.Double()), ("engine_s", sa.Double()))
    ]


def upgrade() -> None:
    op.create_table(
        "key_spending",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        *_parts("used", "held"),
        sa.PrimaryKeyConstraint("key_id", "period", name=op.f("pk_key_spending")),
    )
    op.create_table(
        "query_spending",
        sa.Column("query_pk", KEY, nullable=False, autoincrement=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        *_parts("held", "paid"),
        sa.PrimaryKeyConstraint("query_pk", name=op.f("pk_query_spending")),
    )


def downgrade() -> None:
    op.drop_table("query_spending")
    op.drop_table("key_spending")
