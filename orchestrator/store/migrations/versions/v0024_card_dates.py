"""Dates of cards: those that were stored before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("card", sa.Column("created_at", sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("card") as card:
        card.drop_column("created_at")
