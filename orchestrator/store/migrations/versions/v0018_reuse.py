"""Keys by which queries that were answered are found again."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

KEYED = sa.text("reuse_key IS NOT NULL")


def upgrade() -> None:
    op.add_column("query", sa.Column("reuse_key", sa.Text(), nullable=True))
    op.create_index("ix_query_reuse_key", "query", ["reuse_key"], sqlite_where=KEYED, postgresql_where=KEYED)


def downgrade() -> None:
    op.drop_index("ix_query_reuse_key", table_name="query")
    op.drop_column("query", "reuse_key")
