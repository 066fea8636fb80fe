"""Tables for several processes: an outbox, exclusive steps, devices, rates; deadlines."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("job", sa.Column("deadline_at", sa.Double(), nullable=True))
    op.add_column("query", sa.Column("stepped_until", sa.Double(), nullable=True))
    op.add_column("engine_load", sa.Column("left_at", sa.Double(), nullable=True))
    op.create_index("ix_engine_load_owner", "engine_load", ["owner"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("job_pk", KEY, nullable=False),
        sa.ForeignKeyConstraint(["job_pk"], ["job.pk"], name=op.f("fk_outbox_job_pk_job")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_outbox")),
    )
    op.create_table(
        "device",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("engine_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_device")),
    )
    op.create_table(
        "rate",
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("load_s", sa.Double(), nullable=True),
        sa.Column("tokens_per_s", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("engine_id", "device", name=op.f("pk_rate")),
    )


def downgrade() -> None:
    op.drop_table("rate")
    op.drop_table("device")
    op.drop_table("outbox")
    op.drop_index("ix_engine_load_owner", table_name="engine_load")
    op.drop_column("engine_load", "left_at")
    op.drop_column("query", "stepped_until")
    op.drop_column("job", "deadline_at")
