"""Pauses of experts, and runs of profiling that were asked for over REST."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "expert_pause",
        sa.Column("expert_id", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("expert_id", name=op.f("pk_expert_pause")),
    )
    op.create_table(
        "profile_run",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "state", "payload")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("created_at", "seen_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_profile_run")),
    )


def downgrade() -> None:
    op.drop_table("profile_run")
    op.drop_table("expert_pause")
