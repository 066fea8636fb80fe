"""Owners of jobs: ids of the keys that they were submitted with."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OWNED = sa.text("owner <> ''")


def upgrade() -> None:
    op.add_column("job", sa.Column("owner", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_job_owner", "job", ["owner", "pk"], sqlite_where=OWNED, postgresql_where=OWNED)


def downgrade() -> None:
    op.drop_index("ix_job_owner", table_name="job")
    op.drop_column("job", "owner")
