"""The fleet: reports of processes, published pools, recorded weights."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "process_report",
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_process_report")),
    )
    for table, key in (("published_pool", "config_hash"), ("weights_record", "key")):
        op.create_table(
            table,
            sa.Column(key, sa.Text(), nullable=False),
            sa.Column("at", sa.Double(), nullable=False),
            sa.Column("payload", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )


def downgrade() -> None:
    for table in ("weights_record", "published_pool", "process_report"):
        op.drop_table(table)
