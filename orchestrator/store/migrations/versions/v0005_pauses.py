"""Faults of engines stand with their devices, with the configuration of each; failed steps count."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OF_DEVICE = {
    "config_hash": sa.Text,
    "serves": sa.Text,
    "code": sa.Text,
    "why": sa.Text,
    "heal": sa.Text,
    "next_try_at": sa.Double,
}


def upgrade() -> None:
    for name, kind in OF_DEVICE.items():
        op.add_column("device", sa.Column(name, kind(), nullable=True))
    op.add_column("query", sa.Column("step_attempt", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("ix_assignment_retried", table_name="assignment")


def downgrade() -> None:
    where = sa.text("state = 'waiting' AND attempt > 0")
    op.create_index(
        "ix_assignment_retried", "assignment", ["attempt"], sqlite_where=where, postgresql_where=where
    )
    op.drop_column("query", "step_attempt")
    for name in OF_DEVICE:
        op.drop_column("device", name)
