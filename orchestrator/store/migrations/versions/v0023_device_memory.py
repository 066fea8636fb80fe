"""Memory of devices, as they tell it."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device", sa.Column("memory", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("device") as device:
        device.drop_column("memory")
