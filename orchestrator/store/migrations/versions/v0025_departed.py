"""A table of the places of what was deleted, for who pages through a list."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "departed",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_departed")),
    )
    op.create_index(op.f("ix_departed_left_at"), "departed", ["left_at"])


def downgrade() -> None:
    op.drop_table("departed")
