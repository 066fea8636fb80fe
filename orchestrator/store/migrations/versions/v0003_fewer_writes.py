"""Fewer and smaller writes per query: a response in its assignment's row, a decision beside the prompts
it asked for, no foreign keys on rows that are written under their query's lock."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WAITING = ["engine_id", "priority", "attempt", "pk", "est_tokens", "created_at", "state"]
HOT = {"assignment": "query_pk", "prompt": "query_pk", "answer": "query_pk"}
"""Tables that lose their foreign key to `query`."""


def upgrade() -> None:
    _drop_indices("expiring", "leased", "retried", "waiting")
    op.add_column("assignment", sa.Column("response", sa.Text(), nullable=True))
    op.execute(
        "UPDATE assignment SET response ="
        " (SELECT payload FROM response WHERE response.assignment_pk = assignment.pk)"
    )
    op.drop_table("response")
    op.add_column("prompt", sa.Column("decision", sa.Text(), nullable=True))
    op.execute(
        "UPDATE prompt SET decision = (SELECT decision FROM query WHERE query.pk = prompt.query_pk)"
        " WHERE ix = 0 AND stage = (SELECT max(p.stage) FROM prompt AS p WHERE p.query_pk = prompt.query_pk)"
    )
    op.drop_column("query", "decision")
    for table, column in HOT.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"fk_{table}_{column}_query", type_="foreignkey")
    _create_index("leased", ["lease_owner"], "state = 'leased'")
    _create_index("retried", ["attempt"], "state = 'waiting' AND attempt > 0")
    _create_index("waiting", WAITING, "state = 'waiting'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE query SET (fillfactor = 70)")


def downgrade() -> None:
    _drop_indices("leased", "retried", "waiting")
    for table, column in HOT.items():
        with op.batch_alter_table(table) as batch:
            batch.create_foreign_key(f"fk_{table}_{column}_query", "query", [column], ["pk"])
    op.add_column("query", sa.Column("decision", sa.Text(), nullable=True))
    op.execute(
        "UPDATE query SET decision = (SELECT decision FROM prompt WHERE prompt.query_pk = query.pk"
        " AND decision IS NOT NULL ORDER BY stage DESC LIMIT 1)"
    )
    op.drop_column("prompt", "decision")
    op.create_table(
        "response",
        sa.Column("assignment_pk", KEY, nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assignment_pk"], ["assignment.pk"], name=op.f("fk_response_assignment_pk_assignment")
        ),
        sa.PrimaryKeyConstraint("assignment_pk", name=op.f("pk_response")),
    )
    op.execute("INSERT INTO response SELECT pk, response FROM assignment WHERE response IS NOT NULL")
    op.drop_column("assignment", "response")
    _create_index("leased", ["lease_owner", "engine_id"], "state = 'leased'")
    _create_index("expiring", ["lease_expires_at"], "state = 'leased'")
    _create_index("retried", ["attempt"], "state = 'waiting' AND attempt > 0")
    _create_index("waiting", WAITING, "state = 'waiting'")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE query RESET (fillfactor)")


def _drop_indices(*names: str) -> None:
    for name in names:
        op.drop_index(f"ix_assignment_{name}", table_name="assignment")


def _create_index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        f"ix_assignment_{name}", "assignment", columns, sqlite_where=where, postgresql_where=where
    )
