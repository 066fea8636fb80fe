"""Kinds of loads; memory that engines took."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_RATES = ("memory_gib", "cold_s", "warm_s", "wake_s")


def upgrade() -> None:
    with op.batch_alter_table("engine_load") as load:
        load.add_column(sa.Column("kind", sa.Text(), nullable=False, server_default="cold"))
    with op.batch_alter_table("rate") as rate:
        for name in _RATES:
            rate.add_column(sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("rate") as rate:
        for name in _RATES:
            rate.drop_column(name)
    with op.batch_alter_table("engine_load") as load:
        load.drop_column("kind")
