"""A table of requests that came with an Idempotency-Key."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "keyed_request",
        sa.Column("pk", key, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("unique_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_keyed_request")),
        sa.UniqueConstraint("owner", "path", "key_hash", name=op.f("uq_keyed_request_owner_path_key_hash")),
    )
    op.create_index(op.f("ix_keyed_request_unique_id"), "keyed_request", ["unique_id"])
    op.create_index(op.f("ix_keyed_request_created_at"), "keyed_request", ["created_at"])


def downgrade() -> None:
    op.drop_table("keyed_request")
