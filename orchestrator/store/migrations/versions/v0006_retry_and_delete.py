"""Jobs can be run again and deleted: retries are counted, kinds can be looked up, and on SQLite the numbers
of queries and assignments are never used twice."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SQLITE_KIND = "UPDATE job SET kind = coalesce(json_extract(payload, '$.kind'), 'batch')"
POSTGRES_KIND = "UPDATE job SET kind = coalesce(payload::json ->> 'kind', 'batch')"

JOB_INDICES = {
    "ended": (["kind", "finished_at"], "finished_at IS NOT NULL"),
    "deleted": (["pk"], "state = 'deleted'"),
}
Indices = Mapping[str, tuple[Sequence[str], str]]
NUMBERED: Mapping[str, Indices] = {
    "query": {"ready": (["priority", "pk"], "state = 'open' AND n_outstanding = 0")},
    "assignment": {
        "waiting": (
            ["engine_id", "priority", "attempt", "pk", "est_tokens", "created_at", "state"],
            "state = 'waiting'",
        ),
        "leased": (["lease_owner"], "state = 'leased'"),
    },
}
"""Tables whose rows are numbered once, with the partial indices that a rebuilt table loses."""


def upgrade() -> None:
    op.add_column("job", sa.Column("kind", sa.Text(), nullable=False, server_default="batch"))
    op.add_column("job", sa.Column("n_retries", sa.Integer(), nullable=False, server_default="0"))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(SQLITE_KIND if is_sqlite else POSTGRES_KIND)
    op.execute("DELETE FROM outbox WHERE job_pk IN (SELECT pk FROM job WHERE state <> 'running')")
    _create("job", JOB_INDICES)
    op.create_index("ix_outbox_job_pk", "outbox", ["job_pk"])
    if is_sqlite:
        _rebuild(autoincrement=True)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(autoincrement=False)
    op.drop_index("ix_outbox_job_pk", table_name="outbox")
    _drop("job", JOB_INDICES)
    op.drop_column("job", "n_retries")
    op.drop_column("job", "kind")


def _rebuild(*, autoincrement: bool) -> None:
    for table, indices in NUMBERED.items():
        _drop(table, indices)
        options = {"sqlite_autoincrement": autoincrement}
        with op.batch_alter_table(table, recreate="always", table_kwargs=options):
            pass
        _create(table, indices)


def _create(table: str, indices: Indices) -> None:
    for name, (columns, condition) in indices.items():
        where = sa.text(condition)
        op.create_index(
            f"ix_{table}_{name}", table, list(columns), sqlite_where=where, postgresql_where=where
        )


def _drop(table: str, indices: Indices) -> None:
    for name in indices:
        op.drop_index(f"ix_{table}_{name}", table_name=table)
