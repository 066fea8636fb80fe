"""Sums of usage by day, owner, model and role, and sums of metrics. Usage counts from here on."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COUNTS = ("n_completed", "n_failed", "n_cancelled", "n_expired", "prompt_tokens", "completion_tokens")
SINGLES = ("single_prompt_tokens", "single_completion_tokens")
KEYS = ("owner", "model", "role")


def upgrade() -> None:
    op.create_table(
        "usage_count",
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in KEYS),
        sa.Column("stripe", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("engine_s", sa.Double(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SINGLES),
        sa.PrimaryKeyConstraint("day", *KEYS, "stripe", name=op.f("pk_usage_count")),
    )
    op.create_table(
        "metric_sum",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "labels", "part")),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", "part", name=op.f("pk_metric_sum")),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE usage_count SET (fillfactor = 50)")
        op.execute("ALTER TABLE metric_sum SET (fillfactor = 50)")


def downgrade() -> None:
    op.drop_table("metric_sum")
    op.drop_table("usage_count")
