"""Files and batches of OpenAI's API."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

EXPIRES = sa.text("expires_at IS NOT NULL")
OPEN = sa.text("state IN ('validating', 'in_progress', 'finalizing', 'cancelling')")


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "file",
        sa.Column("pk", key, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("n_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name="pk_file"),
        sa.UniqueConstraint("id", name="uq_file_id"),
    )
    op.create_index("ix_file_owner", "file", ["owner", "pk"])
    op.create_index("ix_file_expires", "file", ["expires_at"], sqlite_where=EXPIRES, postgresql_where=EXPIRES)
    op.create_table(
        "file_chunk",
        sa.Column("file_pk", key, nullable=False, autoincrement=False),
        sa.Column("ix", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file_pk", "ix", name="pk_file_chunk"),
    )
    op.create_table(
        "batch",
        sa.Column("pk", key, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("input_file_id", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("worked_until", sa.Double(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_batch"),
        sa.UniqueConstraint("id", name="uq_batch_id"),
    )
    op.create_index("ix_batch_owner", "batch", ["owner", "pk"])
    op.create_index("ix_batch_open", "batch", ["pk"], sqlite_where=OPEN, postgresql_where=OPEN)


def downgrade() -> None:
    for table in ("batch", "file_chunk", "file"):
        op.drop_table(table)
