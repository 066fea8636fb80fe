"""Sessions of jobs: the conversations that they are turns of."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TURNS = sa.text("session <> ''")


def upgrade() -> None:
    op.add_column("job", sa.Column("session", sa.Text(), server_default="", nullable=False))
    columns = ["owner", "session", "pk"]
    op.create_index("ix_job_session", "job", columns, sqlite_where=TURNS, postgresql_where=TURNS)


def downgrade() -> None:
    op.drop_index("ix_job_session", table_name="job")
    op.drop_column("job", "session")
