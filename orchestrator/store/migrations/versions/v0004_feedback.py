"""Tables of feedback: what users say of answers, and its counts per expert, skill and day."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("query_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "query_id", "key", name=op.f("pk_feedback")),
    )
    op.create_table(
        "feedback_count",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("n_right", sa.Double(), nullable=False),
        sa.Column("n_wrong", sa.Double(), nullable=False),
        sa.Column("n_abstain", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "skill", "day", name=op.f("pk_feedback_count")),
    )


def downgrade() -> None:
    op.drop_table("feedback_count")
    op.drop_table("feedback")
